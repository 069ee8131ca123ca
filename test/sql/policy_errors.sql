-- Every error of doc/errors.md that SQL of one session can provoke, by its number there.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_errors
\set begin :test '/begin.psql'
\i :begin
SET client_min_messages = error;
SET timezone = 'UTC';
SET intervalstyle = 'postgres';
SELECT plan(77);

CREATE TABLE t (id int PRIMARY KEY, at timestamptz, n int, what text);
CREATE TABLE child (id int PRIMARY KEY, t_id int REFERENCES t);
CREATE TABLE strict (id int PRIMARY KEY, t_id int NOT NULL REFERENCES t);
CREATE TABLE twice (id int PRIMARY KEY, a int REFERENCES t, b int REFERENCES t);
CREATE TABLE lonely (id int PRIMARY KEY, t_id int);
CREATE VIEW a_view AS TABLE t;
CREATE MATERIALIZED VIEW a_matview AS TABLE t;
CREATE FOREIGN DATA WRAPPER policy_errors;
CREATE SERVER policy_errors FOREIGN DATA WRAPPER policy_errors;
CREATE FOREIGN TABLE a_foreign (at timestamptz) SERVER policy_errors;
CREATE INDEX an_index ON t (n);
CREATE ROLE regress_policy_errors;
GRANT USAGE ON SCHEMA policy_errors TO regress_policy_errors;
GRANT SELECT ON ALL TABLES IN SCHEMA policy_errors TO regress_policy_errors;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA retention TO regress_policy_errors;
SELECT retention.add_policy('stored', 't', '1 day', 'at') \gset

-- SQLSTATE and message of a statement's error: raised, of a run of a policy, or of an application function. What the statement
-- did is taken back.
CREATE FUNCTION error_of(statement text, setting text DEFAULT 'role', value text DEFAULT 'none') RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config(setting, value, true);
    EXECUTE statement;
    RAISE 'no error' USING ERRCODE = 'P0003';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION error_of_run(policy text) RETURNS text LANGUAGE sql AS $$ SELECT sqlstate || ' ' || message FROM retention.apply(policy) WHERE NOT success $$;
CREATE FUNCTION error_in(result jsonb) RETURNS text LANGUAGE sql AS $$ SELECT (result ->> 'sqlstate') || ' ' || (result ->> 'message') WHERE result ->> 'success' = 'false' $$;

-- ---- Names and arguments ----

SELECT is(error_of($q$SELECT retention.apply(NULL)$q$),
          '22004 policy must not be null', 'E01 argument must not be null');
SELECT is(error_of($q$SELECT retention.add_policy('p', NULL, '1 day', 'at')$q$),
          '22004 target must not be null', 'E02 target must not be null');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', NULL, 'at')$q$),
          '22004 expire_after must not be null', 'E03 expire_after must not be null');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', time_columns => '{at,NULL}')$q$),
          '22004 array must not contain null values', 'E04 array must not contain null values');
SELECT is(error_of($q$SELECT retention.import_policies('[{"target": "t"}]')$q$),
          '22004 a policy''s definition needs a name', 'E05 a policy''s definition needs a name');
SELECT retention.add_policy('inactive_sessions', 'child', '1 day', 'at', subject => 't') \gset
SELECT is(error_in(cleanup_inactive_sessions_for_user(NULL)),
          '22004 user_id must not be null', 'E06 user_id must not be null');
SELECT retention.remove_policy('inactive_sessions') \gset
SELECT is(error_of($q$SELECT retention.add_policy('', 't', '1 day', 'at')$q$),
          '22023 a policy''s name has 1 to 63 bytes', 'E07 a policy''s name has 1 to 63 bytes');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', action => 'drop')$q$),
          '22023 invalid value for action: ''drop''', 'E08 invalid value for parameter: value');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', time_columns => '{{at},{at}}')$q$),
          '22023 not a one-dimensional array: ''{{at},{at}}''', 'E09 not a one-dimensional array: text');
SELECT is(error_of($q$SELECT retention.preview('stored', sample => 1001)$q$),
          '22023 sample must be between 0 and 1000', 'E10 sample must be between 0 and 1000');
