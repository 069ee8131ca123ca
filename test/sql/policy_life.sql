-- Definition and life: everything is checked when it is said, every change is kept, and a policy outlives what happens to its tables.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_life
\set begin :test '/begin.psql'
\i :begin
SET timezone = 'UTC';
SET intervalstyle = 'postgres';
SET datestyle = 'ISO';
SELECT plan(92);

\i :functions

CREATE TABLE things (id int PRIMARY KEY, at timestamptz, n int, what text, day date);
CREATE TABLE owners (id int PRIMARY KEY, seen timestamptz);
ALTER TABLE things ADD COLUMN owner int REFERENCES owners;
CREATE TABLE parts (id int PRIMARY KEY, thing int REFERENCES things);

-- ---- Bad input ----

-- One error of one sentence, and nothing stored: no policy, no history, no archive.
CREATE FUNCTION bad(options text, state text, message text, title text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT throws_ok('SELECT retention.add_policy(' || options || ')', state, message, 'G11 ' || title || ' is an error') $$;
SELECT bad($$ NULL, 'things', '90 days', 'at' $$, '22004', NULL, 'a policy without a name');
SELECT bad($$ '', 'things', '90 days', 'at' $$, '22023', 'a policy''s name has 1 to 63 bytes', 'an empty name');
SELECT bad($$ repeat('x', 64), 'things', '90 days', 'at' $$, '22023', 'a policy''s name has 1 to 63 bytes', 'a name of 64 bytes');
SELECT bad($$ 'p', NULL, '90 days', 'at' $$, '22004', NULL, 'no target');
SELECT bad($$ 'p', 0, '90 days', 'at' $$, '42P01', NULL, 'a target that is no table');
SELECT bad($$ 'p', 'things', NULL, 'at' $$, '22004', 'expire_after must not be null', 'no expire_after');
SELECT bad($$ 'p', 'things', '-1 day', 'at' $$, '22023', NULL, 'a negative expire_after');
SELECT bad($$ 'p', 'things', '1 day -2 months', 'at' $$, '22023', NULL, 'one that is negative in sum');
SELECT bad($$ 'p', 'things', '100000000 years', 'at' $$, '22008', NULL, 'one beyond what an interval holds');
SELECT bad($$ 'p', 'things', '90 days', 'nobody' $$, '42703', 'column "nobody" of policy_life.things does not exist', 'a time column that does not exist');
SELECT bad($$ 'p', 'things', '90 days', 'ctid' $$, '42703', NULL, 'a system column');
SELECT bad($$ 'p', 'things', '90 days', 'what' $$, '42804', 'column "what" holds no time', 'a column that holds no time');
SELECT bad($$ 'p', 'things', '90 days', 'n' $$, '22023', 'column "n" is an integer and its unit of time is unknown', 'an integer without a unit');
SELECT bad($$ 'p', 'things', '90 days', 'n', time_unit => 'h' $$, '22023', 'invalid value for time_unit: ''h''', 'a unit that does not exist');
SELECT bad($$ 'p', 'things', '90 days', 'at', time_unit => 's' $$, '22023', 'time_unit is for integer columns only', 'a unit for a timestamptz');
SELECT bad($$ 'p', 'things', '90 days', time_columns => '{at,n}', time_unit => 's' $$, '22023', NULL, 'a unit for one column of two');
SELECT bad($$ 'p', 'things', '90 days', 'at', time_columns => '{at}' $$, '22023', 'time_column and time_columns exclude each other', 'time_column beside time_columns');
SELECT bad($$ 'p', 'things', '90 days', time_columns => '{at,NULL}' $$, '22004', NULL, 'a NULL among columns');
SELECT bad($$ 'p', 'things', '90 days', time_columns => '{at,nobody}' $$, '42703', NULL, 'one of two columns that does not exist');
SELECT bad($$ 'p', 'things', '90 days', time_columns => '{at,day}', time_match => 'some' $$, '22023', 'invalid value for time_match: ''some''', 'a time_match that does not exist');
SELECT bad($$ 'p', 'things', '90 days', 'at', time_zone => 'Mars/Olympus' $$, '22023', 'time zone ''Mars/Olympus'' is not known', 'a zone that does not exist');
SELECT bad($$ 'p', 'things', '90 days', 'at', never => '{soon}' $$, '22007', NULL, 'a never that is no value of the column');
SELECT bad($$ 'p', 'things', '90 days', 'at', when_null => 'drop' $$, '22023', 'invalid value for when_null: ''drop''', 'a when_null that does not exist');
SELECT bad($$ 'p', 'things', '90 days', 'at', condition => 'target.nobody = 1' $$, '42703', NULL, 'a condition over a column that does not exist');
SELECT bad($$ 'p', 'things', '90 days', 'at', condition => 'target.n + 1' $$, '42804', NULL, 'a condition that is no boolean');
SELECT bad($$ 'p', 'things', '90 days', 'at', condition => 'target.n = ' $$, '42601', NULL, 'half a condition');
SELECT bad($$ 'p', 'things', '90 days', 'at', condition => 'true; DROP TABLE things' $$, '42601', NULL, 'a condition that is two statements');
SELECT bad($$ 'p', 'things', '90 days', 'at', condition => 'true) OR (true' $$, '42601', NULL, 'a condition that closes the parenthesis around it');
SELECT bad($$ 'p', 'things', '90 days', 'at', condition => 'count(*) > 1' $$, '42803', NULL, 'an aggregate as a condition');
SELECT bad($$ 'p', 'things', '90 days', 'at', condition => '$1 IS NULL' $$, '42P02', NULL, 'a parameter in a condition');
SELECT bad($$ 'p', 'things', expiry_expression => 'target.n' $$, '42804', 'expiry_expression gives no instant', 'an expiry_expression that gives no instant');
SELECT bad($$ 'p', 'things', '90 days', 'at', expiry_expression => 'target.at' $$, '22023', 'expiry_expression takes the place of time_column', 'a time column beside an expiry_expression');
SELECT bad($$ 'p', 'things', '90 days', time_unit => 's' $$, '22023', 'time_unit needs a time_column', 'a unit without a column');
SELECT bad($$ 'p', 'things', '90 days', 'at', action => 'drop' $$, '22023', 'invalid value for action: ''drop''', 'an action that does not exist');
SELECT bad($$ 'p', 'things', '90 days', 'at', action => 'update' $$, '22023', 'action ''update'' needs a set_clause', 'an update of nothing');
SELECT bad($$ 'p', 'things', '90 days', 'at', dependents => 'drop' $$, '22023', 'invalid value for dependents: ''drop''', 'a word for dependents that does not exist');
SELECT bad($$ 'p', 'things', '90 days', 'at', keep_latest => -1 $$, '22023', 'keep_latest must be greater than zero', 'a negative keep_latest');
SELECT bad($$ 'p', 'things', '90 days', 'at', max_rows => -1 $$, '22023', 'max_rows must not be negative', 'a negative max_rows');
SELECT bad($$ 'p', 'things', '90 days', 'at', max_fraction => 1.5 $$, '22023', 'max_fraction must be between 0 and 1', 'a max_fraction above 1');
SELECT bad($$ 'p', 'things', '90 days', 'at', max_fraction => 'NaN' $$, '22023', 'max_fraction must be between 0 and 1', 'a max_fraction that is no number');
SELECT bad($$ 'p', 'things', '90 days', 'seen', subject => 'parts' $$, '42704', NULL, 'a subject that no key leads to');
SELECT bad($$ 'p', 'things', '90 days', 'seen', subject => 'owners', path => '{nobody}' $$, '42704', NULL, 'a path that does not exist');
SELECT bad($$ 'p', 'things', '90 days', 'seen', subject => 'owners', keep_latest => 1 $$, '22023', NULL, 'keep_latest by another''s time');
SELECT is((SELECT count(*) FROM retention.policies) + (SELECT count(*) FROM retention.policy_change), 0::bigint, 'G11 of all this nothing was stored, nor noted');
SELECT is((SELECT count(*) FROM pg_class WHERE relname LIKE '%archive' AND relnamespace = 'policy_life'::regnamespace), 0::bigint, 'G11 and nothing was made');

-- ---- Change ----

SELECT lives_ok($$ SELECT retention.add_policy('p', 'things', '90 days', 'at', condition => 'target.n > 0') $$, 'a good policy is stored');
SELECT results_eq('SELECT name, version, paused, target::text, time_columns, expire_after, action, dependents, when_null, time_zone FROM retention.policies',
    $$ VALUES ('p', 1, false, 'things', '{at}'::text[], interval '90 days', 'delete', 'refuse', 'keep', 'UTC') $$, 'with what stands where nothing is said');
SELECT throws_ok($$ SELECT retention.add_policy('p', 'things', '1 day', 'at') $$, '42710', 'policy "p" already exists', 'G11 a name is used once');
SELECT lives_ok($$ SELECT retention.add_policy('p', 'things', '1 day', 'at', if_not_exists => true) $$, 'unless if_not_exists is said');
SELECT is((SELECT expire_after FROM retention.policies), '90 days', 'which changes nothing');
SELECT retention.alter_policy('p', expire_after => '60 days') \gset
SELECT is((SELECT row(version, expire_after, condition IS NOT NULL)::text FROM retention.policies), '(2,"60 days",t)', 'alter_policy changes what is given and raises the version');
SELECT retention.alter_policy('p', reset => '{condition}') \gset
SELECT is((SELECT row(version, expire_after, condition)::text FROM retention.policies), '(3,"60 days",)', 'reset sets a field back');
SELECT throws_ok($$ SELECT retention.alter_policy('p') $$, '22023', 'nothing to change in policy "p"', 'G11 to alter nothing is an error');
SELECT throws_ok($$ SELECT retention.alter_policy('p', reset => '{target}') $$, '22023', 'field "target" cannot be reset', 'G11 not every field has a default');
SELECT throws_ok($$ SELECT retention.alter_policy('p', time_column => 'what') $$, '42804', NULL, 'G11 what is altered is checked');
SELECT throws_ok($$ SELECT retention.alter_policy('p', action => 'update') $$, '22023', NULL, 'G11 against all that stands');
SELECT throws_ok($$ SELECT retention.alter_policy('q', '1 day') $$, '42704', 'policy "q" does not exist', 'G11 and must exist');
SELECT is((SELECT version FROM retention.policies), 3, 'G11 none of which changed it');
SELECT retention.alter_policy('p', time_column => 'day') \gset
SELECT is((SELECT time_columns FROM retention.policies), '{day}', 'another time column takes the place of the first');
SELECT retention.alter_policy('p', expiry_expression => $$ target.at + interval '1 day' $$, reset => '{time_column}') \gset
SELECT is((SELECT time_columns IS NULL AND expiry_expression IS NOT NULL FROM retention.policies), true, 'one field set and another reset in one step');
SELECT retention.alter_policy('p', time_column => 'at', reset => '{expiry_expression}') \gset
SELECT retention.pause_policy('p') \gset
INSERT INTO things VALUES (1, ago(100), 1, 'a', NULL), (2, ago(1), 1, 'b', NULL);
SELECT is((SELECT row(success, affected, stop_reason)::text FROM retention.apply('p')), '(t,0,paused)', 'a paused policy ends at once, with success and no rows');
SELECT is(ids('things'), '1 2', 'and changes nothing');
SELECT is((SELECT expected_rows FROM retention.preview('p')), 1::bigint, 'its preview can still be looked at');
SELECT retention.resume_policy('p') \gset
SELECT is(run('p') || ': ' || ids('things'), '1: 2', 'a resumed one runs');
SELECT throws_ok($$ SELECT retention.pause_policy('q') $$, '42704', NULL, 'G11 what is paused must exist');
SELECT throws_ok($$ SELECT retention.resume_policy('q') $$, '42704', NULL, 'G11 and what is resumed');
SELECT throws_ok($$ SELECT retention.remove_policy('q') $$, '42704', NULL, 'G11 and what is removed');
SELECT lives_ok($$ SELECT retention.remove_policy('q', if_exists => true) $$, 'unless if_exists is said');
SELECT is((SELECT string_agg(version || ' ' || change, ', ' ORDER BY id) FROM retention.policy_change), '1 added, 2 altered, 3 altered, 4 altered, 5 altered, 6 altered, 7 paused, 8 resumed', 'every change is kept with its version');
SELECT is((SELECT bool_and(changed_by = session_user AND changed_at <= now()) FROM retention.policy_change), true, 'who and when');
SELECT is((SELECT string_agg(definition ->> 'expire_after', ', ' ORDER BY id) FROM retention.policy_change WHERE version < 4), '90 days, 60 days, 60 days', 'and the definition that came of it');
SELECT is((SELECT policy_version FROM retention.runs WHERE policy = 'p' AND success ORDER BY id DESC LIMIT 1), 8, 'a run records the version that it used');
SELECT retention.remove_policy('p') \gset
SELECT is((SELECT change FROM retention.policy_change ORDER BY id DESC LIMIT 1), 'removed', 'a removal is kept too');
SELECT is((SELECT count(*) FROM retention.runs WHERE policy = 'p'), 2::bigint, 'and so are the runs of what was removed');
SELECT retention.add_policy('p', 'things', '90 days', 'at', max_rows => 0, max_fraction => 0) \gset
SELECT is((SELECT count(*) FROM retention.policies), 1::bigint, 'a fuse of zero is a fuse, not an error');
INSERT INTO things VALUES (1, ago(100));
SET client_min_messages = error;
SELECT is((SELECT row(success, stop_reason, affected, sqlstate)::text FROM retention.apply('p')), '(f,fuse,0,55000)', 'G7 it acts before the first change');
SET client_min_messages = warning;
SELECT is(ids('things'), '1 2', 'G7 of which there is none');
SELECT retention.alter_policy('p', reset => '{max_rows,max_fraction}') \gset
SELECT is(run('p'), '1', 'reset takes it out');
SELECT retention.remove_policy('p') \gset

-- ---- What happens to tables ----

SELECT retention.add_policy('p', 'things', '90 days', 'seen', subject => 'owners', condition => 'target.n > 0 AND target.id IN (SELECT thing FROM parts)') \gset
INSERT INTO owners VALUES (1, ago(100));
INSERT INTO things VALUES (5, NULL, 1, NULL, NULL, 1), (6, NULL, 1, NULL, NULL, NULL);
INSERT INTO parts VALUES (1, 5);
SELECT retention.add_dependent('p', 'parts') \gset
ALTER TABLE things RENAME TO "Things, renamed";
CREATE SCHEMA policy_life_2;
ALTER TABLE owners SET SCHEMA policy_life_2;
SELECT is(run('p'), '1 {"policy_life.parts": 1}', 'a policy outlives the rename of its target and another schema for its subject');
ALTER TABLE policy_life_2.owners RENAME seen TO last_seen;
SET client_min_messages = error;
SELECT is((SELECT row(success, sqlstate, message)::text FROM retention.apply('p')), '(f,42703,"column ""seen"" of policy_life_2.owners does not exist")', 'a column that was renamed is told at the next run');
SELECT is((SELECT severity || ': ' || finding FROM retention.check('p') WHERE severity = 'error'), 'error: the policy cannot run: column "seen" of policy_life_2.owners does not exist (42703)', 'and by the advisor');
SELECT lives_ok($$ SELECT retention.alter_policy('p', time_column => 'last_seen') $$, 'alter_policy says the new name');
SELECT is((retention.apply('p')).success, true, 'and the policy runs again');
ALTER TABLE "Things, renamed" RENAME n TO number;
SELECT is((SELECT row(success, sqlstate)::text FROM retention.apply('p')), '(f,42703)', 'a column of the condition that was renamed is told too');
SELECT retention.alter_policy('p', reset => '{condition}') \gset
ALTER TABLE "Things, renamed" DROP CONSTRAINT things_owner_fkey;
SELECT is((SELECT sqlstate FROM retention.apply('p')), '42704', 'and so is a path that is gone');
DROP TABLE policy_life_2.owners;
SELECT is((SELECT message FROM retention.apply('p')), 'table policy_life_2.owners no longer exists', 'a subject that was dropped is told by its last name');
DROP TABLE "Things, renamed" CASCADE;
SELECT is((SELECT row(success, sqlstate, stop_reason)::text FROM retention.apply('p')), '(f,42P01,error)', 'DROP TABLE of a target is possible and leaves a policy that reports it');
SELECT is((SELECT count(*) FROM retention.check('p') WHERE severity = 'error' AND finding LIKE '%no longer exists%'), 1::bigint, 'to the advisor too');
SELECT is((SELECT count(*) FROM retention.policies), 1::bigint, 'the views show it still');
CREATE TABLE things (id int PRIMARY KEY, at timestamptz);
INSERT INTO things VALUES (1, ago(100));
SELECT is((SELECT success FROM retention.apply('p')), false, 'a new table of the same name is not taken for the old one');
ALTER TABLE parts ADD FOREIGN KEY (thing) REFERENCES things;
SELECT lives_ok($$ SELECT retention.alter_policy('p', target => 'things', time_column => 'at', reset => '{subject}') $$, 'until alter_policy points at it');
SET client_min_messages = warning;
SELECT is((SELECT dependent_tables::text FROM retention.policies), '{parts}', 'what was said of dependents stays');
SELECT retention.remove_policy('p') \gset

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA policy_life, policy_life_2 CASCADE;
DROP EXTENSION pg_retention;
