-- scheduled_cleanup and run_data_retention_cleanup: several rules in one call, each on its own feet.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema jobs
\set begin :test '/begin.psql'
\i :begin
SELECT plan(46);

CREATE TABLE users (id serial PRIMARY KEY, last_active timestamp);
CREATE TABLE carts (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users);
CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id integer NOT NULL REFERENCES carts, created_at timestamp);
CREATE TABLE sessions (id varchar(64) PRIMARY KEY, user_id integer NOT NULL REFERENCES users, created_at timestamp);
CREATE TABLE messages (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users, sender varchar(10), "timestamp" timestamp);
CREATE TABLE "imageSent" (id serial PRIMARY KEY, session_id varchar(64) NOT NULL REFERENCES sessions);
CREATE TABLE "videoSent" (id serial PRIMARY KEY, session_id varchar(64) NOT NULL REFERENCES sessions);
CREATE TABLE bookings (booking_id text PRIMARY KEY, status text DEFAULT 'Pending', created_at timestamp, updated_at timestamp);
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE users, carts, cart_items, sessions, messages, "imageSent", "videoSent", bookings RESTART IDENTITY CASCADE;
    INSERT INTO users (last_active) VALUES ('2020-01-01'), (timezone('UTC', now()));
    INSERT INTO carts (user_id) VALUES (1), (2);
    INSERT INTO cart_items (cart_id, created_at) VALUES (1, timezone('UTC', now())), (2, '2020-01-01');
    INSERT INTO messages (user_id, sender, "timestamp") VALUES (2, 'user', timezone('UTC', now()));
    INSERT INTO sessions VALUES ('silent', 1), ('lively', 2);
    INSERT INTO "imageSent" (session_id) VALUES ('silent');
    INSERT INTO bookings VALUES ('old', 'Pending', '2020-01-01'), ('paid', 'Confirmed', '2020-01-01') $$;
CREATE FUNCTION raise_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no way' USING ERRCODE = 'P0042'; END $$;

-- scheduled_cleanup.
SELECT fill() \gset
SELECT scheduled_cleanup() AS did \gset
SELECT ok(:'did'::jsonb ?& '{success,message,session_cleanup,booking_expiration}', 'scheduled_cleanup tells both rules under the keys of the paper');
SELECT is(:'did'::jsonb -> 'success', 'true', 'and success');
SELECT is((:'did'::jsonb -> 'session_cleanup') - '{cutoff_time}'::text[],
          '{"success": true, "message": "Deleted 1 inactive session", "deleted_sessions": 1, "deleted_image_records": 1, "deleted_video_records": 0, "skipped": 0, "stop_reason": "done"}', 'session_cleanup is its dictionary');
SELECT is((:'did'::jsonb -> 'booking_expiration') - '{cutoff_time}'::text[],
          '{"success": true, "message": "Expired 1 pending booking", "expired_bookings": 1, "expired_booking_ids": ["old"], "truncated": false, "skipped": 0, "stop_reason": "done"}', 'booking_expiration is its dictionary');
