-- Errors: told, rolled back, warned of; what must not be swallowed; and SQL that wants to be more than an expression.
\set ECHO none
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS pg_retention;
CREATE EXTENSION pg_retention;
CREATE SCHEMA errs;
SET search_path = errs, public;
SELECT plan(67);

CREATE TABLE users (id serial PRIMARY KEY, last_active timestamp);
CREATE TABLE carts (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users);
CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id integer NOT NULL REFERENCES carts, created_at timestamp);
CREATE TABLE sessions (id varchar(64) PRIMARY KEY, user_id integer NOT NULL REFERENCES users, created_at timestamp);
CREATE TABLE messages (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users, sender varchar(10), "timestamp" timestamp);
CREATE TABLE "imageSent" (id serial PRIMARY KEY, session_id varchar(64) NOT NULL REFERENCES sessions);
CREATE TABLE "videoSent" (id serial PRIMARY KEY, session_id varchar(64) NOT NULL REFERENCES sessions);
CREATE TABLE bookings (booking_id text PRIMARY KEY, status text DEFAULT 'Pending', created_at timestamp, updated_at timestamp);
INSERT INTO users (last_active) VALUES ('2020-01-01'), (timezone('UTC', now()));
INSERT INTO carts (user_id) VALUES (1), (2);
INSERT INTO cart_items (cart_id, created_at) SELECT 1 + n % 2, '2020-01-01' FROM generate_series(1, 100) n;
INSERT INTO sessions VALUES ('silent', 1), ('lively', 2);
INSERT INTO bookings VALUES ('old', 'Pending', '2020-01-01'), ('paid', 'Confirmed', '2020-01-01');
CREATE FUNCTION untouched() RETURNS boolean LANGUAGE sql AS
    $$ SELECT (SELECT count(*) FROM cart_items) = 100 AND (SELECT count(*) FROM sessions) = 2 AND (SELECT count(*) FROM bookings WHERE status = 'Expired') = 0 $$;

-- ---- An error inside ----

CREATE TABLE noise (n int);
CREATE FUNCTION late_error() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO errs.noise VALUES (old.id);
    IF old.id = 98 THEN RAISE 'item % cannot go', old.id USING ERRCODE = '23514', DETAIL = 'A detail.', HINT = 'A hint.'; END IF;
    RETURN old;
END $$;
CREATE TRIGGER late_error BEFORE DELETE ON cart_items FOR EACH ROW EXECUTE FUNCTION late_error();
\echo # the next is a warning with detail and hint of the error
SELECT cleanup_old_cart_items() AS did \gset
SELECT is(:'did'::jsonb - '{cutoff_time}'::text[],
          '{"success": false, "message": "item 98 cannot go", "sqlstate": "23514", "detail": "A detail.", "hint": "A hint.", "deleted_items": 0, "skipped": 0, "stop_reason": "error"}',
          'an error is told: success false, message, SQLSTATE, detail, hint');
SELECT ok(untouched(), 'and all of the function''s work is rolled back');
SELECT is((SELECT count(*) FROM noise), 0::bigint, 'with what its triggers did');
\set VERBOSITY terse
SET client_min_messages = error;
BEGIN;
INSERT INTO noise VALUES (-1);
SELECT cleanup_old_cart_items() ->> 'success' AS ok \gset
INSERT INTO noise VALUES (-2);
COMMIT;
SELECT is((SELECT array_agg(n) FROM noise), '{-1,-2}', 'the caller''s own work before and after stays');
DROP TRIGGER late_error ON cart_items;
CREATE FUNCTION deferred_error() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'at commit' USING ERRCODE = 'P0042'; END $$;
CREATE CONSTRAINT TRIGGER deferred_error AFTER DELETE ON cart_items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION deferred_error();
SELECT cleanup_inactive_carts() AS did \gset
SELECT ok(untouched(), 'a deferred trigger that raises leaves everything as it was');
SELECT is((SELECT count(*) FROM retention.ledger), 0::bigint, 'G4 and nothing in the ledger');
DROP TRIGGER deferred_error ON cart_items;
ALTER TABLE bookings ADD CONSTRAINT never_expired CHECK (status <> 'Expired');
SELECT is(expire_pending_bookings() ->> 'sqlstate', '23514', 'a constraint that is violated is told');
ALTER TABLE bookings DROP CONSTRAINT never_expired;
CREATE TYPE mood AS ENUM ('Pending', 'Happy');
CREATE SCHEMA errs_enum;
CREATE TABLE errs_enum.bookings (id int PRIMARY KEY, status errs.mood, created_at timestamp);
SET search_path = errs_enum, errs, public;
INSERT INTO bookings VALUES (1, 'Pending', '2020-01-01');
SELECT is(expire_pending_bookings() ->> 'sqlstate', '22P02', 'a status that has no Expired is told');
SET search_path = errs, public;
DROP SCHEMA errs_enum CASCADE;
SELECT ok(untouched(), 'and nothing is changed');

