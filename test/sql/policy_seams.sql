-- Where the parts of the engine meet: keys of failures, approvals of presets, holds of lesser roles, collations, archives, partitions.
\set ECHO none
\set VERBOSITY terse
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only
SET client_min_messages = error;
DROP EXTENSION IF EXISTS pg_retention;
CREATE EXTENSION pg_retention;
DROP ROLE IF EXISTS regress_seam_owner, regress_seam_other, regress_seam_rooted;
CREATE ROLE regress_seam_owner;
CREATE ROLE regress_seam_other;
CREATE ROLE regress_seam_rooted;
CREATE SCHEMA policy_seams;
GRANT ALL ON SCHEMA policy_seams TO PUBLIC;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA retention, public TO regress_seam_owner, regress_seam_other, regress_seam_rooted;
SET search_path = policy_seams, public;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SELECT no_plan();
\getenv test PG_ABS_SRCDIR
\set functions :test '/policy_functions.psql'
\i :functions
CREATE FUNCTION last_runs() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT max(id) FROM retention.run $$;

-- ---- Keys of rows that fail ----

CREATE FUNCTION object() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'it stays'; END $$;
CREATE TYPE pair AS (a int, "b c" text);
CREATE DOMAIN label AS varchar(5) CHECK (VALUE <> '');
CREATE TABLE shape (name text PRIMARY KEY, type text, value text);
INSERT INTO shape VALUES ('array', 'text[]', '{a,"b c",NULL}'), ('empty array', 'int[]', '{}'), ('row', 'pair', '(1,"x y")'), ('row with NULL', 'pair', '(2,)'),
    ('document', 'jsonb', '{"a": [1, null]}'), ('text in a document', 'jsonb', '"it''s"'), ('domain', 'label', 'x"y'), ('range', 'int4range', 'empty'), ('not a number', 'float8', 'NaN'),
    ('bytes', 'bytea', '\x00ff'), ('instant', 'timestamptz', '-infinity'), ('padded', 'char(5)', 'a'), ('amount', 'numeric(9,2)', '1.50');
SELECT format('DO $$ BEGIN CREATE TABLE %1$I (k %2$s PRIMARY KEY, at timestamptz DEFAULT ''2000-01-01''); INSERT INTO %1$I VALUES (%3$L);
    CREATE TRIGGER object BEFORE DELETE ON %1$I FOR EACH ROW EXECUTE FUNCTION object(); PERFORM retention.add_policy(%1$L, %4$L, ''1 day'', ''at''); END $$', name, type, value, quote_ident(name)),
    format('DO $$ DECLARE r retention.result; BEGIN CALL retention.run(%L, result => r); END $$', name),
    'DO $$ BEGIN PERFORM retention.retry_failures(); END $$',
    format('DO $$ DECLARE r retention.result; BEGIN CALL retention.run(%L, result => r); END $$', name)
  FROM shape \gexec
SELECT is((SELECT string_agg(policy, ', ' ORDER BY policy) FROM retention.failures WHERE attempts <> 2), NULL, 'G13 a row that failed is known again by a key of any type: its second attempt is counted as such');
SELECT is((SELECT count(*) FROM retention.failures), (SELECT count(*) FROM shape), 'G13 and the run does not forget what it has just set apart');
SELECT is((SELECT jsonb_object_agg(policy, key -> 'k') FROM retention.failures WHERE policy IN ('array', 'row', 'document')),
    '{"array": ["a", "b c", null], "row": {"a": 1, "b c": "x y"}, "document": {"a": [1, null]}}', 'G13 arrays, rows and documents are told as JSON');

-- ---- A preset that is not stored, in two schemas ----

CREATE SCHEMA policy_seams_owner AUTHORIZATION regress_seam_owner;
CREATE SCHEMA policy_seams_other AUTHORIZATION regress_seam_other;
CREATE FUNCTION shop() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    CREATE TABLE users (id int PRIMARY KEY, last_active timestamp);
    CREATE TABLE carts (id int PRIMARY KEY, user_id int REFERENCES users);
    CREATE TABLE cart_items (id int PRIMARY KEY, cart_id int REFERENCES carts);
    INSERT INTO users VALUES (1, '2000-01-01');
    INSERT INTO carts VALUES (1, 1);
    INSERT INTO cart_items VALUES (1, 1); END $$;
SET retention.require_preview = on;
SET ROLE regress_seam_owner;
SET search_path = policy_seams_owner, policy_seams, public;
SELECT shop() \gset
SELECT is(cleanup_inactive_carts() ->> 'stop_reason', 'fuse', 'a preset that nobody has looked at is stopped');
RESET ROLE;
SET ROLE regress_seam_other;
SET search_path = policy_seams_other, policy_seams, public;
SELECT shop() \gset
SELECT throws_ok($$ SELECT retention.approve('inactive_carts', policy_seams.last_runs(), 'mine') $$, '42501', 'must be owner of policy "inactive_carts"',
    'G8 who has tables of the same names cannot approve the run that was stopped over another''s');
RESET ROLE;
SELECT is((SELECT count(*) FROM retention.fuses), 1::bigint, 'G7 and the preset still waits');
SET ROLE regress_seam_owner;
SET search_path = policy_seams_owner, policy_seams, public;
SELECT is(retention.approve('inactive_carts', policy_seams.last_runs(), 'seen'), 1::bigint, 'G7 its owner approves it');
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '1', 'and it runs');
RESET ROLE;
RESET retention.require_preview;
SET search_path = policy_seams, public;

