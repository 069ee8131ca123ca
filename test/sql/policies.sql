-- Policies as data, and what is written about their runs.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema shop
\set begin :test '/begin.psql'
\i :begin
SELECT plan(101);

CREATE TABLE users (id serial PRIMARY KEY, last_active timestamp);
CREATE TABLE carts (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users);
CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id integer NOT NULL REFERENCES carts, created_at timestamp);
CREATE FUNCTION days_ago(days numeric) RETURNS timestamp LANGUAGE sql STABLE AS
    $$ SELECT timezone('UTC', now()) - days * interval '1 day' $$;
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE users, carts, cart_items RESTART IDENTITY CASCADE;
    INSERT INTO users (last_active) SELECT days_ago(n * 10) FROM generate_series(1, 10) n;
    INSERT INTO carts (user_id) SELECT id FROM users;
    INSERT INTO cart_items (cart_id) SELECT id FROM carts, generate_series(1, 3) ORDER BY 1 $$;
CREATE FUNCTION raise_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no way' USING ERRCODE = 'P0042', DETAIL = 'At all.'; END $$;
CREATE VIEW last_run AS SELECT * FROM retention.runs ORDER BY id DESC LIMIT 1;
SELECT fill() \gset

-- ---- Statistics ----

SELECT is((SELECT count(*) FROM retention.runs), 0::bigint, 'before the first run there are no runs');
SELECT cleanup_inactive_carts(45) AS did, clock_timestamp() AS now \gset
SELECT is((SELECT count(*) FROM retention.runs), 1::bigint, 'a run is one row of retention.runs');
SELECT results_eq('SELECT policy, policy_version, run_by, runs_as, action, success, affected, subjects, batches, stop_reason, sqlstate, error_detail FROM last_run',
    format($$ VALUES ('inactive_carts', NULL::int, %L, %1$L, 'delete', true, 18::bigint, 6::bigint, 1, 'done', NULL::text, NULL::text) $$, current_user), 'with who, what and how it ended');
SELECT is((SELECT statistics FROM last_run), :'did'::jsonb, 'its statistics are the dictionary');
SELECT is((SELECT affected::text FROM last_run), :'did'::jsonb ->> 'deleted_items', 'affected is deleted_items');
SELECT is((SELECT message FROM last_run), :'did'::jsonb ->> 'message', 'the message is the same');
SELECT is((SELECT cutoff FROM last_run), (:'did'::jsonb ->> 'cutoff_time')::timestamptz, 'the cutoff is the same');
SELECT ok((SELECT started <= finished AND finished <= :'now' AND duration = finished - started FROM last_run), 'it tells when and how long');
SELECT results_eq('SELECT policy, batch, relation, action, affected FROM retention.ledger', $$ VALUES ('inactive_carts', 1, 'shop.cart_items', 'delete', 18::bigint) $$, 'G4 the ledger has the rows of the batch');
SELECT cleanup_inactive_carts(45) AS did \gset
SELECT is((SELECT row(success, affected, message, batches)::text FROM last_run), '(t,0,"No cart items from inactive users",0)', 'a run with nothing to do is a row too');
SELECT is((SELECT count(*) FROM retention.ledger), 1::bigint, 'but no batch');
SELECT get_inactive_carts_preview() AS seen \gset
SELECT is((SELECT count(*) FROM retention.runs), 2::bigint, 'a preview is not a run');

CREATE TRIGGER stop BEFORE DELETE ON cart_items FOR EACH ROW EXECUTE FUNCTION raise_it();
SELECT fill() \gset
SELECT cleanup_inactive_carts(45) AS did \gset
SELECT is(:'did'::jsonb - '{cutoff_time}'::text[],
          '{"success": false, "message": "no way", "sqlstate": "P0042", "detail": "At all.", "deleted_items": 0, "affected_carts": 0, "inactive_users": 0, "skipped": 0, "stop_reason": "error"}',
          'a failed run tells message, SQLSTATE and detail');
SELECT results_eq('SELECT success, message, sqlstate, error_detail, affected, subjects, batches, stop_reason FROM last_run',
    $$ VALUES (false, 'no way', 'P0042', 'At all.', 0::bigint, 0::bigint, 0, 'error') $$, 'a failed run is a row with the same');
