-- What a definition means does not change with the session that runs it, and what cannot be meant is refused.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_meaning
\set begin :test '/begin.psql'
\i :begin
SET timezone = 'UTC';
SET intervalstyle = 'postgres';
SET datestyle = 'ISO';
SELECT plan(24);

\i :functions

-- ---- The cutoff across a change of the clocks ----

CREATE TABLE clock (id int PRIMARY KEY, at timestamptz);
INSERT INTO clock VALUES (1, '2025-03-30 01:00:00+00'), (2, '2025-03-30 00:20:00+00');
CREATE FUNCTION seen_at(as_of timestamptz) RETURNS bigint LANGUAGE sql AS $$ SELECT expected_rows FROM retention.preview('clock', as_of => as_of) WHERE role = 'target' $$;
SELECT retention.add_policy('clock', 'clock', '2 hours', 'at', time_zone => 'Europe/Berlin') \gset
SELECT is(seen_at('2025-03-30 04:30:00+02'), 1::bigint, 'G1 two hours are two hours on the day that has 23: a row of an hour and a half stays');
SELECT retention.alter_policy('clock', expire_after => '15 minutes') \gset
SELECT is(seen_at('2025-03-30 03:05:00+02'), 1::bigint, 'G1 fifteen minutes are fifteen minutes right after the clocks went forward');
SELECT lives_ok($$ SELECT seen_at('2025-10-26 02:30:00+02') $$, 'and in the hour that comes twice');
SELECT retention.alter_policy('clock', expire_after => '24 hours') \gset
TRUNCATE clock;
INSERT INTO clock VALUES (1, '2025-03-29 12:00:00+01'), (2, '2025-03-29 11:30:00+01');
SELECT is(seen_at('2025-03-30 12:00:00+02'), 0::bigint, 'G1 24 hours are not a day of 23');

-- ---- The session ----

CREATE TABLE days (id int PRIMARY KEY, at timestamptz, d date);
INSERT INTO days VALUES (1, '2020-01-01', '2021-01-10');
SET datestyle = 'SQL, DMY';
SELECT retention.add_policy('days', 'days', '1 day', 'at', condition => $$ target.d > '2021-02-01' $$) \gset
SET datestyle = 'ISO, MDY';
SELECT is(run('days'), '0', 'G1 a date in a condition is the same date under another DateStyle');
SET intervalstyle = 'sql_standard';
SELECT retention.add_policy('spans', 'days', '1 day', 'at', condition => $$ interval '-1 day 2 hours' < interval '-23 hours' $$) \gset
SET intervalstyle = 'postgres';
SELECT is(run('spans'), '1', 'and an interval the same under another IntervalStyle');

-- ---- Columns by their bare names ----

CREATE TABLE bare (id int PRIMARY KEY, at timestamptz, ttl interval, status text);
INSERT INTO bare VALUES (1, ago(100), '1 day', 'old'), (2, ago(100), '1 year', 'new');
SELECT lives_ok($$ SELECT retention.add_policy('bare', 'bare', expiry_expression => 'at + ttl') $$, 'created_at + ttl, by its bare names');
SELECT lives_ok($$ SELECT retention.add_policy('status', 'bare', '1 day', 'at', condition => $c$ status = 'old' $c$) $$, 'and a condition so');
SELECT lives_ok($$ SELECT retention.add_policy('case', 'bare', '1 day', 'at', condition => 'CASE WHEN target.id = 1 THEN true ELSE false END') $$, 'a condition may begin with CASE');
SELECT lives_ok($$ SELECT retention.add_policy('case2', 'bare', expiry_expression => 'CASE WHEN target.id = 1 THEN target.at ELSE NULL END') $$, 'and an expiry_expression');

-- ---- Refused ----