-- ---- Holds ----

CREATE TABLE held (id int PRIMARY KEY, at timestamptz);
CREATE TABLE secret (id int PRIMARY KEY);
INSERT INTO held VALUES (1, '2000-01-01'), (2, '2000-01-01');
GRANT SELECT ON held TO regress_seam_other;
SELECT retention.add_policy('held', 'held', '1 day', 'at') \gset
SET ROLE regress_seam_other;
SELECT throws_ok($$ SELECT retention.add_hold('held', 'id IN (SELECT s.id FROM policy_seams.secret s)', 'a case') $$, '42501', NULL,
    'G11 a hold that its role cannot judge is refused when it is placed, and stops no run');
RESET ROLE;
SELECT is(run('held'), '2', 'G6 and nothing of it is left');

-- ---- Foreign keys between columns of two collations ----

CREATE TABLE coded (id text COLLATE "C" PRIMARY KEY, at timestamptz);
CREATE TABLE codes (id int PRIMARY KEY, code text COLLATE "POSIX" REFERENCES coded, note text);
INSERT INTO coded VALUES ('a', '2000-01-01'), ('b', now()), ('c', '2000-01-01');
INSERT INTO codes VALUES (1, 'a'), (2, 'b'), (3, NULL), (4, 'c'), (5, 'c');
SELECT retention.add_policy('by_subject', 'codes', '1 day', 'at', subject => 'coded') \gset
SELECT retention.add_policy('with_children', 'coded', '1 day', 'at', dependents => 'cascade', action => 'archive') \gset
SELECT retention.add_hold('coded', key => '{"id": "a"}'::jsonb, reason => 'a case') AS hold \gset
SELECT is((SELECT (expected_rows, held)::text FROM retention.preview('by_subject')), '(2,1)', 'a key between columns of two collations leads to the subject, and to the hold on it');
SELECT is(run('with_children'), '1 {"policy_seams.codes": 2}', 'G3 and from a row to what refers to it');
SELECT is((SELECT affected FROM retention.restore((SELECT max(id) FROM retention.runs WHERE policy = 'with_children'))), 1::bigint, 'and back');
SELECT retention.release_hold(:hold, 'over') \gset
SELECT is(run('by_subject'), '3', 'and without the hold all go');

-- ---- Archives ----

CREATE TABLE notes (id int PRIMARY KEY, at timestamptz, archived_at timestamptz, retention_run_id int);
SELECT throws_ok($$ SELECT retention.add_policy('notes', 'notes', '1 day', 'at', action => 'archive') $$, '42701', 'policy_seams.notes has a column "retention_run_id", which an archive needs for itself',
    'G11 a table with a column of an archive''s own is refused by name');
ALTER TABLE notes DROP COLUMN retention_run_id;
SELECT throws_ok($$ SELECT retention.add_policy('notes', 'notes', '1 day', 'at', action => 'archive') $$, '42701', 'policy_seams.notes has a column "archived_at", which an archive needs for itself', 'G11 and so is the other');
SELECT retention.add_purge('with_children', '1 day') \gset
SELECT throws_ok($$ SELECT retention.alter_policy('with_children_purge', action => 'archive') $$, '42701', NULL, 'G11 an archive is not archived again');