SELECT is((SELECT count(*) FROM cart_items), 2::bigint, 'the carts are not its business');
SELECT is(scheduled_cleanup() #>> '{session_cleanup,message}', 'No inactive sessions found', 'the second time there is nothing to do');

CREATE TRIGGER stop_sessions BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION raise_it();
SELECT fill() \gset
SELECT scheduled_cleanup() AS did \gset
SELECT is(:'did'::jsonb -> 'success', 'false', 'one of two failed is no success');
SELECT is(:'did'::jsonb #>> '{session_cleanup,sqlstate}', 'P0042', 'the failed side tells its SQLSTATE');
SELECT is((SELECT count(*) FROM "imageSent"), 1::bigint, 'and has changed nothing');
SELECT is(:'did'::jsonb #>> '{booking_expiration,expired_bookings}', '1', 'sessions failing does not stop the bookings');
SELECT is((SELECT status FROM bookings WHERE booking_id = 'old'), 'Expired', 'which are done');
DROP TRIGGER stop_sessions ON sessions;
CREATE TRIGGER stop_bookings BEFORE UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION raise_it();
SELECT fill() \gset
SELECT scheduled_cleanup() AS did \gset
SELECT is(:'did'::jsonb #>> '{booking_expiration,sqlstate}', 'P0042', 'bookings failing tells its SQLSTATE');
SELECT is((SELECT count(*) FROM sessions WHERE id = 'silent'), 0::bigint, 'and does not undo the sessions');
SELECT is((SELECT count(*) FROM "imageSent"), 0::bigint, 'nor their images');
CREATE TRIGGER stop_sessions BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION raise_it();
SELECT fill() \gset
SELECT scheduled_cleanup() AS did \gset
SELECT is(:'did'::jsonb ->> 'message', 'Each of session cleanup and booking expiration failed', 'both failing is told');
SELECT is(row(:'did'::jsonb #>> '{session_cleanup,success}', :'did'::jsonb #>> '{booking_expiration,success}')::text, '(false,false)', 'on each side');
DROP TRIGGER stop_sessions ON sessions;
DROP TRIGGER stop_bookings ON bookings;
SELECT fill() \gset
ALTER TABLE bookings RENAME TO elsewhere;
SELECT scheduled_cleanup() AS did \gset
SELECT is(:'did'::jsonb #>> '{booking_expiration,sqlstate}', '42P01', 'without a table of bookings that side says what is missing');
SELECT is(:'did'::jsonb #>> '{session_cleanup,deleted_sessions}', '1', 'and the sessions are cleaned');
ALTER TABLE elsewhere RENAME TO bookings;

-- run_data_retention_cleanup.
SELECT fill() \gset
SELECT run_data_retention_cleanup() AS did \gset
SELECT set_eq(format('SELECT jsonb_object_keys(%L)', :'did'::jsonb), ARRAY['success', 'message', 'inactive_carts'], 'with no stored policy the daily job cleans the carts alone');
SELECT is((:'did'::jsonb -> 'inactive_carts') - '{cutoff_time}'::text[],
          '{"success": true, "message": "Deleted 1 cart item from 1 inactive user", "deleted_items": 1, "affected_carts": 1, "inactive_users": 1, "skipped": 0, "stop_reason": "done"}', 'and tells their dictionary');
SELECT is((SELECT count(*) FROM sessions), 2::bigint, 'rules that nobody stored do not run');
SELECT results_eq('SELECT policy FROM retention.run_list()', $$ VALUES ('inactive_carts') $$, 'retention.run_list tells what would run');
SELECT retention.adopt_preset('inactive_sessions') \gset
SELECT retention.adopt_preset('pending_bookings') \gset
SELECT retention.adopt_preset('old_cart_items') \gset
SELECT set_eq('SELECT policy FROM retention.run_list()', ARRAY['inactive_carts', 'inactive_sessions', 'pending_bookings', 'old_cart_items'], 'and every stored policy with it');
SELECT fill() \gset
SELECT run_data_retention_cleanup() AS did \gset
SELECT set_eq(format('SELECT jsonb_object_keys(%L)', :'did'::jsonb), ARRAY['success', 'message', 'inactive_carts', 'inactive_sessions', 'pending_bookings', 'old_cart_items'],
    'the daily job runs the carts and every stored policy, one key each');
SELECT is(row(:'did'::jsonb #>> '{inactive_carts,deleted_items}', :'did'::jsonb #>> '{inactive_sessions,deleted_sessions}',
              :'did'::jsonb #>> '{pending_bookings,expired_bookings}', :'did'::jsonb #>> '{old_cart_items,deleted_items}')::text, '(1,1,1,1)', 'and each has its numbers');
SELECT is(:'did'::jsonb ->> 'message', 'Ran 4 retention rules', 'the message counts them');

SELECT retention.pause_policy('pending_bookings') \gset
SELECT fill() \gset
SELECT run_data_retention_cleanup() AS did \gset
SELECT ok(NOT :'did'::jsonb ? 'pending_bookings', 'a paused policy is left out');
SELECT is((SELECT status FROM bookings WHERE booking_id = 'old'), 'Pending', 'and its rows stay');
SELECT ok('pending_bookings' <> ALL (ARRAY(SELECT policy FROM retention.run_list())), 'also from retention.run_list');
SELECT is(expire_pending_bookings() - '{cutoff_time}'::text[],
          '{"success": true, "message": "policy \"pending_bookings\" is paused", "expired_bookings": 0, "expired_booking_ids": [], "truncated": false, "skipped": 0, "stop_reason": "paused"}', 'by hand too: success and no rows');
SELECT is((SELECT status FROM bookings WHERE booking_id = 'old'), 'Pending', 'and its rows stay there too');
SELECT is(scheduled_cleanup() #>> '{booking_expiration,message}', 'policy "pending_bookings" is paused', 'and in scheduled_cleanup');
SELECT retention.resume_policy('pending_bookings') \gset
SELECT is(expire_pending_bookings() ->> 'expired_bookings', '1', 'resumed it runs again');
SELECT retention.pause_policy('inactive_carts') \gset
SELECT fill() \gset
SELECT run_data_retention_cleanup() AS did \gset
SELECT ok(COALESCE(:'did'::jsonb #>> '{inactive_carts,deleted_items}', '0') = '0', 'paused carts are left out');
SELECT is((SELECT count(*) FROM cart_items WHERE cart_id = 1), 1::bigint, 'and stay');
SELECT retention.resume_policy('inactive_carts') \gset

CREATE TRIGGER stop_sessions BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION raise_it();
SELECT fill() \gset
SELECT run_data_retention_cleanup() AS did \gset
SELECT is(:'did'::jsonb -> 'success', 'false', 'one failing policy is no success of the daily job');
SELECT is(:'did'::jsonb ->> 'message', 'Ran 4 retention rules, 1 failed', 'the message counts the failed');
SELECT is(:'did'::jsonb #>> '{inactive_sessions,sqlstate}', 'P0042', 'the failed one tells its SQLSTATE');
SELECT is(row(:'did'::jsonb #>> '{inactive_carts,deleted_items}', :'did'::jsonb #>> '{pending_bookings,expired_bookings}', :'did'::jsonb #>> '{old_cart_items,deleted_items}')::text, '(1,1,1)',
    'and the others have run');
SELECT is(row((SELECT count(*) FROM cart_items), (SELECT count(*) FROM sessions), (SELECT status FROM bookings WHERE booking_id = 'old'))::text, '(0,2,Expired)', 'and are done');
DROP TRIGGER stop_sessions ON sessions;

-- Their order.
SELECT retention.alter_policy('old_cart_items', run_order => -1) \gset
SELECT retention.alter_policy('inactive_carts', run_order => 9) \gset
SELECT is((SELECT (array_agg(policy))[1] FROM retention.run_list()), 'old_cart_items', 'run_order puts a policy first');
SELECT is((SELECT (array_agg(policy))[4] FROM retention.run_list()), 'inactive_carts', 'or last');
SELECT retention.alter_policy('old_cart_items', run_order => 0) \gset
SELECT retention.alter_policy('inactive_carts', run_order => 0) \gset
SELECT expire_pending_bookings() AS did \gset
SELECT cleanup_inactive_sessions() AS did \gset
SELECT cleanup_old_cart_items() AS did \gset
SELECT cleanup_inactive_carts() AS did \gset
SELECT results_eq('SELECT policy FROM retention.run_list()', $$ VALUES ('pending_bookings'), ('inactive_sessions'), ('old_cart_items'), ('inactive_carts') $$, 'else the stalest goes first');

-- A database without carts.
CREATE SCHEMA cartless;
SET search_path = cartless, public;
SELECT retention.remove_policy('inactive_carts') \gset
SELECT run_data_retention_cleanup() AS did \gset
SELECT is(:'did'::jsonb -> 'success', 'true', 'where no carts are found the daily job succeeds');
SELECT ok(:'did'::jsonb #>> '{inactive_carts,message}' LIKE 'not configured: %', 'and says that they are not configured');
SELECT ok(:'did'::jsonb ?& '{inactive_sessions,pending_bookings,old_cart_items}', 'stored policies run whatever the search_path');

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA jobs, cartless CASCADE;
DROP EXTENSION pg_retention;
