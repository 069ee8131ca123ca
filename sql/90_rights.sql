
-- ---- Rights ----------------------------------------------------------------------------------------------------
-- Nothing that changes, configures or shows rows is open to everybody. doc/pg_retention.md has the GRANTs for a role
-- that runs and a role that watches.

REVOKE ALL ON ALL TABLES IN SCHEMA retention FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA retention FROM PUBLIC;
GRANT USAGE ON SCHEMA retention TO PUBLIC;
-- What a dump takes along must be readable for whoever dumps, or the extension would break a plain user's pg_dump.
GRANT SELECT ON retention.policy, retention.policy_activity, retention.policy_dependent, retention.policy_change,
    retention.policy_id_seq, retention.policy_change_id_seq, retention.hold, retention.hold_id_seq, retention.archive,
    retention.run_id_seq TO PUBLIC;
GRANT EXECUTE ON FUNCTION retention.library_version() TO PUBLIC;

REVOKE ALL ON FUNCTION @extschema@.cleanup_inactive_carts(int), @extschema@.cleanup_inactive_user_carts(int),
    @extschema@.cleanup_old_cart_items(int), @extschema@.cleanup_inactive_sessions(int),
    @extschema@.cleanup_inactive_sessions_for_user(text), @extschema@.expire_pending_bookings(int),
    @extschema@.scheduled_cleanup(), @extschema@.run_data_retention_cleanup(), @extschema@.run_cleanup_now(),
    @extschema@.run_booking_expiration_now(), @extschema@.get_inactive_carts_preview(),
    @extschema@.get_old_cart_items_preview(), @extschema@.get_inactive_sessions_preview(),
    @extschema@.get_expired_bookings_preview(), @extschema@.get_user_activity(), @extschema@.start_cleanup_scheduler(),
    @extschema@.stop_cleanup_scheduler(), @extschema@.get_scheduler_status() FROM PUBLIC;
