-- G13: rows that cannot be removed, changed, archived or judged are set apart, and the rest goes on.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_poison
\set begin :test '/begin.psql'
\i :begin
SET client_min_messages = error;
SET timezone = 'UTC';
SET intervalstyle = 'postgres';
-- Nothing here may go on for ever.
SET statement_timeout = '2min';
SELECT no_plan();

\i :functions

-- What failed so far.
CREATE FUNCTION failed(of text) RETURNS text LANGUAGE sql AS $$
    SELECT COALESCE(string_agg(key::text, ' ' ORDER BY key), 'none') FROM retention.failures WHERE policy = of $$;
CREATE FUNCTION old() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT now() - interval '100 days' $$;
-- Rows by table as the ledger of the last run has them.
CREATE FUNCTION told() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(relation || ' ' || n, ', ' ORDER BY relation) FROM (SELECT split_part(relation, '.', 2) AS relation, sum(affected) AS n
      FROM retention.ledger WHERE run = (SELECT max(id) FROM retention.runs) GROUP BY 1) l $$;
\set run 'DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''p'', result => r); END $$;'

-- ---- Every way over the target ----

CREATE TABLE users (id int PRIMARY KEY, last_active timestamptz);
CREATE TABLE carts (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users);
CREATE TABLE items (id int PRIMARY KEY, cart_id int NOT NULL REFERENCES carts, at timestamptz, n int);
INSERT INTO users SELECT g, CASE WHEN g % 2 = 0 THEN old() ELSE now() END FROM generate_series(1, 40) g;
INSERT INTO carts SELECT 1000 + id, id FROM users;
-- Alone, two adjacent, the first and the last of all.
CREATE FUNCTION is_poison(id int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT $1 IN (1, 1111, 2001, 2003, 3999) $$;
CREATE FUNCTION object() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF policy_poison.is_poison(old.id) THEN RAISE 'item % stays', old.id USING ERRCODE = 'P0042', DETAIL = 'For good.'; END IF; RETURN old; END $$;
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE items; DELETE FROM retention.failure;
    INSERT INTO items SELECT g, 1001 + g % 40, old() - g * interval '1 minute', g % 7 FROM generate_series(1, 4000) g; $$;
SELECT fill() \gset
ANALYZE;
CREATE TRIGGER object BEFORE DELETE ON items FOR EACH ROW EXECUTE FUNCTION object();
SELECT retention.add_policy('keys', 'items', '90 days', 'last_active', subject => 'users') \gset
SELECT retention.add_policy('ranges', 'items', '90 days', 'at') \gset
SELECT retention.add_policy('versions', 'items', '90 days', 'last_active', subject => 'users', condition => 'target.n >= 0') \gset
SELECT retention.add_policy('judged', 'items', '90 days', 'at', condition => 'target.n IN (SELECT x FROM generate_series(0, 6) x)') \gset
CREATE TABLE way (policy text, walk text, reason text, victims bigint);
INSERT INTO way VALUES ('keys', 'auto', 'keys of the expired subjects', 2000), ('ranges', 'auto', 'each range of blocks', 4000),
    ('versions', 'list', 'recognised by their versions', 2000), ('judged', 'auto', 'whole statement', 4000);
SELECT 'DO $$ BEGIN PERFORM fill(); END $$', format('SET retention.walk = %L', walk),
       format('DO $$ DECLARE r retention.result; BEGIN CALL retention.run(%L%s, result => r); END $$', policy, arguments), 'RESET retention.walk',
       format('SELECT is(last(''reason'') ~ %L, true, %L)', reason, claim || ' is taken'),
       format('SELECT is(failed(%L), ''{"id": 1} {"id": 1111} {"id": 2001} {"id": 2003} {"id": 3999}'', %L)', policy, 'G13 ' || claim || ': the rows that raise are told by their keys'),
       format('SELECT is(last(''concat_ws(''''|'''', success, stop_reason, affected, skipped_failed)''), ''t|done|%s|5'', %L)', victims - 5, 'G13 ' || claim || ': the rest goes on, and they are counted'),
       format('SELECT is((SELECT count(*) FROM items), %s::bigint, %L)', 4000 - victims + 5, 'G13 ' || claim || ': all others went'),
       format('SELECT is((SELECT sum(affected) FROM retention.ledger WHERE run = (SELECT max(id) FROM retention.runs)), %s::numeric, %L)', victims - 5, 'G4 ' || claim || ': the ledger equals the rows gone'),
       format('DO $$ DECLARE r retention.result; BEGIN CALL retention.run(%L, result => r); END $$', policy),
       format('SELECT is(last(''concat_ws(''''|'''', success, stop_reason, affected, skipped_failed)'') || (SELECT max(attempts) FROM retention.failures), ''t|done|0|51'', %L)', 'G13 ' || claim || ': they wait in the next run')
  FROM (SELECT *, concat_ws(' ', policy, walk, arguments) AS claim FROM way, unnest('{"", ", batch_rows => 37", ", strict => false"}'::text[]) arguments) w
 ORDER BY policy, arguments \gexec
SELECT isnt((SELECT string_agg(DISTINCT last_seen::text, '') FROM retention.failures), NULL, 'G13 when is told');
SELECT is((SELECT DISTINCT (relation::text, sqlstate, detail, attempts, waits, next_try - last_seen)::text FROM retention.failures), '(items,P0042,"For good.",1,t,01:00:00)', 'G13 relation, SQLSTATE and detail, and the pause');
SELECT is((SELECT message FROM retention.failures WHERE key = '{"id": 2001}'), 'item 2001 stays', 'G13 each row has its own message');
SELECT is(last('message'), 'Deleted 0 rows of policy_poison.items; skipped 5 (5 failed)', 'the message tells');
-- Slices: each sets its own rows apart.
SELECT fill() \gset
DO $$ DECLARE r retention.result; BEGIN CALL retention.run('ranges', slice => 1, slices => 2, result => r); CALL retention.run('ranges', slice => 2, slices => 2, result => r); END $$;
SELECT is((SELECT sum(affected) || '|' || sum(skipped_failed) FROM (SELECT * FROM retention.runs ORDER BY id DESC LIMIT 2) r), '3995|5', 'G13 slices find the same rows');
SELECT is((SELECT count(*) FROM items), 5::bigint, 'and leave them');
-- In one transaction: all or nothing.
SELECT fill() \gset
SELECT is((SELECT concat_ws('|', success, sqlstate, affected, skipped_failed) FROM retention.apply('ranges')), 'f|P0042|0|0', 'retention.apply is all or nothing');
SELECT is((SELECT count(*) FROM items) || ' ' || failed('ranges'), '4000 none', 'G11 and sets nothing apart');

-- ---- Pauses ----

SET retention.failure_pause_max = '3h';
SELECT 'DO $$ DECLARE r retention.result; BEGIN PERFORM retention.retry_failures(''ranges''); CALL retention.run(''ranges'', result => r); END $$' FROM generate_series(1, 4) \gexec
SELECT is((SELECT DISTINCT attempts || ' ' || (next_try - last_seen) FROM retention.failures), '4 03:00:00', 'G13 the pause doubles with each attempt, up to its most');
RESET retention.failure_pause_max;
SELECT is((SELECT expected_rows || '|' || blocked || '|' || failed FROM retention.preview('ranges')), '0|0|5', 'G9 a preview tells those that wait');
SELECT is((SELECT failed_rows FROM retention.status WHERE policy = 'ranges'), 5::bigint, 'retention.status counts them');
SELECT is((SELECT count(*) FROM retention.check('ranges') WHERE severity = 'warning' AND finding LIKE '5 rows could not be removed: item % stays (P0042); next try from %'), 1::bigint, 'retention.check tells them');
SELECT is((SELECT count(*) FROM retention.check('ranges') WHERE remedy LIKE 'SELECT * FROM retention.failures WHERE policy = ''ranges'';%retention.retry_failures(''ranges'');'), 1::bigint, 'with what to do');
CREATE OR REPLACE FUNCTION is_poison(id int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT $1 IN (1, 1111) $$;
SET session_replication_role = replica;
DELETE FROM items WHERE id = 1;
RESET session_replication_role;
UPDATE items SET at = now() WHERE id = 2001;
UPDATE items SET id = 5000 WHERE id = 2003;
SELECT is((SELECT expected_rows || '|' || failed FROM retention.preview('ranges')), '1|2', 'G9 a row is known by its key, not by its place');
DO $$ DECLARE r retention.result; BEGIN CALL retention.run('ranges', result => r); END $$;
SELECT is(ids('items') || ' / ' || failed('ranges'), '1111 2001 3999 / {"id": 1111} {"id": 3999}', 'G13 rows that vanished, or are victims no more, are forgotten; those under a pause stay');
SELECT is(retention.retry_failures('ranges') || ' ' || retention.retry_failures('ranges') || ' ' || retention.retry_failures('none'), '2 0 0', 'retry_failures ends pauses once');
DO $$ DECLARE r retention.result; BEGIN CALL retention.run('ranges', result => r); END $$;
SELECT is(ids('items') || ' / ' || failed('ranges') || last('affected'), '1111 2001 / {"id": 1111}1', 'G13 one that succeeds is forgotten');
SELECT retention.remove_policy('ranges') \gset
SELECT is(failed('ranges'), 'none', 'a policy that is removed takes its failures along');
DROP TABLE items, carts, users CASCADE;

-- ---- What a row may raise ----

-- One table, one policy, a trigger that does as the case says.
CREATE TABLE t (id int PRIMARY KEY, at timestamptz, n int);
CREATE SEQUENCE tries;
SELECT retention.add_policy('p', 't', '90 days', 'at') \gset
CREATE FUNCTION case_of(body text, rows int DEFAULT 700) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'CREATE OR REPLACE FUNCTION policy_poison.does() RETURNS trigger LANGUAGE plpgsql AS ' || quote_literal('BEGIN ' || body || ' RETURN old; END');
    ALTER TABLE t DISABLE TRIGGER ALL;
    TRUNCATE t;
    DELETE FROM retention.failure;
    INSERT INTO t SELECT g, old(), g FROM generate_series(1, rows) g;
    ALTER TABLE t ENABLE TRIGGER ALL;
END $$;
CREATE FUNCTION does() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN old; END';
CREATE TRIGGER does BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION does();
CREATE FUNCTION outcome() RETURNS text LANGUAGE sql AS $$
    SELECT last('concat_ws(''|'', success, stop_reason, sqlstate, affected, skipped_failed, skipped_blocked)') || ' stay ' || (SELECT count(*) FROM t) || ' told ' || COALESCE((SELECT sum(affected) FROM retention.ledger WHERE run = (SELECT max(id) FROM retention.runs)), 0) || ' kept ' || (SELECT count(*) FROM retention.failures WHERE policy = 'p') $$;

SELECT case_of($$ IF old.id % 7 = 0 THEN RAISE 'no'; END IF; $$) \gset
:run
SELECT is(outcome(), 't|done|600|100|0 stay 100 told 600 kept 100', 'G13 every seventh row raises');
SELECT case_of($$ IF old.id % 7 = 0 THEN RAISE 'no'; END IF; $$, 707) \gset
:run
SELECT is(last('concat_ws(''|'', success, stop_reason, sqlstate, skipped_failed)') || ' ' || (SELECT count(*) FROM retention.failures), 'f|error|P0001|100 100', 'G13 one more than retention.max_failures ends the run');
SELECT is((SELECT count(*) FROM t) + last('affected')::bigint, 707::bigint, 'G4 which tells what went before');
SELECT case_of($$ RAISE 'never' USING ERRCODE = 'P00' || chr(65 + old.id % 26) || chr(65 + old.id / 26 % 26); $$, 3000) \gset
SET retention.max_failures = 10;
:run
SELECT is(last('concat_ws(''|'', success, stop_reason, affected, skipped_failed)') || ' ' || (SELECT count(*) || ' ' || count(DISTINCT sqlstate) FROM retention.failures), 'f|error|0|10 10 10', 'G13 where all rows raise, each another SQLSTATE, the run ends soon');
SELECT is(last('message') || ' / ' || (SELECT count(*) FROM t), 'never / 3000', 'with the last error, and nothing is changed');
SET retention.max_failures = 0;
SELECT case_of($$ IF old.id = 7 THEN RAISE 'no'; END IF; $$) \gset
:run
SELECT is(outcome(), 'f|error|P0001|0|0|0 stay 700 told 0 kept 0', 'with retention.max_failures 0 the first error ends the run');
RESET retention.max_failures;
SELECT case_of($$ IF old.id = 7 THEN RAISE E'a "quoted"\n''line''\t%', repeat('ä', 50000) USING DETAIL = repeat('"', 50000); END IF; $$) \gset
:run
SELECT is(outcome(), 't|done|699|1|0 stay 1 told 699 kept 1', 'G13 a message of 100 kB with quotes and line breaks');
SELECT is((SELECT (octet_length(message) BETWEEN 900 AND 1000) || ' ' || octet_length(detail) || ' ' || left(message, 17) FROM retention.failures), E'true 1000 a "quoted"\n''line''', 'of which 1,000 bytes are kept');
SELECT case_of($$ IF old.id = 7 THEN PERFORM nextval('policy_poison.tries'); RAISE 'mine' USING ERRCODE = '40001'; END IF; $$) \gset
:run
SELECT is(last('concat_ws(''|'', success, stop_reason, sqlstate)') || ' ' || (SELECT last_value || ' ' || failed('p') FROM tries), 'f|locked|40001 5 none', 'a trigger that raises 40001 by itself ends the run after five tries');
SELECT case_of($$ IF old.id = 7 THEN RAISE 'mine' USING ERRCODE = '57014'; END IF; $$) \gset
:run
SELECT is(last('concat_ws(''|'', success, stop_reason, sqlstate)') || ' ' || failed('p'), 'f|cancelled|57014 none', 'one that raises 57014 by itself cancels the run');
SELECT format('SELECT case_of($$ IF old.id = 7 THEN RAISE %L USING ERRCODE = %L; END IF; $$)', 'mine', code), rtrim(:'run', ';'),
       format('SELECT is(last(''concat_ws(''''|'''', success, stop_reason, sqlstate)'') || '' '' || failed(''p''), %L, %L)', 'f|error|' || code || ' none', code || ' is no row''s: it ends the run')
  FROM unnest('{42501,42P01,42883,53100,53400,58030,25006}'::text[]) code \gexec
SELECT case_of('') \gset
CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'closed today'; END $$;
CREATE TRIGGER closed BEFORE DELETE ON t EXECUTE FUNCTION closed();
:run
SELECT is(outcome(), 'f|error|P0001|0|0|0 stay 700 told 0 kept 0', 'G13 a statement trigger that objects blames no row');
DROP TRIGGER closed ON t;
SELECT case_of($$ IF old.id % 100 = 0 THEN RETURN NULL; END IF; $$) \gset
:run
SELECT is(outcome(), 't|done|693|0|7 stay 7 told 693 kept 0', 'a trigger that keeps its row back is no error: the row is blocked, and counted');
SELECT case_of($$ IF old.id % 100 = 0 THEN DELETE FROM policy_poison.t WHERE id IN (old.id - 1, old.id + 1); END IF; $$) \gset
:run
SELECT is(last('concat_ws(''|'', success, stop_reason, skipped_failed)') || ' ' || (SELECT count(*) FROM t) || ' ' || failed('p'), 't|done|0 0 none', 'a trigger that deletes neighbours: all go, and none is blamed');
SELECT is(last('affected')::bigint = (SELECT sum(affected) FROM retention.ledger WHERE run = (SELECT max(id) FROM retention.runs)) AND last('affected')::int BETWEEN 686 AND 700, true, 'G4 the ledger has what the run removed itself');
-- What waits until the commit.
SELECT case_of('') \gset
CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF COALESCE(old.id, new.id) IN (5, 6) THEN RAISE 'too late for %', COALESCE(old.id, new.id); END IF; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER late AFTER DELETE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();
:run
SELECT is(outcome() || ' ' || failed('p'), 't|done|698|2|0 stay 2 told 698 kept 2 {"id": 5} {"id": 6}', 'G13 a deferred constraint trigger raises in the batch, not at its commit');
DROP TRIGGER late ON t;
CREATE TABLE log (id int);
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON log DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();
SELECT case_of('INSERT INTO policy_poison.log VALUES (old.id);') \gset
:run
SELECT is(outcome() || ' ' || failed('p'), 't|done|698|2|0 stay 2 told 698 kept 2 {"id": 5} {"id": 6}', 'G13 also one of a table that only a trigger writes to');
SELECT is((SELECT count(*) FROM log), 698::bigint, 'whose rows stand for those that went');
DROP TABLE log;
-- A condition that cannot be judged for a row.
SELECT case_of('') \gset
UPDATE t SET n = 0 WHERE id IN (100, 101, 400);
SELECT retention.alter_policy('p', condition => '100 / target.n >= 0') \gset
:run
SELECT is(outcome() || ' ' || failed('p'), 't|done|697|3|0 stay 3 told 697 kept 3 {"id": 100} {"id": 101} {"id": 400}', 'G13 rows whose condition raises are set apart');
:run
SELECT is(outcome(), 't|done|0|3|0 stay 3 told 0 kept 3', 'G13 and not even read while they wait');
UPDATE t SET n = 1;
:run
SELECT is(outcome(), 't|done|0|3|0 stay 3 told 0 kept 3', 'until their time comes');
SELECT retention.retry_failures() \gset
:run
SELECT is(outcome(), 't|done|3|0|0 stay 0 told 3 kept 0', 'G13 and are forgotten when they went');
-- The same where the victims are chosen as a list: by versions, and judged again.
SET retention.walk = list;
SELECT format('SELECT retention.alter_policy(''p'', condition => %L) FROM case_of('''')', condition), 'UPDATE t SET n = 0 WHERE id IN (100, 101, 400)', rtrim(:'run', ';'),
       format('SELECT is(outcome() || '' '' || failed(''p''), ''t|done|697|3|0 stay 3 told 697 kept 3 {"id": 100} {"id": 101} {"id": 400}'', %L)', 'G13 a list whose statement raises is chosen range by range: ' || condition),
       format('SELECT is(last(''walk || '''' '''' || (reason LIKE ''''%%chosen range by range, because the statement as a whole fails (22012)'''')''), ''list true'', %L)', 'and says so: ' || condition),
       rtrim(:'run', ';'),
       format('SELECT is(outcome(), ''t|done|0|3|0 stay 3 told 0 kept 3'', %L)', 'G13 a list leaves them out while they wait: ' || condition)
  FROM unnest(ARRAY['100 / target.n >= 0', '100 / target.n >= (SELECT min(x) FROM generate_series(0, 3) x)']) condition \gexec
RESET retention.walk;
DROP TABLE t;
SELECT retention.remove_policy('p') \gset

-- ---- Updates and archives ----

CREATE TABLE u (id int PRIMARY KEY, at timestamptz, n int CHECK (n < 700));
CREATE FUNCTION inverse(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN 1000 / (n - 201); END $$;
SELECT retention.add_policy('p', 'u', '90 days', 'at', action => 'update', set_clause => 'n = target.n + 100, at = NULL') \gset
INSERT INTO u SELECT g, old(), g FROM generate_series(1, 600) g;
CREATE INDEX ON u (inverse(n)) WHERE n <> 201 OR id <> 201;
DELETE FROM u WHERE id = 201;
:run
SELECT is(last('concat_ws(''|'', success, affected, skipped_failed)') || ' ' || failed('p'), 't|597|2 {"id": 101} {"id": 600}', 'G13 an update against a check constraint, and one that an index expression fails for');
SELECT is((SELECT string_agg(sqlstate, ' ' ORDER BY key) FROM retention.failures), '22012 23514', 'each with its SQLSTATE');
SELECT is((SELECT count(*) || ' ' || min(n) || ' ' || max(n) FROM u WHERE at IS NULL), '597 101 699', 'G13 the others are updated once');
SELECT is(told(), 'u 597', 'G4 and told');
DROP TABLE u;
SELECT retention.remove_policy('p') \gset

CREATE TABLE a (id int, part int, at timestamptz, body text, PRIMARY KEY (part, id)) PARTITION BY LIST (part);
CREATE TABLE a_1 PARTITION OF a FOR VALUES IN (1);
CREATE TABLE "a 2" PARTITION OF a FOR VALUES IN (2);
CREATE TABLE a_child (id int PRIMARY KEY, part int, a_id int, FOREIGN KEY (part, a_id) REFERENCES a (part, id));
CREATE TABLE a_archive (LIKE a, retention_run_id bigint NOT NULL, archived_at timestamptz NOT NULL, CHECK (body <> 'bad'));
CREATE TABLE a_child_archive (LIKE a_child, retention_run_id bigint NOT NULL, archived_at timestamptz NOT NULL, UNIQUE (id));
INSERT INTO a SELECT g, 1 + g % 2, old(), CASE WHEN g IN (10, 11) THEN 'bad' ELSE 'good' END FROM generate_series(1, 400) g;
INSERT INTO a_child SELECT g, 1 + g % 2, g FROM generate_series(1, 200) g;
INSERT INTO a_child_archive VALUES (50, 1, 50, 0, now());
SELECT retention.add_policy('p', 'a', '90 days', 'at', action => 'archive', archive_to => 'a_archive', dependents => 'cascade') \gset
:run
SELECT is(last('concat_ws(''|'', success, affected, skipped_failed, dependents)'), 't|397|3|{"policy_poison.a_child": 197}', 'G13 archiving: rows that their archive refuses, or the archive of a dependent');
SELECT is((SELECT string_agg(concat_ws(' ', relation, key, sqlstate), ', ' ORDER BY relation::text, key) FROM retention.failures), '"a 2" {"id": 11, "part": 2} 23514, a_1 {"id": 10, "part": 1} 23514, a_1 {"id": 50, "part": 1} 23505', 'G13 each told by its partition and its whole key');
SELECT is(ids('a') || ' / ' || ids('a_child'), '10 11 50 / 10 11 50', 'G3 their dependents stay with them');
SELECT is((SELECT count(*) FROM a_archive) || ' ' || (SELECT count(*) FROM a_child_archive) || ' / ' || told(), '397 198 / a 397, a_child 197', 'G4 the archive has what the ledger has');
:run
SELECT is(last('concat_ws(''|'', success, affected, skipped_failed)'), 't|0|3', 'G13 and wait in their partitions');
DROP TABLE a, a_child, a_archive, a_child_archive;
SELECT retention.remove_policy('p') \gset

-- ---- Families ----

CREATE TABLE f (id int PRIMARY KEY, at timestamptz);
CREATE TABLE f1 (id int PRIMARY KEY, up int NOT NULL REFERENCES f);
CREATE TABLE f2 (id int PRIMARY KEY, up int NOT NULL REFERENCES f1);
CREATE TABLE f3 (id int PRIMARY KEY, up int NOT NULL REFERENCES f2);
CREATE INDEX ON f1 (up); CREATE INDEX ON f2 (up); CREATE INDEX ON f3 (up);
CREATE FUNCTION family() RETURNS void LANGUAGE sql AS $$
    DELETE FROM retention.failure;
    TRUNCATE f, f1, f2, f3;
    INSERT INTO f SELECT g, old() FROM generate_series(1, 500) g;
    INSERT INTO f1 SELECT g, g FROM generate_series(1, 500) g;
    INSERT INTO f2 SELECT g, g FROM generate_series(1, 500) g;
    INSERT INTO f3 SELECT g, g FROM generate_series(1, 500) g; $$;
SELECT retention.add_policy('p', 'f', '90 days', 'at', dependents => 'cascade') \gset
CREATE FUNCTION deep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF old.id = 77 THEN RAISE 'leaf 77'; ELSIF old.id = 78 THEN RETURN NULL; END IF;
    RETURN old;
END $$;
CREATE TRIGGER deep BEFORE DELETE ON f3 FOR EACH ROW EXECUTE FUNCTION deep();
SELECT family() \gset
:run
SELECT is((SELECT string_agg(relation || ' ' || key || ' ' || sqlstate, ', ' ORDER BY key) FROM retention.failures), 'f {"id": 77} P0001, f {"id": 78} 23503', 'G13 a dependent three levels down that raises, and one that a trigger keeps back: the victim is told');
SELECT is(concat_ws(' / ', ids('f'), ids('f1'), ids('f2'), ids('f3')), '77 78 / 77 78 / 77 78 / 77 78', 'G3 whose families stay whole');
SELECT is(told() || last(''' '' || affected'), 'f 498, f1 498, f2 498, f3 498 498', 'G4 and all others are gone and told');
DROP TRIGGER deep ON f3;
-- A trigger that makes a new referrer: the key itself objects.
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF old.up IN (3, 4) THEN INSERT INTO policy_poison.f1 VALUES (old.id + 1000, old.up); END IF; RETURN NULL; END $$;
CREATE TRIGGER again AFTER DELETE ON f1 FOR EACH ROW EXECUTE FUNCTION again();
SELECT family() \gset
:run
SELECT is((SELECT string_agg(key::text || ' ' || sqlstate, ', ' ORDER BY key) FROM retention.failures), '{"id": 3} 23503, {"id": 4} 23503', 'G13 a foreign key that stands in the way unforeseen');
SELECT is(concat_ws(' / ', ids('f'), ids('f1'), ids('f2'), ids('f3')), '3 4 / 3 4 / 3 4 / 3 4', 'G3 and these families stay whole');
SELECT is(told(), 'f 498, f1 498, f2 498, f3 498', 'G4 as is told');
DROP TRIGGER again ON f1;
-- One that no key binds, and a trigger keeps back.
CREATE TABLE note (id int PRIMARY KEY, about int);
CREATE FUNCTION keeps() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF old.id = 9 THEN RETURN NULL; END IF; RETURN old; END $$;
CREATE TRIGGER keeps BEFORE DELETE ON note FOR EACH ROW EXECUTE FUNCTION keeps();
SELECT retention.add_dependent('p', 'note', 'dependent.about = target.id') \gset
SELECT family() \gset
INSERT INTO note SELECT g, g FROM generate_series(1, 500) g;
:run
SELECT is((SELECT string_agg(key::text || ' ' || sqlstate, ', ' ORDER BY key) FROM retention.failures), '{"id": 9} 23001', 'G13 a dependent without a key that a trigger keeps back');
SELECT is(concat_ws(' / ', ids('f'), ids('f1'), ids('f2'), ids('f3'), ids('note')) || ' ' || last('affected'), '9 / 9 / 9 / 9 / 9 499', 'G3 and that family stays whole');
DROP TABLE f, f1, f2, f3, note;
SELECT retention.remove_policy('p') \gset

-- ---- Keys ----

CREATE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF old.stays THEN RAISE 'stays'; END IF; RETURN old; END $$;
CREATE TYPE "a mood" AS ENUM ('so "so"', 'fine');
CREATE TABLE "Odd ""table" ("the key" text, at timestamptz, mood "a mood", d numeric, ts timestamptz, u uuid, b bytea, stays boolean, PRIMARY KEY ("the key", mood, d, ts, u, b));
INSERT INTO "Odd ""table" SELECT CASE WHEN g % 50 = 0 THEN E'it''s "q"\n\\' ELSE 'k' END || g, old(), CASE WHEN g % 2 = 0 THEN 'so "so"' ELSE 'fine' END::"a mood", CASE WHEN g = 50 THEN 'NaN' ELSE g / 3.0 END, CASE WHEN g = 100 THEN 'infinity' ELSE old() END, gen_random_uuid(), '\x00ff'::bytea, g % 50 = 0 FROM generate_series(1, 200) g;
CREATE TRIGGER stays BEFORE DELETE ON "Odd ""table" FOR EACH ROW EXECUTE FUNCTION stays();
SELECT retention.add_policy('p', '"Odd ""table"', '90 days', 'at') \gset
:run
SELECT is(last('concat_ws(''|'', success, affected, skipped_failed)'), 't|196|4', 'G13 keys of many columns and hostile texts');
:run
SELECT is(last('concat_ws(''|'', success, affected, skipped_failed)') || (SELECT max(attempts) FROM retention.failures), 't|0|41', 'G13 by which the rows are found again');
DROP TABLE "Odd ""table";
:run
SELECT is(last('concat_ws(''|'', success, sqlstate)'), 'f|42P01', 'a table that is dropped ends the run');
SELECT retention.remove_policy('p') \gset
CREATE TABLE k (id int, at timestamptz, stays boolean);
CREATE TABLE k_heir () INHERITS (k);
INSERT INTO k SELECT g, old(), g = 30 FROM generate_series(1, 100) g;
INSERT INTO k_heir SELECT g, old(), g = 101 FROM generate_series(101, 200) g;
CREATE TRIGGER stays BEFORE DELETE ON k FOR EACH ROW EXECUTE FUNCTION stays();
CREATE TRIGGER stays BEFORE DELETE ON k_heir FOR EACH ROW EXECUTE FUNCTION stays();
SELECT retention.add_policy('p', 'k', '90 days', 'at') \gset
:run
SELECT is((SELECT string_agg(relation || ' ' || key, ', ' ORDER BY relation::text) FROM retention.failures), 'k "(0,30)", k_heir "(0,1)"', 'G13 without a key, a row is told by its place, in its heir');
:run
SELECT is(last('concat_ws(''|'', success, affected, skipped_failed)') || ' ' || ids('k'), 't|0|2 30 101', 'and waits there');
SELECT is((SELECT string_agg(DISTINCT policy, ' ') FROM retention.failures), 'p', 'nothing else is left');

-- ---- Who may ----

CREATE ROLE policy_poison_stranger;
SET ROLE policy_poison_stranger;
SELECT throws_ok('SELECT * FROM retention.failures', '42501', NULL, 'keys and messages are not for everybody');
SELECT throws_ok('SELECT * FROM retention.failure', '42501', NULL, 'nor by the table');
SELECT throws_ok('SELECT retention.retry_failures()', '42501', NULL, 'nor may everybody end a pause');
RESET ROLE;
DROP ROLE policy_poison_stranger;

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA policy_poison CASCADE;
DROP EXTENSION pg_retention;