SELECT is((SELECT statistics FROM last_run), :'did'::jsonb, 'and the same dictionary');
SELECT isnt((SELECT cutoff FROM last_run), NULL, 'and its cutoff');
SELECT is((SELECT count(*) FROM retention.ledger), 1::bigint, 'G4 a failed run is nothing in the ledger');
SELECT results_eq('SELECT policy, paused, target IS NULL, action, last_outcome, last_affected, runs, failures FROM retention.status',
    $$ VALUES ('inactive_carts', false, true, 'delete', 'failed', 0::bigint, 3::bigint, 1::bigint) $$, 'retention.status tells the last outcome, runs and failures');
SELECT is((SELECT last_success FROM retention.status), (SELECT max(finished) FROM retention.runs WHERE success), 'and the last success');
DROP TRIGGER stop ON cart_items;
SELECT cleanup_inactive_carts(45) AS did \gset
SELECT results_eq('SELECT last_outcome, last_affected, runs, failures FROM retention.status', $$ VALUES ('done', 18::bigint, 4::bigint, 1::bigint) $$, 'a success after it is told');
SELECT is((SELECT sum(affected)::bigint FROM retention.ledger WHERE policy = 'inactive_carts'), (SELECT sum(affected)::bigint FROM retention.runs), 'G4 the ledger sums up to the runs');
BEGIN;
SELECT fill() \gset
SELECT cleanup_inactive_carts(45) AS did \gset
ROLLBACK;
SELECT is((SELECT runs FROM retention.status), 4::bigint, 'G4 what the caller rolls back is not in the books');

-- ---- retention.apply ----

SELECT fill() \gset
SELECT results_eq($$ SELECT success, message, policy, action, affected, subjects, dependents, skipped_locked, skipped_blocked, skipped_held, skipped_returned, batches, stop_reason, sqlstate
                       FROM retention.apply('inactive_carts') $$,
    $$ VALUES (true, 'Deleted 6 cart items from 2 inactive users', 'inactive_carts', 'delete', 6::bigint, 2::bigint, '{}'::jsonb, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 1, 'done', NULL::text) $$,
    'retention.apply runs a preset and returns retention.result');
SELECT run_id FROM retention.apply('inactive_carts') \gset
SELECT is(:run_id::bigint, (SELECT id FROM last_run), 'its run_id is the row of retention.runs');
SELECT throws_ok($$ SELECT retention.apply('nothing') $$, '42704', 'policy "nothing" does not exist', 'G11 an unknown policy is an error');
SELECT throws_ok($$ SELECT retention.apply(NULL) $$, '22004', NULL, 'G11 so is NULL');

-- ---- Storing ----

SELECT fill() \gset
SELECT lives_ok($$ SELECT retention.adopt_preset('inactive_carts') $$, 'adopt_preset stores a preset');
SELECT results_eq('SELECT name, version, owner::text, preset, paused, target::text, subject::text, path, action, time_columns, time_zone, when_null, expire_after, dependents, run_order FROM retention.policies',
    format($$ VALUES ('inactive_carts', 1, %L, 'inactive_carts', false, 'cart_items', 'users', NULL::text[], 'delete', '{last_active}'::text[], 'UTC', 'keep', interval '90 days', 'refuse', 0) $$, quote_ident(current_user)),
    'retention.policies shows the definition');
SELECT throws_ok($$ SELECT retention.adopt_preset('inactive_carts') $$, '42710', 'policy "inactive_carts" already exists', 'twice is an error');
SELECT lives_ok($$ SELECT retention.adopt_preset('inactive_carts', if_not_exists => true) $$, 'if_not_exists makes it none');
SELECT is((SELECT version FROM retention.policies), 1, 'and changes nothing');
SELECT throws_ok($$ SELECT retention.adopt_preset('no_such_preset') $$, '42704', NULL, 'an unknown preset is an error');
SELECT throws_ok($$ SELECT retention.adopt_preset(NULL) $$, '22004', NULL, 'so is NULL');
SELECT throws_ok($$ SELECT retention.adopt_preset('old_cart_items', subject => 'users') $$, '22023', NULL, 'a name the preset has no use for is an error');
SELECT throws_ok($$ SELECT retention.adopt_preset('old_cart_items', time_zone => 'Mars/Olympus') $$, '22023', NULL, 'an unknown zone is an error');
SELECT throws_ok($$ SELECT retention.adopt_preset('old_cart_items', expire_after => '-1 day') $$, '22023', NULL, 'a negative age is an error');
SELECT results_eq('SELECT policy, version, change, changed_by = session_user FROM retention.policy_change', $$ VALUES ('inactive_carts', 1, 'added', true) $$, 'retention.policy_change tells who added it');