-- ---- Arguments ----

CREATE FUNCTION refuses(call text, state text, title text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE did jsonb;
BEGIN
    EXECUTE 'SELECT ' || call INTO did;
    RETURN NEXT is(did ->> 'sqlstate', state, title);
    RETURN NEXT ok(did -> 'success' = 'false' AND untouched(), 'and nothing is changed by ' || call);
END $$;
SELECT refuses('cleanup_inactive_carts(0)', '22023', 'G11 zero days are refused');
SELECT refuses('cleanup_inactive_carts(-1)', '22023', 'G11 negative days are refused');
SELECT refuses('cleanup_inactive_carts(-2147483648)', '22023', 'G11 the smallest number is refused');
SELECT refuses('cleanup_inactive_carts(2147483647)', '22008', 'G11 more days than time has are an error');
SELECT refuses('cleanup_old_cart_items(0)', '22023', 'G11 zero days of items are refused');
SELECT refuses('cleanup_inactive_sessions(0)', '22023', 'G11 zero hours are refused');
SELECT refuses('cleanup_inactive_sessions(-24)', '22023', 'G11 negative hours are refused');
SELECT refuses('expire_pending_bookings(0)', '22023', 'G11 zero minutes are refused');
SELECT refuses('expire_pending_bookings(-15)', '22023', 'G11 negative minutes are refused');
SELECT is(cleanup_inactive_carts(100000) ->> 'message', 'No inactive users (> 100000 days)', 'a huge age is only far back');
SELECT refuses('cleanup_inactive_sessions(2147483647)', '22008', 'G11 more hours than time has are an error');
SELECT is(expire_pending_bookings(2147483647) ->> 'message', 'No expired pending bookings found', 'so is a huge number of minutes');

-- ---- What comes out as it is ----

CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN old; END $$;
CREATE TRIGGER slow BEFORE DELETE ON cart_items FOR EACH ROW EXECUTE FUNCTION slow();
CREATE TRIGGER slow BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION slow();
SET statement_timeout = '100ms';
CREATE TEMP TABLE came_out (state text);
DO $$ BEGIN
    PERFORM cleanup_inactive_carts();
    RAISE 'it was swallowed';
EXCEPTION WHEN query_canceled THEN
    SET LOCAL statement_timeout = 0;
    INSERT INTO came_out VALUES (SQLSTATE);
END $$;
RESET statement_timeout;
SELECT is((SELECT state FROM came_out), '57014', 'a cancel is not swallowed by a function');
\echo # the next three are errors of the statement itself
SET statement_timeout = '100ms';
SELECT scheduled_cleanup();
SELECT run_data_retention_cleanup();
RESET statement_timeout;
SELECT ok(untouched(), 'nor by the jobs of several rules: their statement fails, and all is rolled back');
SELECT is((SELECT count(*) FROM retention.runs WHERE sqlstate = '57014'), 0::bigint, 'and such a run is not written as a failed one');
BEGIN;
SAVEPOINT before;
SET LOCAL statement_timeout = '100ms';
SELECT cleanup_inactive_carts();
ROLLBACK TO before;
INSERT INTO noise VALUES (-3);
COMMIT;
SELECT ok(EXISTS (SELECT FROM noise WHERE n = -3), 'a transaction goes on from its savepoint after a cancel');
DROP TRIGGER slow ON cart_items;
DROP TRIGGER slow ON sessions;

-- ---- SQL that wants to be more than an expression ----

SELECT retention.adopt_preset('old_cart_items') \gset
SELECT retention.adopt_preset('pending_bookings') \gset
SELECT version AS before FROM retention.policies WHERE name = 'old_cart_items' \gset
CREATE FUNCTION condition_refused(condition text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT throws_ok(format('SELECT retention.alter_policy(''old_cart_items'', condition => %L)', condition), '42601', NULL, 'G11 refused as a condition: ' || condition) $$;
SELECT condition_refused('true) OR (true');
SELECT condition_refused('true; DROP TABLE cart_items');
SELECT condition_refused('true; SELECT true');
SELECT condition_refused('true FROM users');
SELECT condition_refused('true WHERE true');
SELECT condition_refused('true UNION SELECT true');
SELECT condition_refused('true, true');
SELECT condition_refused('true AS x');
SELECT condition_refused('true LIMIT 1');
SELECT condition_refused('true ORDER BY 1');
SELECT condition_refused('true FOR UPDATE');
SELECT condition_refused('true /*');
SELECT condition_refused('(true');
SELECT condition_refused('''');
SELECT condition_refused(';');
SELECT condition_refused('*');
SELECT condition_refused('DISTINCT true');
SELECT condition_refused('false) UNION SELECT tableoid, ctid FROM users WHERE (true');
SELECT is((SELECT row(version, condition)::text FROM retention.policies WHERE name = 'old_cart_items'), format('(%s,)', :'before'), 'G11 and nothing of it is stored');
BEGIN;
SELECT retention.alter_policy('old_cart_items', condition => 'target.id = 1 -- the first') \gset
SELECT is(cleanup_old_cart_items() ->> 'deleted_items', '1', 'a comment at the end of a condition ends with it');
ROLLBACK;
BEGIN;
SELECT retention.alter_policy('old_cart_items', condition => 'false OR target.id = 1') \gset
SELECT is(cleanup_old_cart_items() ->> 'deleted_items', '1', 'an OR of a condition stays inside it');
UPDATE cart_items SET created_at = now() WHERE id = 2;
SELECT retention.alter_policy('old_cart_items', condition => 'target.id = 2 OR true') \gset
SELECT is((SELECT expected_rows FROM retention.preview('old_cart_items')), 98::bigint, 'G1 and cannot reach rows that are not expired');
ROLLBACK;
BEGIN;
SELECT retention.alter_policy('old_cart_items', condition => 'EXISTS (SELECT FROM errs.carts c WHERE c.id = target.cart_id AND c.user_id = 1)') \gset
SELECT is(cleanup_old_cart_items() ->> 'deleted_items', '50', 'a condition may hold a sub-query');
ROLLBACK;
CREATE FUNCTION set_refused(clause text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT throws_ok(format('SELECT retention.alter_policy(''pending_bookings'', set_clause => %L)', clause), '42601', NULL, 'G11 refused as a set_clause: ' || clause) $$;
SELECT set_refused('status = ''Expired'' WHERE true');
SELECT set_refused('status = ''x''; DROP TABLE bookings');
SELECT set_refused('status = ''x'' FROM users');
SELECT set_refused('status = ''x'' RETURNING *');
SELECT set_refused('status');
SELECT set_refused('status = (''x''');
SELECT throws_ok($$ SELECT retention.alter_policy('pending_bookings', set_clause => 'nothing = 1') $$, '42703', NULL, 'G11 a set_clause on a missing column is refused');
SELECT throws_ok($$ SELECT retention.adopt_preset('inactive_sessions', activity_condition => 'true) OR (true') $$, '42601', NULL, 'G11 the condition of an activity is held to the same');
SELECT is(expire_pending_bookings() ->> 'expired_bookings', '1', 'G11 the policy is as it was');

SELECT * FROM finish();
DROP SCHEMA errs CASCADE;
DROP EXTENSION pg_retention;