CREATE FOREIGN DATA WRAPPER policy_meaning;
CREATE SERVER policy_meaning FOREIGN DATA WRAPPER policy_meaning;
CREATE TABLE mixed (id int, at timestamptz) PARTITION BY LIST (id);
CREATE FOREIGN TABLE mixed_far PARTITION OF mixed FOR VALUES IN (2) SERVER policy_meaning;
CREATE TABLE parent (id int PRIMARY KEY, at timestamptz);
CREATE FOREIGN TABLE heir_far () INHERITS (parent) SERVER policy_meaning;
SELECT throws_ok($$ SELECT retention.add_policy('r', 'mixed', '1 day', 'at') $$, '0A000', NULL, 'G12 a partitioned table with a foreign partition is refused');
SELECT throws_ok($$ SELECT retention.add_policy('r', 'parent', '1 day', 'at') $$, '0A000', NULL, 'G12 and a table with a foreign child');
CREATE TABLE arch (x int);
CREATE VIEW archview AS SELECT b.*, 1::bigint AS retention_run_id, now() AS archived_at FROM bare b;
SELECT throws_ok($$ SELECT retention.add_policy('r', 'bare', '1 day', 'at', action => 'archive', archive_to => 'arch') $$, '42703', NULL, 'G11 an archive that lacks the columns is found at definition');
SELECT throws_ok($$ SELECT retention.add_policy('r', 'bare', '1 day', 'at', action => 'archive', archive_to => 'archview') $$, '0A000', NULL, 'G12 a view is no archive');
CREATE TABLE own (id int, at timestamptz, retention_run_id bigint, archived_at timestamptz);
SELECT throws_ok($$ SELECT retention.add_policy('r', 'own', '1 day', 'at', action => 'archive', archive_to => 'own') $$, '22023', NULL, 'G11 nor is the target its own');
CREATE FUNCTION document(more jsonb) RETURNS text LANGUAGE sql AS
    $$ SELECT format('SELECT retention.import_policies(%L)', '{"name": "r", "target": "bare", "expire_after": "1 day", "time_columns": ["at"]}'::jsonb || more) $$;
SELECT throws_ok(document('{"max_rows": "abc"}'), '22P02', NULL, 'G11 a number that is none');
SELECT throws_ok(document('{"activities": 5}'), '22023', NULL, 'G11 activities that are no array: what keeps rows must not be lost');
SELECT throws_ok(document('{"activities": [5]}'), '22023', NULL, 'G11 an activity that is no object');
SELECT throws_ok(document('{"activities": {"relation": "bare", "time_column": "at", "join_condition": "true"}}'), '22023', NULL, 'G11 one activity outside of an array');
SELECT throws_ok(document('{"name": ["a"]}'), '22023', NULL, 'G11 a name that is no text');
SELECT throws_ok($$ SELECT retention.add_policy('r', 'bare', expiry_expression => 'target.at', when_null => 'expire') $$, '22023', NULL, 'G11 what would have no effect is refused: when_null beside an expiry_expression');
SELECT throws_ok($$ SELECT retention.add_policy('r', 'bare', expiry_expression => 'target.at', never => '{2000-01-01}') $$, '22023', NULL, 'G11 and never');

-- ---- Archives of tables of one name; counts ----

CREATE SCHEMA policy_meaning_2;
CREATE TABLE policy_meaning_2.bare (id int PRIMARY KEY REFERENCES bare, at timestamptz, ttl interval, status text);
INSERT INTO policy_meaning_2.bare VALUES (1, now(), NULL, 'dependent');
SELECT retention.add_policy('two', 'bare', '90 days', 'at', action => 'archive', dependents => 'cascade') \gset
SELECT retention.apply('two') \gset
SELECT is((SELECT count(*) FROM bare_archive WHERE status = 'dependent'), 0::bigint, 'tables of one name in two schemas do not share an archive');
CREATE TABLE people (id int PRIMARY KEY, at timestamptz);
CREATE TABLE letters (id int PRIMARY KEY, a int REFERENCES people, b int REFERENCES people);
INSERT INTO people VALUES (1, ago(100)), (2, ago(100));
INSERT INTO letters VALUES (1, 1, 2), (2, 1, 1);
SELECT retention.add_policy('people', 'people', '90 days', 'at') \gset
SELECT retention.add_dependent('people', 'letters', action => 'set_null') \gset
SELECT is(run('people'), '2 {"policy_meaning.letters": 2}', 'G4 a row whose two keys are set to NULL is one row');

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA policy_meaning, policy_meaning_2 CASCADE;
DROP FOREIGN DATA WRAPPER policy_meaning CASCADE;
DROP EXTENSION pg_retention;