-- ---- Altering: a time of the rule is a property of the policy ----

SELECT retention.alter_policy('inactive_carts', expire_after => '45 days') \gset
SELECT is((SELECT expire_after FROM retention.policies), '45 days'::interval, 'alter_policy changes the time');
SELECT is((SELECT version FROM retention.policies), 2, 'and raises the version');
SELECT results_eq('SELECT version, change, changed_by = session_user, (definition ->> ''expire_after'')::interval FROM retention.policy_change ORDER BY id',
    $$ VALUES (1, 'added', true, interval '90 days'), (2, 'altered', true, interval '45 days') $$, 'and retention.policy_change keeps each definition');
BEGIN;
SELECT cleanup_inactive_carts() AS did \gset
SELECT is((:'did'::jsonb ->> 'cutoff_time')::timestamptz, days_ago(45) AT TIME ZONE 'UTC', 'the function follows the policy');
SELECT is((SELECT policy_version FROM last_run), 2, 'the run tells the version');
SELECT is(:'did'::jsonb ->> 'deleted_items', '18', 'and deletes by it');
ROLLBACK;
SELECT is(cleanup_inactive_carts(95) ->> 'deleted_items', '3', 'an argument still counts for its run alone');
SELECT is((SELECT expire_after FROM retention.policies), '45 days'::interval, 'and leaves the policy as it was');
SELECT fill() \gset
SELECT is(get_inactive_carts_preview() ->> 'deleted_items', '18', 'the preview follows the policy');
SELECT is((SELECT count(*) FROM get_user_activity() WHERE status = 'inactive'), 6::bigint, 'get_user_activity follows the policy');
SELECT is(cleanup_inactive_carts(1000) ->> 'message', 'No inactive users (> 1000 days)', 'a message tells the argument');
SELECT retention.alter_policy('inactive_carts', expire_after => '1 year 2 mons') \gset
SET IntervalStyle = postgres;
SELECT is(cleanup_inactive_carts() ->> 'message', 'No inactive users (> 1 year 2 mons)', 'and else the policy''s own time');
RESET IntervalStyle;
SELECT throws_ok($$ SELECT retention.alter_policy('inactive_carts', expire_after => '-5 days') $$, '22023', NULL, 'G11 a negative time is refused');
SELECT throws_ok($$ SELECT retention.alter_policy('inactive_carts', time_column => 'nothing') $$, '42703', NULL, 'G11 a missing column is refused');
SELECT throws_ok($$ SELECT retention.alter_policy('inactive_carts', time_zone => 'Nowhere') $$, '22023', NULL, 'G11 an unknown zone is refused');
SELECT throws_ok($$ SELECT retention.alter_policy('inactive_carts', when_null => 'perhaps') $$, '22023', NULL, 'G11 an unknown word for when_null is refused');
SELECT throws_ok($$ SELECT retention.alter_policy('inactive_carts', dependents => 'perhaps') $$, '22023', NULL, 'G11 an unknown word for dependents is refused');
SELECT throws_ok($$ SELECT retention.alter_policy('inactive_carts', set_clause => 'cart_id = 1') $$, '22023', NULL, 'G11 a set_clause for a policy that deletes is refused');
SELECT throws_ok($$ SELECT retention.alter_policy('inactive_carts', condition => 'target.nothing = 1') $$, '42703', NULL, 'G11 a condition on a missing column is refused');
SELECT throws_ok($$ SELECT retention.alter_policy('inactive_carts', condition => 'target.id') $$, '42804', NULL, 'G11 a condition that is no truth value is refused');
SELECT throws_ok($$ SELECT retention.alter_policy('inactive_carts') $$, '22023', NULL, 'G11 altering nothing is refused');
SELECT throws_ok($$ SELECT retention.alter_policy('nothing', expire_after => '1 day') $$, '42704', NULL, 'G11 altering an unknown policy is refused');
SELECT is((SELECT row(version, expire_after, time_columns, time_zone, when_null, dependents, set_clause, condition)::text FROM retention.policies),
          '(3,"@ 1 year 2 mons",{last_active},UTC,keep,refuse,,)', 'G11 and nothing was changed by any of them');