CREATE TABLE measured (id int PRIMARY KEY, at timestamptz, amount numeric(9, 3), seen timestamptz, body text, "big ""n" bigint);
INSERT INTO measured VALUES (1, '2000-01-01', 1.500, '2020-01-01', 'ab', 1), (2, '2000-01-01', 1.234, '2020-01-01', 'ab', 2), (3, '2000-01-01', 1, '2020-01-01 12:34', 'ab', 3), (4, '2000-01-01', 1, '2020-01-01', 'abc', 4), (5, '2000-01-01', NULL, NULL, NULL, NULL);
SELECT retention.add_policy('measured', 'measured', '1 day', 'at', action => 'archive') \gset
SELECT is(run('measured'), '5', 'rows are archived');
ALTER TABLE measured ALTER amount TYPE numeric(9, 1), ALTER seen TYPE date, ALTER body TYPE char(2), ALTER "big ""n" TYPE text;
SELECT is((SELECT concat_ws(' ', success, affected, skipped_blocked) FROM retention.restore((SELECT max(id) FROM retention.runs WHERE policy = 'measured'))), 't 2 3', 'values that columns of another type would round or cut stay in the archive');
SELECT is((SELECT string_agg(id || ' ' || amount || ' ' || seen || ' ' || body, ', ' ORDER BY id) FROM measured_archive), '2 1.234 2020-01-01 00:00:00+00 ab, 3 1.000 2020-01-01 12:34:00+00 ab, 4 1.000 2020-01-01 00:00:00+00 abc', 'whole as they were');
SELECT is(ids('measured'), '1 5', 'the others return');
SELECT is((SELECT string_agg(sqlstate || ' ' || message, E'\n' ORDER BY message COLLATE "C") FROM retention.unrestored WHERE relation = 'policy_seams.measured'),
    '42804 column "amount" of policy_seams.measured is of type numeric(9,1) now, which would change the value', 'and why is told');

SELECT is((SELECT string_agg(severity || ' ' || object || ': ' || finding, E'\n') FROM retention.check('measured') WHERE finding LIKE '%archive%'),
    'error policy_seams.measured: rows of it cannot be archived: column "amount" of archive policy_seams.measured_archive is of type numeric(9,3), not numeric(9,1)', 'check tells beforehand that an archive no longer takes what its table has');
ALTER TABLE codes ADD COLUMN more int;
SELECT is((SELECT string_agg(object || ': ' || finding || ' -> ' || remedy, E'\n') FROM retention.check('with_children') WHERE severity = 'error'),
    'policy_seams.codes: rows of it cannot be archived: archive policy_seams.codes_archive has no column "more" -> ALTER TABLE "policy_seams"."codes_archive" ADD COLUMN "more" integer;', 'and that of a dependent, with the statement that mends it');
CREATE TABLE came (id int REFERENCES codes);
SELECT is((SELECT string_agg(object || ': ' || finding, E'\n') FROM retention.check('with_children') WHERE severity = 'error' AND object LIKE '%came'),
    'policy_seams.came: rows of it cannot be archived: archive policy_seams.came_archive does not exist', 'and of one that came later');
DROP TABLE came;
ALTER TABLE codes DROP COLUMN more;

-- ---- Rights on the root of partitions alone ----

CREATE TABLE parted (id int NOT NULL, at timestamptz, n int) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted (PRIMARY KEY (id)) FOR VALUES FROM (0) TO (50);
CREATE TABLE parted_2 PARTITION OF parted DEFAULT PARTITION BY RANGE (id);
CREATE TABLE parted_2a PARTITION OF parted_2 DEFAULT;
CREATE FUNCTION fill() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$ TRUNCATE policy_seams.parted; INSERT INTO policy_seams.parted SELECT g, '2000-01-01', g FROM generate_series(1, 100) g $$;
GRANT SELECT, DELETE, UPDATE ON parted TO regress_seam_rooted;
GRANT SELECT ON ALL TABLES IN SCHEMA retention TO regress_seam_rooted;
SET ROLE regress_seam_rooted;
SELECT fill() \gset
SELECT retention.add_policy('rooted', 'parted', '1 day', 'at', condition => 'n > 10') \gset
SELECT is((SELECT jsonb_array_length(sample_keys) || ' ' || (sample_keys -> 0)::text FROM retention.preview('rooted')), '5 {"id": 11}', 'G8 a right on the root of partitions is enough for a preview');
SELECT is((SELECT string_agg(finding, '; ') FROM retention.check('rooted') WHERE severity = 'error'), NULL, 'and for check');
SELECT format('SET retention.walk = %L', walk), format('SET retention.direct = %L', direct), 'DO $$ BEGIN PERFORM fill(); END $$',
    'DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''rooted'', result => r); END $$',
    format('SELECT is((SELECT concat_ws('' '', success, affected, (SELECT count(*) FROM parted)) FROM retention.runs ORDER BY id DESC LIMIT 1), ''t 90 10'', %L)', concat('G8 and for a run, walk ', walk, ', direct ', direct))
  FROM unnest('{auto,blocks,list}'::text[]) walk, unnest('{on,off}'::text[]) direct \gexec