SELECT retention.add_policy('old_cart_items', 't', '1 day', 'at') \gset
SELECT is(error_in(cleanup_old_cart_items(0)),
          '22023 older_than_days must be greater than zero', 'E11 argument must be greater than zero');
SELECT retention.remove_policy('old_cart_items') \gset
SELECT is(error_of($q$SELECT retention.alter_policy('stored')$q$),
          '22023 nothing to change in policy "stored"', 'E12 nothing to change in policy name');
SELECT is(error_of($q$SELECT retention.alter_policy('stored', reset => '{target}')$q$),
          '22023 field "target" cannot be reset', 'E13 field name cannot be reset');

-- ---- Time ----

SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '-1 day', 'at')$q$),
          '22023 expire_after must be a positive, finite interval, not ''-1 days''', 'E14 expire_after must be a positive, finite interval, not text');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', time_zone => 'Mars/Olympus')$q$),
          '22023 time zone ''Mars/Olympus'' is not known', 'E15 time zone name is not known');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'n')$q$),
          '22023 column "n" is an integer and its unit of time is unknown', 'E16 column name is an integer and its unit of time is unknown');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', time_unit => 's')$q$),
          '22023 time_unit is for integer columns only', 'E17 time_unit is for integer columns only');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', time_unit => 's')$q$),
          '22023 time_unit needs a time_column', 'E18 time_unit needs a time_column');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'what')$q$),
          '42804 column "what" holds no time', 'E19 column name holds no time');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', expiry_expression => 'target.n')$q$),
          '42804 expiry_expression gives no instant', 'E20 expiry_expression gives no instant');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', time_columns => '{at}')$q$),
          '22023 time_column and time_columns exclude each other', 'E21 time_column and time_columns exclude each other');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', expiry_expression => 'target.at')$q$),
          '22023 expiry_expression takes the place of time_column', 'E22 expiry_expression takes the place of time_column');
SELECT retention.add_policy('p', 't', '1 day') \gset
SELECT is(error_of_run('p'),
          '55000 policy on policy_errors.t has nothing that expires', 'E23 policy on table has nothing that expires');
SELECT retention.remove_policy('p') \gset

-- ---- What a policy says ----

SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', condition => 'true ORDER BY 1')$q$),
          '42601 condition is not a single expression: ''true ORDER BY 1''', 'E24 parameter is not a single expression: text');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', action => 'update', set_clause => 'n = 1 WHERE true')$q$),
          '42601 set_clause is not a list of assignments: ''n = 1 WHERE true''', 'E25 set_clause is not a list of assignments: text');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', action => 'update')$q$),
          '22023 action ''update'' needs a set_clause', 'E27 action ''update'' needs a set_clause');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', set_clause => 'n = 1')$q$),
          '22023 set_clause is for action ''update'' only', 'E28 set_clause is for action ''update'' only');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', archive_to => 't')$q$),
          '22023 archive_to is for action ''archive'' only', 'E29 archive_to is for action ''archive'' only');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', keep_latest => 0)$q$),
          '22023 keep_latest must be greater than zero', 'E30 keep_latest must be greater than zero');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', keep_per => '{n}')$q$),
          '22023 keep_per needs keep_latest', 'E31 keep_per needs keep_latest');
SELECT is(error_of($q$SELECT retention.add_policy('p', 'child', '1 day', 'at', subject => 't', keep_latest => 1)$q$),
          '22023 keep_latest needs a time of the target''s own', 'E32 keep_latest needs a time of the target''s own');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', keep_latest => 1)$q$),
          '22023 keep_latest needs a time_column or an expiry_expression', 'E33 keep_latest needs a time_column or an expiry_expression');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', max_rows => -1)$q$),
          '22023 max_rows must not be negative', 'E34 max_rows must not be negative');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', max_fraction => 25)$q$),
          '22023 max_fraction must be between 0 and 1', 'E35 max_fraction must be between 0 and 1');

-- ---- Tables, columns, keys ----