SELECT is((SELECT count(*) FROM retention.policy_change), 3::bigint, 'G11 nor written');
SELECT retention.alter_policy('inactive_carts', expire_after => '45 days', condition => 'subject.id % 2 = 0 AND target.id > 0') \gset
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '9', 'a condition narrows the rows, over target and subject');
SELECT retention.alter_policy('inactive_carts', condition => '') \gset
SELECT is((SELECT NULLIF(condition, '') FROM retention.policies), NULL, 'an empty condition takes it away');
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '9', 'and the other rows go');
SELECT fill() \gset
UPDATE users SET last_active = NULL WHERE id < 3;
SELECT retention.alter_policy('inactive_carts', when_null => 'expire') \gset
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '24', 'when_null expire makes an unknown time old, if one says so');
SELECT retention.alter_policy('inactive_carts', when_null => 'keep') \gset

-- ---- Zones ----

-- The application writes local time of its own place; the session's TimeZone is another matter.
SELECT retention.alter_policy('inactive_carts', expire_after => '1 day', time_zone => 'Asia/Karachi') \gset
BEGIN;
SET LOCAL TimeZone = 'America/Bogota';
SELECT fill() \gset
UPDATE users SET last_active = timezone('Asia/Karachi', now()) - interval '1 day';
UPDATE users SET last_active = timezone('Asia/Karachi', now()) - interval '1 day 1 microsecond' WHERE id = 5;
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '3', 'naive times in Asia/Karachi are read so under TimeZone America/Bogota');
SELECT set_eq('SELECT DISTINCT cart_id FROM cart_items', ARRAY[1, 2, 3, 4, 6, 7, 8, 9, 10], 'to the microsecond');
ROLLBACK;
SELECT retention.alter_policy('inactive_carts', time_zone => 'America/Bogota') \gset
BEGIN;
SET LOCAL TimeZone = 'Asia/Karachi';
SELECT fill() \gset
UPDATE users SET last_active = timezone('America/Bogota', now()) - interval '1 day';
UPDATE users SET last_active = timezone('America/Bogota', now()) - interval '1 day 1 microsecond' WHERE id = 5;
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '3', 'and in America/Bogota under TimeZone Asia/Karachi');
SELECT is((SELECT last_active FROM get_user_activity() WHERE user_id = '1'), now() - interval '24 hours', 'lists show the instant');
ROLLBACK;
SELECT throws_ok($$ SET retention.naive_time_zone = 'Mars/Olympus' $$, '22023', NULL, 'G11 the setting refuses an unknown zone');
SELECT retention.alter_policy('inactive_carts', expire_after => '45 days', time_zone => 'UTC') \gset

-- ---- Preview ----

SELECT fill() \gset
SELECT results_eq($$ SELECT relation, role, expected_rows, blocked, held, jsonb_array_length(sample_keys) FROM retention.preview('inactive_carts') $$,
    $$ VALUES ('shop.cart_items', 'target', 18::bigint, 0::bigint, 0::bigint, 5) $$, 'retention.preview counts the rows of the target');
SELECT results_eq($$ SELECT oldest, newest FROM retention.preview('inactive_carts') $$,
    $$ SELECT min(last_active) AT TIME ZONE 'UTC', max(last_active) AT TIME ZONE 'UTC' FROM users WHERE last_active < days_ago(45) $$, 'and tells the oldest and newest instant');
SELECT is((SELECT sample_keys FROM retention.preview('inactive_carts', sample => 2)), '[{"id": 13}, {"id": 14}]', 'sample keys are as many as asked for');
SELECT is((SELECT sample_keys FROM retention.preview('inactive_carts', sample => 0)), '[]', 'or none');
SELECT throws_ok($$ SELECT * FROM retention.preview('inactive_carts', sample => -1) $$, '22023', NULL, 'but not less');
SELECT is((SELECT expected_rows FROM retention.preview('inactive_carts', as_of => now() + interval '20 days')), 24::bigint, 'as_of in the future tells what will have expired');
SELECT is((SELECT expected_rows FROM retention.preview('inactive_carts', as_of => now() - interval '40 days')), 6::bigint, 'as_of in the past what had');
SELECT is((SELECT expected_rows FROM retention.preview('inactive_carts', as_of => now() - interval '400 days')), 0::bigint, 'and nothing is a row with zero');
BEGIN READ ONLY;
SELECT expected_rows AS in_read_only FROM retention.preview('inactive_carts') \gset
COMMIT;
SELECT is(:in_read_only::bigint, (retention.apply('inactive_carts')).affected, 'G9 the preview, in a READ ONLY transaction, told what the run did');
SELECT throws_ok($$ SELECT * FROM retention.preview('nothing') $$, '42704', NULL, 'G11 an unknown policy is an error of the preview too');
BEGIN READ ONLY;
SELECT throws_ok($$ SELECT cleanup_inactive_carts() $$, '25006', NULL, 'a run in a READ ONLY transaction is refused');
ROLLBACK;

