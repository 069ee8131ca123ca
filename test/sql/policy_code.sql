-- Policies as code: export, import, and the differences between a document and what is stored.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_code
\set begin :test '/begin.psql'
\i :begin
SET timezone = 'UTC';
SET intervalstyle = 'postgres';
SET datestyle = 'ISO';
SELECT plan(29);

CREATE TABLE users (id int PRIMARY KEY, seen timestamptz);
CREATE TABLE carts (id int PRIMARY KEY, user_id int REFERENCES users);
CREATE TABLE items (id int PRIMARY KEY, cart_id int REFERENCES carts);
CREATE TABLE notes (id int PRIMARY KEY, kind text, of_id int);
CREATE TABLE visits (user_id int, at bigint);
CREATE TABLE "Log, old" (id int PRIMARY KEY, at timestamptz);
SELECT is(retention.export_policies(), '[]'::jsonb, 'no policies are an empty array');
SELECT retention.add_policy('carts', 'carts', '90 days', 'seen', subject => 'users', dependents => 'cascade', condition => 'target.id > 0', never => '{2000-01-01}', max_rows => 1000, max_fraction => 0.5, run_order => 7) \gset
SELECT retention.add_activity('carts', 'visits', 'at', 'activity.user_id = subject.id', condition => 'activity.at > 0', time_unit => 'ms') \gset
SELECT retention.add_dependent('carts', 'notes', $$ dependent.kind = 'cart' AND dependent.of_id = target.id $$) \gset
SELECT retention.add_policy('log', '"Log, old"', '1 year 2 months 3 days', 'at', keep_latest => 100, time_zone => 'Europe/Berlin', paused => true) \gset
SELECT retention.add_policy('names', 'users', '2 years', 'seen', action => 'update', set_clause => 'seen = NULL') \gset
SELECT retention.add_policy('own', 'users', expiry_expression => $$ target.seen + interval '1 day' $$) \gset
SELECT retention.export_policies() AS said \gset
SELECT is(jsonb_array_length(:'said'), 4, 'export_policies gives all of them');
SELECT is((SELECT count(*) FROM retention.import_policies(:'said')), 0::bigint, 'importing what was exported changes nothing');
SELECT is((SELECT array_agg(version ORDER BY name) FROM retention.policies), '{3,1,1,1}', 'and makes no version');
SELECT string_agg(retention.remove_policy(name)::text, '') FROM retention.policies \gset
SELECT is((SELECT count(*) FROM retention.policies), 0::bigint, 'all are removed');
SELECT is((SELECT array_agg(DISTINCT policy || ' ' || change) FROM retention.import_policies(:'said', dry_run => true)), '{"carts added","log added","names added","own added"}', 'dry_run tells what would be done');
SELECT is((SELECT count(*) FROM retention.policies), 0::bigint, 'and stores nothing');
SELECT is((SELECT array_agg(DISTINCT policy || ' ' || change) FROM retention.import_policies(:'said')), '{"carts added","log added","names added","own added"}', 'the import makes them again');
SELECT is(retention.export_policies(), :'said'::jsonb, 'every field of them, activities and dependents included');
SELECT is((SELECT paused FROM retention.policies WHERE name = 'log'), true, 'what was paused is paused');
SELECT retention.alter_policy('log', expire_after => '1 year', keep_latest => 5) \gset
SELECT retention.add_policy('extra', 'users', '9 years', 'seen') \gset
SELECT is((SELECT string_agg(concat_ws(' ', policy, change, field, old, new), '; ' ORDER BY field) FROM retention.import_policies(:'said', dry_run => true)),
          'log altered expire_after "1 year" "1 year 2 mons 3 days"; log altered keep_latest 5 100', 'the difference is told field by field');
SELECT is((SELECT keep_latest FROM retention.policies WHERE name = 'log'), 5::bigint, 'dry_run leaves it');
SELECT is((SELECT count(*) FROM retention.import_policies(:'said')), 2::bigint, 'an import makes the stored policy equal to the document');
SELECT is((SELECT count(*) FROM retention.import_policies(:'said')), 0::bigint, 'and is idempotent');
SELECT is((SELECT count(*) FROM retention.policies WHERE name = 'extra'), 1::bigint, 'a policy that the document does not name stays');
SELECT is((SELECT count(*) FROM retention.import_policies(jsonb_build_object('name', 'log', 'target', '"Log, old"', 'expire_after', '1 year', 'time_columns', '{at}'::text[]))) > 0, true, 'one object is a document too; what it does not say is the default');
SELECT is((SELECT keep_latest FROM retention.policies WHERE name = 'log'), NULL, 'keep_latest, which it did not name, is gone');
SELECT is((SELECT change FROM retention.policy_change ORDER BY id DESC LIMIT 1), 'imported', 'an import is kept in the history');
CREATE FUNCTION document(more jsonb) RETURNS text LANGUAGE sql AS
    $$ SELECT format('SELECT retention.import_policies(%L)', jsonb_build_array('{"name": "good", "target": "users", "expire_after": "1 day", "time_columns": ["seen"]}'::jsonb, '{"name": "new", "target": "users", "expire_after": "1 day", "time_columns": ["seen"]}'::jsonb || more)) $$;
SELECT throws_ok(document('{"colour": "red"}'), '22023', 'a policy''s definition has no key "colour"', 'G11 an unknown key is refused');
SELECT throws_ok(document('{"activities": [{"relation": "visits", "speed": 1}]}'), '22023', 'a policy''s definition has no key "activities.speed"', 'G11 in an activity too');
SELECT throws_ok(document('{"dependent_tables": [{"relation": "visits", "speed": 1}]}'), '22023', 'a policy''s definition has no key "dependent_tables.speed"', 'G11 and in a dependent');
SELECT throws_ok(document('{"target": "nothing"}'), '42P01', 'table nothing does not exist', 'G11 a table that does not exist is an error');
SELECT throws_ok(document('{"name": null}'), '22004', 'a policy''s definition needs a name', 'G11 a definition without a name');
SELECT throws_ok(document('{"expire_after": "soon"}'), '22007', NULL, 'G11 a value that cannot be');
SELECT throws_ok(document('{"version": 7}'), '22023', NULL, 'G11 a version is counted, not said');
SELECT throws_ok($$ SELECT retention.import_policies('["a"]') $$, '22023', NULL, 'G11 a definition is an object');
SELECT throws_ok($$ SELECT retention.import_policies('7') $$, '22023', NULL, 'G11 a document is an array');
SELECT is((SELECT count(*) FROM retention.policies WHERE name IN ('good', 'new')), 0::bigint, 'G11 of a document with an error nothing is stored');
SELECT is((SELECT count(*) FROM retention.import_policies('[]')), 0::bigint, 'an empty document is nothing to do');
SELECT string_agg(retention.remove_policy(name)::text, '') FROM retention.policies \gset

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA policy_code CASCADE;
DROP EXTENSION pg_retention;
