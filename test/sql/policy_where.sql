-- Where: tables of every shape and name, in several schemas; and what is refused by name (G12).
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_where
\set begin :test '/begin.psql'
\i :begin
SET timezone = 'UTC';
SELECT plan(55);

\i :functions

-- A policy of 90 days on the column at, run by each hand; what is left must be the same.
CREATE FUNCTION cleaned(relation text, fill text, options text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    did text;
    survivors text[];
    direct text;
BEGIN
    FOREACH direct IN ARRAY '{on,off}'::text[] LOOP
        PERFORM set_config('retention.direct', direct, false);
        EXECUTE format('TRUNCATE %s', relation);
        EXECUTE fill;
        EXECUTE format('SELECT retention.add_policy(''p'', %L, ''90 days'', ''at'' %s)', relation, options);
        did := run('p');
        PERFORM retention.remove_policy('p');
        survivors := survivors || (did || ': ' || ids(relation));
    END LOOP;
    RESET retention.direct;
    IF survivors[1] <> survivors[2] THEN RAISE 'the hands differ: %', survivors; END IF;
    RETURN survivors[1];
END $$;

-- ---- Partitions ----

CREATE TABLE parts (id int, at timestamptz, region text) PARTITION BY LIST (region);
CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu') PARTITION BY RANGE (id);
CREATE TABLE parts_eu_1 PARTITION OF parts_eu FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_eu_rest PARTITION OF parts_eu DEFAULT;
CREATE TABLE parts_us (more text, region text, at timestamptz, id int);
ALTER TABLE parts_us DROP COLUMN more;
ALTER TABLE parts ATTACH PARTITION parts_us FOR VALUES IN ('us');
CREATE TABLE parts_other PARTITION OF parts DEFAULT;
CREATE FUNCTION parts_rows() RETURNS text LANGUAGE sql AS $$ SELECT $q$ INSERT INTO parts
    SELECT id, CASE WHEN id % 2 = 0 THEN ago(100) ELSE ago(1) END, r FROM generate_series(1, 12) id, LATERAL (SELECT (ARRAY['eu', 'us', 'xx'])[1 + id % 3]) x (r) $q$ $$;
SELECT is(cleaned('parts', parts_rows()), '6: 1 3 5 7 9 11', 'a partitioned table is cleaned in all its leaves: nested, attached with other columns, and default');
SELECT is(cleaned('parts', parts_rows(), $$, condition => $c$ target.region = 'us' $c$ $$), '2: 1 2 3 5 6 7 8 9 11 12', 'a condition on the key');
SELECT is(split_part(cleaned('parts', parts_rows(), ', keep_latest => 9'), ':', 1), '3', 'keep_latest counts over all leaves');
TRUNCATE parts;
INSERT INTO parts VALUES (2, ago(100), 'eu'), (20, ago(100), 'eu'), (3, ago(100), 'us');
SELECT retention.add_policy('p', 'parts_eu', '90 days', 'at') \gset
SELECT is(run('p') || ': ' || ids('parts'), '2: 3', 'a policy on one branch stays in it');
SELECT retention.remove_policy('p') \gset
INSERT INTO parts VALUES (2, ago(100), 'eu'), (20, ago(100), 'eu');
SELECT retention.add_policy('p', 'parts_eu_1', '90 days', 'at') \gset
SELECT is(run('p') || ': ' || ids('parts'), '1: 3 20', 'and on one leaf');
SELECT retention.remove_policy('p') \gset
SELECT retention.add_policy('p', 'parts', '90 days', 'at', action => 'update', set_clause => $$ region = 'yy' $$, condition => $$ target.region <> 'yy' $$) \gset
SELECT run('p') \gset
SELECT is((SELECT string_agg(id || ' ' || tableoid::regclass, ', ' ORDER BY id) FROM parts), '3 parts_other, 20 parts_other', 'an update may move rows to another partition');
SELECT retention.remove_policy('p') \gset

CREATE TABLE accounts (id int PRIMARY KEY, at timestamptz);
CREATE TABLE events (id int, account int REFERENCES accounts, at timestamptz, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE events_old PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2025-01-01');
CREATE TABLE events_new PARTITION OF events DEFAULT;
CREATE TABLE marks (id int PRIMARY KEY, event int, at timestamptz, FOREIGN KEY (event, at) REFERENCES events);
INSERT INTO accounts VALUES (1, ago(100)), (2, ago(1));
INSERT INTO events VALUES (1, 1, '2024-01-01'), (2, 1, now()), (3, 2, '2024-01-01'), (4, NULL, '2024-01-01');
INSERT INTO marks VALUES (1, 1, '2024-01-01'), (3, 3, '2024-01-01');
SELECT retention.add_policy('p', 'accounts', '90 days', 'at', dependents => 'cascade') \gset
SELECT is(run('p') || ': ' || ids('accounts') || ' | ' || ids('events') || ' | ' || ids('marks'), '1 {"policy_where.marks": 1, "policy_where.events": 2}: 2 | 3 4 | 3', 'dependents in partitions, and theirs');
SELECT retention.remove_policy('p') \gset
SELECT retention.add_policy('p', 'events', '90 days', 'at', dependents => 'cascade') \gset
SELECT is(run('p') || ': ' || ids('events') || ' | ' || ids('marks'), '2 {"policy_where.marks": 1}: none | none', 'a partitioned target and what refers to it');
SELECT retention.remove_policy('p') \gset
INSERT INTO events VALUES (5, 2, '2024-01-01'), (6, 2, now());
SELECT retention.add_policy('p', 'events', '0', 'at', action => 'archive') \gset
SELECT is(run('p') || ': ' || ids('events') || ' | ' || ids('events_archive'), '2: none | 5 6', 'a partitioned target is archived into one table');
SELECT retention.remove_policy('p') \gset
INSERT INTO accounts VALUES (3, ago(100));
INSERT INTO events VALUES (7, 3, now()), (8, 2, now());
SELECT retention.add_policy('p', 'events', '90 days', 'at', subject => 'accounts') \gset
SELECT is(run('p') || ': ' || ids('events'), '1: 8', 'a path leads out of a partitioned table');
SELECT retention.remove_policy('p') \gset
INSERT INTO events VALUES (9, 3, '2024-01-01'), (10, 3, now());
SELECT retention.add_policy('p', 'events_old', '90 days', 'at', subject => 'accounts') \gset
SELECT is(run('p') || ': ' || ids('events'), '1: 8 10', 'and out of one partition, by its parent''s key');
SELECT retention.remove_policy('p') \gset

CREATE TABLE tenants (id int, region int, at timestamptz, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE tenants_1 PARTITION OF tenants FOR VALUES IN (1);
CREATE TABLE tenants_rest PARTITION OF tenants DEFAULT;
CREATE TABLE docs (id int PRIMARY KEY, tenant int, region int, FOREIGN KEY (region, tenant) REFERENCES tenants (region, id) ON DELETE SET NULL (tenant));
INSERT INTO tenants VALUES (1, 1, ago(100)), (2, 2, ago(100)), (3, 1, ago(1)), (4, 2, ago(1)), (5, 2, ago(100));
INSERT INTO docs SELECT id, id, region FROM tenants WHERE id < 5;
SELECT retention.add_policy('p', 'docs', '90 days', 'at', subject => 'tenants', condition => 'target.id <> 2') \gset
SELECT is(run('p') || ': ' || ids('docs'), '1: 2 3 4', 'a path leads into a partitioned table');
SELECT retention.remove_policy('p') \gset
SELECT retention.add_policy('p', 'tenants', '90 days', 'at') \gset
SELECT is(run('p') || ': ' || ids('tenants'), '3 {"policy_where.docs": 1}: 3 4', 'rows that refer into partitions are found');
SELECT is((SELECT row(tenant, region)::text FROM docs WHERE id = 2), '(,2)', 'and keep what ON DELETE SET NULL of some columns leaves them');
SELECT retention.remove_policy('p') \gset
CREATE TABLE remarks (id int, tenant int, kind int) PARTITION BY LIST (kind);
CREATE TABLE remarks_1 PARTITION OF remarks FOR VALUES IN (1);
CREATE TABLE remarks_rest PARTITION OF remarks DEFAULT;
INSERT INTO tenants VALUES (6, 1, ago(100)), (7, 2, ago(100));
INSERT INTO remarks VALUES (1, 6, 1), (2, 6, 2), (3, 7, 2), (4, 3, 1), (5, 4, 2);
SELECT retention.add_policy('p', 'tenants', '90 days', 'at') \gset
SELECT retention.add_dependent('p', 'remarks', 'dependent.tenant = target.id') \gset
SELECT is(run('p') || ': ' || ids('remarks'), '2 {"policy_where.docs": 0, "policy_where.remarks": 3}: 4 5', 'declared dependents in partitions of partitioned victims');
SELECT retention.remove_policy('p') \gset

-- ---- Other shapes ----

CREATE TABLE base (id int, at timestamptz);
CREATE TABLE heir (extra text) INHERITS (base);
CREATE TABLE grandchild () INHERITS (heir);
SELECT is(cleaned('base', 'INSERT INTO base VALUES (1, ago(100)), (2, ago(1)); TRUNCATE heir; INSERT INTO heir VALUES (3, ago(100)), (4, ago(1)); INSERT INTO grandchild VALUES (5, ago(100)), (6, ago(1))'), '3: 2 4 6', 'children by inheritance belong to the table');
SELECT is(cleaned('heir', 'INSERT INTO base VALUES (1, ago(100)); INSERT INTO heir VALUES (3, ago(100)), (4, ago(1)); INSERT INTO grandchild VALUES (5, ago(100))') || ' | ' || ids('base'), '2: 4 | 1 1 2 4', 'and a child is a table of its own');
CREATE TABLE cites (id int PRIMARY KEY, base int);
TRUNCATE base, heir, grandchild;
ALTER TABLE base ADD PRIMARY KEY (id);
ALTER TABLE cites ADD FOREIGN KEY (base) REFERENCES base;
INSERT INTO base VALUES (1, ago(100));
INSERT INTO heir VALUES (1, ago(100)), (2, ago(100));
INSERT INTO cites VALUES (1, 1);
SELECT retention.add_policy('p', 'base', '90 days', 'at') \gset
SELECT is(run('p') || ': ' || ids('base'), '2 blocked 1: 1', 'a key refers to the parent''s own rows, not to a child''s row of the same value');
SELECT is((SELECT tableoid::regclass::text FROM base), 'base', 'which stays');
SELECT retention.remove_policy('p') \gset
CREATE TABLE keyless (id int, at timestamptz);
SELECT is(cleaned('keyless', 'INSERT INTO keyless VALUES (1, ago(100)), (1, ago(100)), (1, ago(1)), (NULL, ago(100)), (2, NULL)'), '3: 1 2', 'a table without a key, with rows that are the same');
SELECT is((SELECT count(*) FROM jsonb_object_keys((SELECT sample_keys -> 0 FROM (SELECT retention.add_policy('p', 'keyless', '1 hour', 'at')) x, retention.preview('p'))) k WHERE k = 'ctid'), 1::bigint, 'its preview gives the place of a row for want of a key');
SELECT retention.remove_policy('p') \gset
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY, at timestamptz);
SELECT is(cleaned('unlogged', 'INSERT INTO unlogged VALUES (1, ago(100)), (2, ago(1))'), '1: 2', 'an unlogged table');
CREATE TEMP TABLE temporary (id int PRIMARY KEY, at timestamptz);
SELECT is(cleaned('temporary', 'INSERT INTO temporary VALUES (1, ago(100)), (2, ago(1))'), '1: 2', 'a temporary table of the session''s own');
CREATE TYPE thing AS (id int, at timestamptz);
CREATE TABLE typed OF thing;
SELECT is(cleaned('typed', 'INSERT INTO typed VALUES (1, ago(100)), (2, ago(1))'), '1: 2', 'a typed table');
CREATE TABLE dropped (gone text, id int, also_gone text, at timestamptz);
ALTER TABLE dropped DROP COLUMN gone, DROP COLUMN also_gone;
SELECT is(cleaned('dropped', 'INSERT INTO dropped VALUES (1, ago(100)), (2, ago(1))'), '1: 2', 'a table that lost columns');
CREATE TABLE wide (id int, at timestamptz, big text);
SELECT is(cleaned('wide', $$ INSERT INTO wide SELECT n, CASE n WHEN 1 THEN ago(1) ELSE ago(100) END, (SELECT string_agg(md5(n || ' ' || i), '') FROM generate_series(1, 400) i) FROM generate_series(1, 20) n $$), '19: 1', 'a table with values out of line');
CREATE TABLE empty (id int, at timestamptz);
SELECT is(cleaned('empty', 'SELECT 1'), '0: none', 'an empty table');

-- ---- Names ----

CREATE FUNCTION named(schema text, name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    relation text := format('%I.%I', schema, name);
    did text;
    left_over text;
    child text := format('%I.%I', schema, '~' || left(name, -2));
BEGIN
    IF to_regnamespace(quote_ident(schema)) IS NULL THEN EXECUTE format('CREATE SCHEMA %I', schema); END IF;
    EXECUTE format('CREATE TABLE %s (id int PRIMARY KEY, %I timestamptz, %I text DEFAULT ''x'')', relation, name, name || '_');
    EXECUTE format('CREATE TABLE %s (id int PRIMARY KEY, %I int REFERENCES %s)', child, name, relation);
    EXECUTE format('INSERT INTO %s VALUES (1, ago(100)), (2, ago(1))', relation);
    EXECUTE format('INSERT INTO %s VALUES (1, 1), (2, 2)', child);
    PERFORM retention.add_policy(name, relation::regclass, '90 days', name::name, dependents => 'cascade', action => 'archive',
                                 condition => format('target.%I = ''x''', name || '_'));
    did := run(name);
    PERFORM retention.explain(name), retention.check(name), retention.export_policies();
    left_over := ids(relation::regclass) || ' ' || (SELECT archive_to::text FROM retention.policies p WHERE p.name = named.name);
    IF (SELECT sum(e.affected) FROM retention.ledger e WHERE e.policy = named.name) <> 2 THEN RAISE 'the ledger'; END IF;
    PERFORM retention.remove_policy(name);
    EXECUTE format('DROP SCHEMA %I CASCADE', schema);
    RETURN split_part(did, ' ', 1) || ' ' || left_over;
END $$;
SELECT is(named('user', 'select'), '1 2 "user".select_archive', 'reserved words');
SELECT is(named('Mixed Case', 'Table of Things'), '1 2 "Mixed Case"."Table of Things_archive"', 'mixed case and spaces');
SELECT is(named('a.b', 'c.d.e'), '1 2 "a.b"."c.d.e_archive"', 'dots');
SELECT is(named('qu"ote', 'it''s "quoted"'), '1 2 "qu""ote"."it''s ""quoted""_archive"', 'quotes of both kinds');
SELECT is(named('Größe', '数量 🛒 ñ'), '1 2 "Größe"."数量 🛒 ñ_archive"', 'Unicode');
SELECT is(named('back\', '\x\\y'), '1 2 "back\"."\x\\y_archive"', 'backslashes');
SELECT is(named('{a}', '{"b",NULL}'), '1 2 "{a}"."{""b"",NULL}_archive"', 'what reads like an array');
SELECT is(named('$1', '$$;--'), '1 2 "$1"."$$;--_archive"', 'what reads like SQL');
SELECT is(named('%', '%s%I%L'), '1 2 "%"."%s%I%L_archive"', 'what reads like a format');
SELECT is(named('target', 'subject'), '1 2 target.subject_archive', 'names that the engine uses itself');
SELECT is(named('dependent', 'activity'), '1 2 dependent.activity_archive', 'and others of them');
SELECT is(named(repeat('s', 63), repeat('n', 61)), '1 2 ' || repeat('s', 63) || '.' || repeat('n', 46) || '_' || lpad(to_hex(hashtext(repeat('n', 61))), 8, '0') || '_archive', 'names of 63 bytes');
SELECT is(named(repeat('ß', 31), repeat('ü', 30)), '1 2 "' || repeat('ß', 31) || '"."' || repeat('ü', 23) || '_' || lpad(to_hex(hashtext(repeat('ü', 30))), 8, '0') || '_archive"', 'and in Unicode, cut between characters');
CREATE SCHEMA one;
CREATE SCHEMA two;
CREATE TABLE one.things (id int PRIMARY KEY, at timestamptz);
CREATE TABLE two.things (id int PRIMARY KEY, thing int REFERENCES one.things, at timestamptz);
INSERT INTO one.things VALUES (1, ago(100)), (2, ago(100));
INSERT INTO two.things VALUES (1, 1, ago(1)), (2, 1, ago(1));
SELECT retention.add_policy('p', 'one.things', '90 days', 'at', dependents => 'cascade') \gset
SELECT is(run('p'), '2 {"two.things": 2}', 'tables of one name in two schemas, neither on the search_path');
SELECT retention.remove_policy('p') \gset

-- ---- Refused by name ----

CREATE TABLE plain (id int PRIMARY KEY, at timestamptz);
CREATE VIEW seen AS SELECT * FROM plain;
CREATE MATERIALIZED VIEW materialized AS SELECT * FROM plain;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE far (id int, at timestamptz) SERVER nowhere;
CREATE INDEX an_index ON plain (at);
CREATE SEQUENCE a_sequence;
CREATE TYPE a_type AS (id int, at timestamptz);
-- The error of a policy on a relation.
CREATE FUNCTION refused(relation regclass, title text, message text, state text DEFAULT '0A000') RETURNS text LANGUAGE sql AS
    $$ SELECT throws_ok(format('SELECT retention.add_policy(''r'', %L, ''90 days'', ''at'')', relation), state, message, 'G12 ' || title || ' is refused') $$;
SELECT refused('seen', 'a view', 'policy_where.seen is a view');
SELECT refused('materialized', 'a materialized view', 'policy_where.materialized is a materialized view');
SELECT refused('far', 'a foreign table', 'policy_where.far is a foreign table');
SELECT refused('pg_catalog.pg_class', 'a system catalog', 'pg_catalog.pg_class is a system catalog');
SELECT refused('information_schema.sql_features', 'a table of information_schema', 'information_schema.sql_features is a system catalog');
SELECT refused('an_index', 'an index', 'policy_where.an_index is not a table', '42809');
SELECT refused('a_sequence', 'a sequence', 'policy_where.a_sequence is not a table', '42809');
SELECT refused('a_type', 'a composite type', 'policy_where.a_type is not a table', '42809');
SELECT throws_ok($$ SELECT retention.add_policy('r', 'nothing', '90 days', 'at') $$, '42P01', NULL, 'G12 a table that does not exist is an error');
\set VERBOSITY default
\echo # the next is an error with what to do
SELECT retention.add_policy('r', 'seen', '90 days', 'at');
\set VERBOSITY terse
CREATE SCHEMA _timescaledb_catalog;
CREATE TABLE _timescaledb_catalog.hypertable (schema_name name, table_name name);
SELECT lives_ok($$ SELECT retention.add_policy('r', 'plain', '90 days', 'at') $$, 'a plain table beside hypertables of TimescaleDB is not one');
INSERT INTO _timescaledb_catalog.hypertable VALUES ('policy_where', 'plain');
SELECT is((retention.apply('r')).sqlstate, '0A000', 'G12 a table that became a hypertable is refused at the next run');
SELECT is((SELECT severity FROM retention.check('r') WHERE finding LIKE '%hypertable of TimescaleDB%'), 'error', 'and the advisor says so');
SELECT retention.remove_policy('r') \gset
SELECT refused('plain', 'a hypertable of TimescaleDB', 'policy_where.plain is a hypertable of TimescaleDB');
DROP SCHEMA _timescaledb_catalog CASCADE;
SELECT is((SELECT count(*) FROM retention.policies), 0::bigint, 'G11 of all that was refused nothing is stored');

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA policy_where, one, two CASCADE;
DROP FOREIGN DATA WRAPPER nowhere CASCADE;
DROP EXTENSION pg_retention;