-- ---- Pausing and removing ----

SELECT retention.pause_policy('inactive_carts') \gset
SELECT fill() \gset
SELECT is((SELECT paused FROM retention.policies), true, 'pause_policy puts it to rest');
SELECT results_eq($$ SELECT success, affected, stop_reason FROM retention.apply('inactive_carts') $$, $$ VALUES (true, 0::bigint, 'paused') $$, 'a run of it is a success with no rows');
SELECT is((SELECT paused FROM retention.status), true, 'retention.status tells it');
SELECT retention.resume_policy('inactive_carts') \gset
SELECT is((SELECT array_agg(change ORDER BY id) FROM retention.policy_change WHERE change IN ('paused', 'resumed')), '{paused,resumed}', 'both are changes that are written down');
SELECT is((SELECT version FROM retention.policies), (SELECT max(version) FROM retention.policy_change), 'with their versions');
SELECT is((retention.apply('inactive_carts')).affected, 18::bigint, 'resumed it runs');
SELECT throws_ok($$ SELECT retention.pause_policy('nothing') $$, '42704', NULL, 'an unknown policy cannot be paused');
SELECT throws_ok($$ SELECT retention.resume_policy('nothing') $$, '42704', NULL, 'nor resumed');
SELECT throws_ok($$ SELECT retention.remove_policy('nothing') $$, '42704', NULL, 'nor removed');
SELECT lives_ok($$ SELECT retention.remove_policy('nothing', if_exists => true) $$, 'unless it need not exist');

-- A stored policy is the only truth: tables of the conventional names elsewhere do not matter.
CREATE SCHEMA other;
CREATE TABLE other.users (LIKE users INCLUDING ALL);
CREATE TABLE other.carts (LIKE carts INCLUDING ALL, FOREIGN KEY (user_id) REFERENCES other.users);
CREATE TABLE other.cart_items (LIKE cart_items INCLUDING ALL, FOREIGN KEY (cart_id) REFERENCES other.carts);
INSERT INTO other.users VALUES (1, '2020-01-01');
INSERT INTO other.carts VALUES (1, 1);
INSERT INTO other.cart_items VALUES (1, 1);
SELECT fill() \gset
SET search_path = other, shop, public;
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '18', 'a stored policy is the only truth, whatever the search_path');
SELECT is((SELECT count(*) FROM other.cart_items), 1::bigint, 'and tables that only look like its own stay');
SELECT retention.remove_policy('inactive_carts') \gset
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '1', 'without it the tables on the search_path are taken again');
SET search_path = shop, public;
SELECT is((SELECT count(*) FROM retention.policies), 0::bigint, 'remove_policy removes it');
SELECT is((SELECT change FROM retention.policy_change ORDER BY id DESC LIMIT 1), 'removed', 'writes it down');
SELECT cmp_ok((SELECT runs FROM retention.status WHERE policy = 'inactive_carts'), '>', 10::bigint, 'and its runs stay');

-- The names of stored tables may change; tables may go.
SELECT retention.adopt_preset('old_cart_items') \gset
ALTER TABLE cart_items RENAME TO "Items";
ALTER SCHEMA shop RENAME TO "New shop";
SET search_path = "New shop", public;
UPDATE "Items" SET created_at = '2020-01-01';
SELECT is(cleanup_old_cart_items() ->> 'deleted_items', '12', 'a policy follows its table through ALTER TABLE and ALTER SCHEMA RENAME');
ALTER TABLE "Items" DROP created_at;
SELECT is(cleanup_old_cart_items() ->> 'sqlstate', '42703', 'G11 a column that went is an error that names it');
DROP TABLE "Items" CASCADE;
SELECT is(cleanup_old_cart_items() ->> 'message', 'table shop.cart_items no longer exists', 'G11 a table that went is told by its last name');
SELECT lives_ok($$ SELECT retention.remove_policy('old_cart_items') $$, 'and its policy can be removed');

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA "New shop", other CASCADE;
DROP EXTENSION pg_retention;