CREATE TABLE gone (at timestamptz);
SELECT retention.add_policy('p', 'gone', '1 day', 'at') \gset
DROP TABLE gone;
SELECT is(error_of_run('p'),
          '42P01 table policy_errors.gone no longer exists', 'E36 table name no longer exists');
SELECT retention.remove_policy('p') \gset
SELECT is(error_of($q$SELECT retention.import_policies('[{"name": "p", "target": "nothing", "expire_after": "1 day"}]')$q$),
          '42P01 table nothing does not exist', 'E37 table name does not exist');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'nobody')$q$),
          '42703 column "nobody" of policy_errors.t does not exist', 'E39 column name of table does not exist');
SELECT is(error_of($q$SELECT retention.add_policy('p', 'twice', '1 day', 'at', subject => 't')$q$),
          '42P08 more than one path leads from policy_errors.twice to policy_errors.t', 'E40 more than one path leads from target to subject');
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', subject => 'child')$q$),
          '42704 no foreign keys lead from policy_errors.t to policy_errors.child', 'E41 no foreign keys lead from target to subject');
SELECT is(error_of($q$SELECT retention.add_policy('p', 'child', '1 day', 'at', subject => 't', path => '{nobody}')$q$),
          '42704 path {nobody} does not lead from policy_errors.child to policy_errors.t', 'E42 path {names} does not lead from target to subject');
SELECT is(error_of($q$SELECT retention.add_policy('p', 'a_view', '1 day', 'at')$q$),
          '0A000 policy_errors.a_view is a view', 'E43 table is a view');
SELECT is(error_of($q$SELECT retention.add_policy('p', 'a_matview', '1 day', 'at')$q$),
          '0A000 policy_errors.a_matview is a materialized view', 'E44 table is a materialized view');
SELECT is(error_of($q$SELECT retention.add_policy('p', 'a_foreign', '1 day', 'at')$q$),
          '0A000 policy_errors.a_foreign is a foreign table', 'E45 table is a foreign table');
SELECT is(error_of($q$SELECT retention.add_policy('p', 'pg_catalog.pg_class', '1 day', 'oid')$q$),
          '0A000 pg_catalog.pg_class is a system catalog', 'E46 table is a system catalog');
CREATE SCHEMA _timescaledb_catalog;
CREATE TABLE _timescaledb_catalog.hypertable AS SELECT 'policy_errors'::name AS schema_name, 't'::name AS table_name;
SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at')$q$),
          '0A000 policy_errors.t is a hypertable of TimescaleDB', 'E49 table is a hypertable of TimescaleDB');
DROP SCHEMA _timescaledb_catalog CASCADE;
SELECT is(error_of($q$SELECT retention.add_policy('p', 'an_index', '1 day', 'at')$q$),
          '42809 policy_errors.an_index is not a table', 'E50 name is not a table');

-- ---- Dependents and archives ----

SELECT is(error_of($q$SELECT retention.add_dependent('stored', 'child', action => 'forget')$q$),
          '22023 invalid action for a dependent: ''forget''', 'E52 invalid action for a dependent: word');
SELECT retention.add_dependent('stored', 'child') \gset
SELECT is(error_of($q$SELECT retention.add_dependent('stored', 'child')$q$),
          '42710 policy "stored" already has the dependent policy_errors.child', 'E53 policy name already has the dependent table');
SELECT is(error_of($q$SELECT retention.add_dependent('stored', 'lonely')$q$),
          '42704 no foreign key leads from dependent policy_errors.lonely to the target of policy "stored"', 'E54 no foreign key leads from dependent table to the target of policy name');
SELECT is(error_of($q$SELECT retention.add_dependent('stored', 'strict', action => 'set_null')$q$),
          '22023 column "t_id" of dependent policy_errors.strict cannot be set to null', 'E55 column name of dependent table cannot be set to null');
SELECT is(error_of($q$SELECT retention.add_dependent('stored', 'lonely', 'dependent.t_id = target.id', 'set_null')$q$),
          '22023 dependent policy_errors.lonely cannot be set to null: no foreign key says which columns', 'E56 dependent table cannot be set to null: no foreign key says which columns');
