
-- ---- The application functions ---------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.cleanup_inactive_carts(inactive_days int DEFAULT NULL) RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_cleanup_inactive_carts';
COMMENT ON FUNCTION @extschema@.cleanup_inactive_carts(int) IS 'deletes the cart items of users inactive for longer than inactive_days (default: the policy inactive_carts, 90 days); carts and users stay; an unknown last_active is not inactive. Returns success, message, deleted_items, affected_carts, inactive_users, cutoff_time; on error success false, sqlstate, detail, hint. May be called by roles granted EXECUTE';

CREATE FUNCTION @extschema@.cleanup_inactive_user_carts(inactive_days int DEFAULT NULL) RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_cleanup_inactive_carts';
COMMENT ON FUNCTION @extschema@.cleanup_inactive_user_carts(int) IS 'cleanup_inactive_carts under another name';

CREATE FUNCTION @extschema@.cleanup_old_cart_items(older_than_days int DEFAULT NULL) RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_cleanup_old_cart_items';
COMMENT ON FUNCTION @extschema@.cleanup_old_cart_items(int) IS 'deletes cart items created longer than older_than_days ago (default: the policy old_cart_items, 90 days), whoever they belong to. Returns success, message, deleted_items, cutoff_time. May be called by roles granted EXECUTE';

CREATE FUNCTION @extschema@.cleanup_inactive_sessions(inactive_hours int DEFAULT NULL) RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_cleanup_inactive_sessions';
COMMENT ON FUNCTION @extschema@.cleanup_inactive_sessions(int) IS 'deletes sessions whose user has sent no message for inactive_hours (default: the policy inactive_sessions, 24 hours), with their image and video rows; no message at all is inactive. Returns success, message, deleted_sessions, deleted_image_records, deleted_video_records, cutoff_time. May be called by roles granted EXECUTE';

CREATE FUNCTION @extschema@.cleanup_inactive_sessions_for_user(user_id text) RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_cleanup_inactive_sessions_for_user';
COMMENT ON FUNCTION @extschema@.cleanup_inactive_sessions_for_user(text) IS 'cleanup_inactive_sessions for the sessions of one user, given by the users'' key; the dictionary has user_id too';

CREATE FUNCTION @extschema@.expire_pending_bookings(older_than_minutes int DEFAULT NULL) RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_expire_pending_bookings';
COMMENT ON FUNCTION @extschema@.expire_pending_bookings(int) IS 'sets bookings that are Pending for longer than older_than_minutes (default: the policy pending_bookings, 15 minutes) to Expired, and updated_at. Returns success, message, expired_bookings, expired_booking_ids (the first 1,000; truncated tells of more), cutoff_time. May be called by roles granted EXECUTE';

CREATE FUNCTION @extschema@.scheduled_cleanup() RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_scheduled_cleanup';
COMMENT ON FUNCTION @extschema@.scheduled_cleanup() IS 'cleanup_inactive_sessions, then expire_pending_bookings; one failing does not stop the other. Returns success (of both), message, session_cleanup, booking_expiration. May be called by roles granted EXECUTE';

CREATE FUNCTION @extschema@.run_data_retention_cleanup() RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_daily_cleanup';
COMMENT ON FUNCTION @extschema@.run_data_retention_cleanup() IS 'the daily job: the carts, and every other policy that is not paused; one failing does not stop the others. Returns success, message and the dictionary of each policy under its name. May be called by roles granted EXECUTE';

CREATE FUNCTION @extschema@.run_cleanup_now() RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_cleanup_inactive_sessions';
COMMENT ON FUNCTION @extschema@.run_cleanup_now() IS 'by hand: cleanup_inactive_sessions()';

CREATE FUNCTION @extschema@.run_booking_expiration_now() RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_expire_pending_bookings';
COMMENT ON FUNCTION @extschema@.run_booking_expiration_now() IS 'by hand: expire_pending_bookings()';

-- ---- Looking ---------------------------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.get_inactive_carts_preview() RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_get_inactive_carts_preview';
COMMENT ON FUNCTION @extschema@.get_inactive_carts_preview() IS 'what cleanup_inactive_carts would do, changing nothing: its keys, and inactive_carts, a list of user_id, cart_id, last_active, items (at most 1,000; truncated)';

CREATE FUNCTION @extschema@.get_old_cart_items_preview() RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_get_old_cart_items_preview';
COMMENT ON FUNCTION @extschema@.get_old_cart_items_preview() IS 'what cleanup_old_cart_items would do, changing nothing: its keys, and old_cart_items, a list of id, cart_id, created_at (at most 1,000; truncated)';

CREATE FUNCTION @extschema@.get_inactive_sessions_preview() RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_get_inactive_sessions_preview';
COMMENT ON FUNCTION @extschema@.get_inactive_sessions_preview() IS 'the sessions cleanup_inactive_sessions would delete, changing nothing: inactive_sessions, a list of id, user_id, created_at, last_message_time (at most 1,000; truncated), count, cutoff_time';

CREATE FUNCTION @extschema@.get_expired_bookings_preview() RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_get_expired_bookings_preview';
COMMENT ON FUNCTION @extschema@.get_expired_bookings_preview() IS 'the bookings expire_pending_bookings would expire, changing nothing: expired_bookings, a list of booking_id, created_at, minutes_old, total_cost, status (at most 1,000; truncated), count, cutoff_time';

CREATE FUNCTION @extschema@.get_user_activity(OUT user_id text, OUT status text, OUT last_active timestamptz,
    OUT days_inactive int, OUT cart_items bigint) RETURNS SETOF record
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'retention_user_activity';
COMMENT ON FUNCTION @extschema@.get_user_activity() IS 'every user of the policy inactive_carts: active, inactive or unknown, last_active, whole days since then, and items in the cart. May be called by roles granted EXECUTE';

-- ---- Scheduling ------------------------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.start_cleanup_scheduler() RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_start_scheduler';
COMMENT ON FUNCTION @extschema@.start_cleanup_scheduler() IS 'makes two pg_cron jobs that run as the caller: scheduled_cleanup every 15 minutes, run_data_retention_cleanup daily at 03:00 (in pg_cron''s zone); one that exists is a notice. Returns success, running, jobs, message. Error 55000 without pg_cron. May be called by roles granted EXECUTE';

CREATE FUNCTION @extschema@.stop_cleanup_scheduler() RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_stop_scheduler';
COMMENT ON FUNCTION @extschema@.stop_cleanup_scheduler() IS 'removes exactly the jobs that start_cleanup_scheduler made for the caller. Returns success, running, jobs, message. Error 55000 without pg_cron';

CREATE FUNCTION @extschema@.get_scheduler_status() RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_scheduler_status';
COMMENT ON FUNCTION @extschema@.get_scheduler_status() IS 'success, running, jobs (id, name, schedule, command, active, next_run, last_run, last_status, last_message), message. Error 55000 without pg_cron';