RESET retention.walk;
RESET retention.direct;
RESET ROLE;
SELECT fill() \gset
CREATE TRIGGER object BEFORE DELETE ON parted FOR EACH ROW WHEN (old.id IN (20, 70)) EXECUTE FUNCTION object();
SET ROLE regress_seam_rooted;
DO $$ DECLARE r retention.result; BEGIN CALL retention.run('rooted', result => r); CALL retention.run('rooted', result => r); END $$;
RESET ROLE;
SELECT is((SELECT string_agg(relation::text || ' ' || (key -> 'id')::text, ', ' ORDER BY relation::text) FROM retention.failures WHERE policy = 'rooted' AND key ? 'id'), 'parted_1 20', 'G13 and a row that fails is found by its key');

-- ---- Triggers and rules that mark rows instead of removing them ----

CREATE TABLE marked (id int PRIMARY KEY, at timestamptz DEFAULT '2000-01-01', gone boolean NOT NULL DEFAULT false);
CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF old.id % 3 = 0 THEN RETURN old; END IF;
    IF old.id % 3 = 1 THEN UPDATE policy_seams.marked SET gone = true WHERE id = old.id; END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER mark BEFORE DELETE ON marked FOR EACH ROW EXECUTE FUNCTION mark();
CREATE TABLE ruled (id int PRIMARY KEY, at timestamptz DEFAULT '2000-01-01', gone boolean NOT NULL DEFAULT false);
CREATE RULE mark AS ON DELETE TO ruled DO INSTEAD UPDATE ruled SET gone = true WHERE id = old.id;
INSERT INTO marked SELECT generate_series(1, 30);
INSERT INTO ruled SELECT generate_series(1, 30);
SELECT retention.add_policy('marked', 'marked', '1 day', 'at', record_keys => true) \gset
SELECT retention.add_policy('ruled', 'ruled', '1 day', 'at') \gset
CREATE FUNCTION last_run() RETURNS text LANGUAGE sql AS $$ SELECT concat_ws(' ', success, affected, skipped_blocked, skipped_locked, skipped_returned, skipped_failed) FROM retention.runs ORDER BY id DESC LIMIT 1 $$;
SELECT is((SELECT expected_rows FROM retention.preview('ruled')), 30::bigint, 'the preview of what a rule marks');
SELECT is(success, true, 'apply') FROM retention.apply('ruled');
SELECT is(last_run(), 't 0 30 0 0 0', 'G9 apply counts rows that a rule marks as blocked');
DO $$ DECLARE r retention.result; BEGIN CALL retention.run('ruled', result => r); END $$;
SELECT is(last_run(), 't 0 30 0 0 0', 'G9 and so does run');
SELECT is((SELECT count(*) FROM ruled WHERE gone), 30::bigint, 'and they are marked');
DO $$ DECLARE r retention.result; BEGIN CALL retention.run('marked', result => r); END $$;
SELECT is(last_run(), 't 10 20 0 0 0', 'G9 what a trigger marks or keeps is blocked, what it lets go is affected');
SELECT is((SELECT count(*) || ' ' || bool_and(key::int % 3 = 0) FROM retention.removed_keys WHERE policy = 'marked'), '10 true', 'G4 and only the keys of those that went are kept');
SELECT is((SELECT affected || ' ' || skipped_blocked FROM retention.apply('marked')), '0 20', 'G9 and apply agrees');

-- ---- Definitions that are written out ----

CREATE TABLE texts (id int PRIMARY KEY, at timestamptz, note text, ok boolean);
SELECT retention.add_policy('written', 'texts', '1 day', 'at', action => 'update', set_clause => '(note, ok) = (SELECT NULL, true)', condition => 'EXISTS (SELECT NULL WHERE id::text IN (SELECT ''7'' UNION SELECT NULL))') \gset
SELECT is((SELECT jsonb_agg(i) FROM retention.import_policies((SELECT jsonb_agg(p) FROM jsonb_array_elements(retention.export_policies()) AS p WHERE p ->> 'name' = 'written')) AS i), NULL, 'G11 an import of what was exported changes nothing, whatever a sub-query''s constants are called once written out');

-- ---- Locks ----

CREATE FUNCTION busy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'a lock' USING ERRCODE = '55P03'; END $$;
INSERT INTO held VALUES (1, '2000-01-01');
CREATE TRIGGER busy BEFORE DELETE ON held FOR EACH ROW EXECUTE FUNCTION busy();
SELECT is((SELECT concat_ws(' ', success, stop_reason, sqlstate) FROM retention.apply('held')), 'f locked 55P03', 'G5 apply tells a lock that was not to be had as such, as run does');

SELECT * FROM finish();
DROP OWNED BY regress_seam_owner, regress_seam_other, regress_seam_rooted CASCADE;
DROP SCHEMA policy_seams CASCADE;
DROP EXTENSION pg_retention;
DROP ROLE regress_seam_owner, regress_seam_other, regress_seam_rooted;