SELECT is(error_of($q$SELECT retention.add_dependent('stored', 'strict', action => 'keep')$q$),
          '22023 dependent policy_errors.strict cannot be kept while the row it refers to goes', 'E57 dependent table cannot be kept while the row it refers to goes');
INSERT INTO t VALUES (1, '2020-01-01');
CREATE TABLE stubborn AS SELECT 1 AS t_id;
CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER stay BEFORE DELETE ON stubborn FOR EACH ROW EXECUTE FUNCTION stay();
SELECT retention.add_policy('p', 't', '1 day', 'at') \gset
SELECT retention.add_dependent('p', 'stubborn', 'dependent.t_id = target.id') \gset
SELECT is(error_of_run('p'),
          '23001 rows of policy_errors.stubborn that belong to victims were kept back', 'E58 rows of table that belong to victims were kept back');
SELECT retention.remove_policy('p') \gset
TRUNCATE t CASCADE;
INSERT INTO t VALUES (1, '2020-01-01');
INSERT INTO child VALUES (1, 1);
SELECT retention.add_policy('p', 't', '1 day', 'at', action => 'archive', dependents => 'cascade') \gset
DROP TABLE child_archive;
SELECT is(error_of_run('p'),
          '42P01 archive policy_errors.child_archive does not exist', 'E59 archive table does not exist');
SELECT retention.remove_policy('p') \gset
DROP TABLE t_archive;
SELECT retention.add_policy('p', 'child', '1 day', 'at', subject => 't', action => 'archive') \gset
ALTER TABLE child ADD COLUMN more int;
SELECT is(error_of_run('p'),
          '42703 archive policy_errors.child_archive has no column "more"', 'E60 archive table has no column name');
SELECT retention.remove_policy('p') \gset
TRUNCATE t CASCADE;

-- ---- Policies and presets ----

SELECT is(error_of($q$SELECT retention.apply('nothing')$q$),
          '42704 policy "nothing" does not exist', 'E61 policy name does not exist');
SELECT is(error_of($q$SELECT retention.add_policy('stored', 't', '1 day', 'at')$q$),
          '42710 policy "stored" already exists', 'E62 policy name already exists');
SELECT is(error_of($q$SELECT retention.adopt_preset('nothing')$q$),
          '42704 preset "nothing" does not exist', 'E63 preset name does not exist');
SELECT is(error_of($q$SELECT retention.adopt_preset('pending_bookings')$q$),
          '42P01 preset "pending_bookings" finds no table "bookings" on the search_path', 'E64 preset name finds no table names on the search_path');
SELECT is(error_of($q$SELECT retention.adopt_preset('pending_bookings', target => 't')$q$),
          '42703 preset "pending_bookings" finds no column "created_at" in policy_errors.t', 'E65 preset name finds no column names in table');
SELECT is(error_of($q$SELECT retention.adopt_preset('pending_bookings', target => 't', images => 't')$q$),
          '22023 preset "pending_bookings" has no images', 'E66 preset name has no argument');
CREATE TABLE users (id int PRIMARY KEY);
CREATE TABLE sessions (id int PRIMARY KEY, user_id int REFERENCES users, created_at timestamp);
CREATE TABLE chats (id int PRIMARY KEY, user_id int REFERENCES users);
CREATE TABLE far_messages (chat_id int REFERENCES chats, sender text, created_at timestamp);
SELECT is(error_of($q$SELECT retention.adopt_preset('inactive_sessions', target => 'sessions', subject => 'users', activity => 'far_messages')$q$),
          '42704 no foreign key leads directly from policy_errors.far_messages to policy_errors.users', 'E67 no foreign key leads directly from table to subject');
CREATE TABLE members (a int, b int, PRIMARY KEY (a, b));
CREATE TABLE visits (id int PRIMARY KEY, a int, b int, at timestamptz, FOREIGN KEY (a, b) REFERENCES members);
CREATE TABLE letters (a int, b int, at timestamptz);
SELECT retention.add_policy('inactive_sessions', 'visits', '1 day', subject => 'members') \gset
SELECT retention.add_activity('inactive_sessions', 'letters', 'at', 'activity.a = subject.a AND activity.b = subject.b') \gset
SELECT is(error_in(cleanup_inactive_sessions_for_user('1')),
          '42704 policy_errors.members has no key of one column', 'E68 table has no key of one column');
SELECT retention.remove_policy('inactive_sessions') \gset
SELECT retention.add_policy('inactive_carts', 't', '1 day', 'at') \gset
SELECT is(error_of($q$SELECT get_user_activity()$q$),
          '55000 policy "inactive_carts" has no subject with a time of its own', 'E69 policy "inactive_carts" has no subject with a time of its own');
SELECT retention.remove_policy('inactive_carts') \gset
SELECT is(error_of($q$SELECT retention.import_policies('[{"name": "p", "target": "t", "colour": "red"}]')$q$),
          '22023 a policy''s definition has no key "colour"', 'E70 a policy''s definition has no key name');
SELECT is(error_of($q$SELECT retention.import_policies('7')$q$),
          '22023 policies are an array of objects, not a JSON number', 'E71 policies are an array of objects, not a JSON kind');
SELECT is(error_of($q$SELECT retention.import_policies('[7]')$q$),
          '22023 a policy''s definition is an object, not 7', 'E72 a policy''s definition is an object, not text');

-- ---- Rights ----

SELECT is(error_of($q$SELECT retention.add_policy('p', 't', '1 day', 'at', paused => false)$q$, 'role', 'regress_policy_errors'),
          '42501 permission denied to delete from policy_errors.t', 'E73 permission denied to do table');
SELECT is(error_of($q$SELECT retention.remove_policy('stored')$q$, 'role', 'regress_policy_errors'),
          '42501 must be owner of policy "stored"', 'E74 must be owner of policy name');

-- ---- Running ----

INSERT INTO t SELECT n, '2020-01-01' FROM generate_series(1, 3) n;
SELECT retention.add_policy('p', 't', '1 day', 'at', max_rows => 2) \gset
SELECT is(error_of_run('p'),
          '55000 3 rows of policy_errors.t would go, but max_rows is 2; nothing was changed', 'E77 n rows of table would go, but limit; nothing was changed');
SELECT retention.remove_policy('p') \gset
TRUNCATE t CASCADE;
SELECT retention.add_policy('p', 't', '1 day', 'at') \gset
UPDATE retention.policy SET system_identifier = 1 WHERE name = 'p';
SELECT is(error_of_run('p'),
          '55000 policy "p" is at rest: this database is a copy of the one it was made in', 'E78 policy name is at rest: this database is a copy of the one it was made in');
SELECT retention.remove_policy('p') \gset
SELECT is(error_of($q$CALL retention.run('stored')$q$),
          '2D000 retention.run cannot run inside a transaction block', 'E79 procedure cannot run inside a transaction block');
SELECT is(error_of($q$CALL retention.run('stored', slice => 1)$q$),
          '22023 slice and slices go together', 'E98 slice and slices go together');
SELECT is(error_of($q$CALL retention.run('stored', slice => 3, slices => 2)$q$),
          '22023 there is no slice 3 of 2', 'E99 there is no slice 3 of 2');
SELECT is(error_of($q$SELECT retention.apply('stored')$q$, 'transaction_read_only', 'on'),
          '25006 cannot execute a run of a retention policy in a read-only transaction', 'E80 cannot execute a run of a retention policy in a read-only transaction');
SELECT is(error_of($q$SELECT start_cleanup_scheduler()$q$),
          '55000 pg_cron is not installed in this database', 'E82 pg_cron is not installed in this database');

SELECT is((SELECT array_agg(name) FROM retention.policies), '{stored}', 'G11 of all this nothing was stored');

SELECT * FROM finish();
DROP OWNED BY regress_policy_errors;
DROP ROLE regress_policy_errors;
DROP SCHEMA policy_errors CASCADE;
DROP FOREIGN DATA WRAPPER policy_errors CASCADE;
DROP EXTENSION pg_retention;
