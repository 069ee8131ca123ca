-- CALL retention.run: the ways over the target, the two hands from both sides of each condition, slices, limits.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_run
\set begin :test '/begin.psql'
\i :begin
SET client_min_messages = error;
SET timezone = 'UTC';
SELECT no_plan();

\i :functions

-- ---- The ways ----

CREATE TABLE users (id int PRIMARY KEY, last_active timestamptz);
CREATE TABLE carts (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users);
CREATE TABLE items (id int PRIMARY KEY, cart_id int NOT NULL REFERENCES carts, at timestamptz, n int);
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE users, carts, items CASCADE;
    INSERT INTO users SELECT g, now() - CASE WHEN g % 2 = 0 THEN interval '100 days' ELSE interval '1 day' END FROM generate_series(1, 40) g;
    INSERT INTO carts SELECT 1000 + id, id FROM users;
    INSERT INTO items SELECT g, 1001 + g % 40, now() - g * interval '1 day' - interval '12 hours', g % 7 FROM generate_series(1, 4000) g;
$$;
SELECT fill() \gset
ANALYZE;
SELECT retention.add_policy('keys', 'items', '90 days', 'last_active', subject => 'users') \gset
SELECT retention.add_policy('ranges', 'items', '90 days', 'at') \gset
SELECT retention.add_policy('versions', 'items', '90 days', 'last_active', subject => 'users', condition => 'target.n > 2') \gset
SELECT retention.add_policy('judged', 'items', '90 days', 'at', condition => 'target.n IN (SELECT x FROM generate_series(0, 3) x)') \gset
SELECT retention.add_policy('latest', 'items', '90 days', 'at', keep_latest => 5, keep_per => '{cart_id}') \gset

CREATE TABLE way (policy text, walk text, reason text, survivors text);
INSERT INTO way VALUES
    ('keys', 'blocks', 'keys of the expired subjects', 'SELECT count(*) FROM items i JOIN carts c ON c.id = i.cart_id JOIN users u ON u.id = c.user_id WHERE u.last_active >= now() - interval ''90 days'''),
    ('ranges', 'blocks', 'each range of blocks', 'SELECT count(*) FROM items WHERE at >= now() - interval ''90 days'''),
    ('versions', 'list', 'recognised by their versions', 'SELECT count(*) FROM items i JOIN carts c ON c.id = i.cart_id JOIN users u ON u.id = c.user_id WHERE u.last_active >= now() - interval ''90 days'' OR n <= 2'),
    ('judged', 'list', 'whole statement', 'SELECT count(*) FROM items WHERE at >= now() - interval ''90 days'' OR n > 3'),
    ('latest', 'list', 'whole statement', 'SELECT count(*) FROM (SELECT at, row_number() OVER (PARTITION BY cart_id ORDER BY at DESC) AS r FROM items) i WHERE at >= now() - interval ''90 days'' OR r <= 5');
CREATE FUNCTION expected(of text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
    EXECUTE (SELECT survivors FROM way WHERE policy = of) INTO n;
    RETURN n;
END $$;
CREATE TABLE stay (n bigint);
INSERT INTO stay VALUES (0);
-- Each way, as chosen, and with everything that can be forced: the same rows stay.
SELECT 'DO $$ BEGIN PERFORM fill(); UPDATE stay SET n = expected(' || quote_literal(policy) || '); END $$',
       format('SET retention.walk = %L', forced), format('SET retention.direct = %L', hand), format('SET retention.work_mem = %L', memory),
       format('DO $$ DECLARE r retention.result; BEGIN CALL retention.run(%L%s, result => r); END $$', policy, arguments),
       'RESET retention.walk', 'RESET retention.direct', 'RESET retention.work_mem',
       format('SELECT is((SELECT count(*) FROM items), (SELECT n FROM stay), %L)', 'G1 ' || claim),
       format('SELECT is(last(''affected'')::bigint, (SELECT 4000 - n FROM stay), %L)', 'G4 ' || claim || ': it tells so many'),
       format('SELECT is((SELECT count(*) FROM users) + (SELECT count(*) FROM carts), 80::bigint, %L)', 'G2 ' || claim || ': users and carts stay')
  FROM (SELECT *, format('%s, walk %s, direct %s, work_mem %s%s', policy, forced, hand, memory, arguments) AS claim
          FROM way, unnest('{auto,blocks,list}'::text[]) forced, unnest('{on,off}'::text[]) hand,
               (VALUES ('-1', ''), ('0', ''), ('-1', ', batch_rows => 37'), ('-1', ', strict => false')) v (memory, arguments)) w
 ORDER BY policy, forced, hand, memory, arguments \gexec

SELECT 'DO $$ BEGIN PERFORM fill(); END $$', format('DO $$ DECLARE r retention.result; BEGIN CALL retention.run(%L, result => r); END $$', policy),
       format('SELECT is(last(''walk''), %L, %L)', walk, policy || ': walks over ' || walk),
       format('SELECT matches(last(''reason''), %L, %L)', reason, policy || ': and says why') FROM way ORDER BY policy \gexec
SELECT matches((SELECT reason FROM retention.explain('keys') WHERE what = 'walk'), '^retention.run: over the blocks: .*keys of the expired', 'explain tells the walk beforehand');
SELECT fill() \gset
SET retention.work_mem = 0;
CALL retention.run('keys') \gset
RESET retention.work_mem;
SELECT matches(last('reason'), 'more memory than retention.work_mem allows', 'subjects that do not fit retention.work_mem leave the run to the whole statement');

-- ---- Slices ----

SELECT fill() \gset
INSERT INTO items SELECT g, 1002, now() - interval '1 year', 9 FROM generate_series(10001, 410000) g;
SELECT expected('keys') AS stay, (SELECT count(*) FROM items) AS before \gset
CALL retention.run('keys', slice => 1, slices => 3) \gset
SELECT last('affected') AS first, last('slice || ''/'' || slices') AS told \gset
SELECT is(:'told'::text, '1/3', 'a slice tells which it is');
CALL retention.run('keys', slice => 2, slices => 3) \gset
SELECT last('affected') AS second \gset
SELECT cmp_ok((SELECT count(*) FROM items), '>', :stay::bigint, 'two slices of three leave something');
CALL retention.run('keys', slice => 3, slices => 3) \gset
SELECT is(:first + :second + last('affected')::int, (:before - :stay)::int, 'G4 the slices sum up to the whole');
SELECT is((SELECT count(*) FROM items), :stay::bigint, 'G1 and together remove what the whole would');
SELECT cmp_ok(least(:first, :second), '>', 0, 'each has its part');

-- ---- The direct hand, from both sides of each condition ----

CREATE TABLE log (id serial PRIMARY KEY, what text);
CREATE TABLE plain (id int PRIMARY KEY, at timestamptz);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO policy_run.log (what) VALUES (tg_name); RETURN CASE tg_level WHEN 'ROW' THEN old END; END $$;
SELECT retention.add_policy('plain', 'plain', '1 day', 'at') \gset
CREATE FUNCTION prepare() RETURNS void LANGUAGE sql AS $$ TRUNCATE plain CASCADE; TRUNCATE log; INSERT INTO plain SELECT g, now() - interval '2 days' FROM generate_series(1, 10) g; $$;
CREATE TABLE condition (id serial, on_it text, off_it text, hand text, noticed int, claim text);
INSERT INTO condition (on_it, off_it, hand, noticed, claim) VALUES
    ('SELECT 1', 'SELECT 1', 'direct', 0, 'nothing would miss the rows'),
    ('CREATE TRIGGER t BEFORE DELETE ON plain FOR EACH ROW EXECUTE FUNCTION noted()', 'DROP TRIGGER t ON plain', 'sql', 10, 'a trigger before each row'),
    ('CREATE TRIGGER t AFTER DELETE ON plain FOR EACH ROW EXECUTE FUNCTION noted()', 'DROP TRIGGER t ON plain', 'sql', 10, 'a trigger after each row'),
    ('CREATE TRIGGER t AFTER DELETE ON plain FOR EACH STATEMENT EXECUTE FUNCTION noted()', 'DROP TRIGGER t ON plain', 'sql', 1, 'a trigger of the statement'),
    ('CREATE CONSTRAINT TRIGGER t AFTER DELETE ON plain DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION noted()', 'DROP TRIGGER t ON plain', 'sql', 10, 'a deferred constraint trigger'),
    ('CREATE TRIGGER t BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION noted()', 'DROP TRIGGER t ON plain', 'direct', 0, 'a trigger that DELETE does not fire'),
    ('CREATE RULE r AS ON DELETE TO plain DO ALSO INSERT INTO log (what) VALUES (''rule'')', 'DROP RULE r ON plain', 'sql', 10, 'a rule'),
    ('ALTER TABLE plain ENABLE ROW LEVEL SECURITY', 'ALTER TABLE plain DISABLE ROW LEVEL SECURITY', 'sql', 0, 'row security'),
    ('CREATE TABLE refers (plain_id int REFERENCES plain)', 'DROP TABLE refers', 'direct', 0, 'a foreign key that refers to the target, followed by the engine'),
    ('CREATE TABLE refers (plain_id int REFERENCES plain ON DELETE CASCADE)', 'DROP TABLE refers', 'direct', 0, 'one that cascades'),
    ('CREATE TABLE refers (plain_id int REFERENCES plain ON DELETE SET NULL)', 'DROP TABLE refers', 'sql', 0, 'one that empties columns of rows that stay'),
    ('CREATE TABLE refers (plain_id int REFERENCES plain ON DELETE CASCADE); INSERT INTO refers SELECT generate_series(1, 10); CREATE TRIGGER t AFTER DELETE ON refers FOR EACH ROW EXECUTE FUNCTION noted()', 'DROP TABLE refers', 'sql', 10, 'a dependent''s own trigger'),
    ('CREATE TABLE refers (plain_id int REFERENCES plain ON DELETE CASCADE); INSERT INTO refers SELECT generate_series(1, 10)', 'DROP TABLE refers', 'direct', 0, 'dependents without one'),
    ('ALTER TABLE plain ADD COLUMN twice int GENERATED ALWAYS AS (id * 2) STORED', 'ALTER TABLE plain DROP COLUMN twice', 'direct', 0, 'a generated column'),
    ('CREATE INDEX i ON plain ((id * 3))', 'DROP INDEX i', 'direct', 0, 'an index on an expression'),
    ('CREATE PUBLICATION policy_run FOR TABLE plain', 'DROP PUBLICATION policy_run', 'direct', 0, 'a publication, with the primary key as replica identity');
SELECT 'DO $$ BEGIN PERFORM prepare(); END $$', on_it, 'DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''plain'', result => r); END $$',
       format('SELECT is(last(''hand''), %L, %L)', hand, hand || ': ' || claim),
       format('SELECT is((SELECT count(*) FROM plain), 0::bigint, %L)', claim || ': the rows are gone'),
       format('SELECT is((SELECT count(*) FROM log), %s::bigint, %L)', noticed, claim || ': what watches has noticed'), off_it
  FROM condition ORDER BY id \gexec
SELECT prepare() \gset
SET retention.direct = off;
CALL retention.run('plain') \gset
RESET retention.direct;
SELECT is(last('hand'), 'sql', 'sql: retention.direct is off');
SELECT prepare() \gset
ALTER TABLE plain REPLICA IDENTITY NOTHING;
CREATE PUBLICATION policy_run FOR TABLE plain;
CALL retention.run('plain') \gset
SELECT is(last('sqlstate'), '55000', 'a replica identity that is missing where DELETE is published is the error that a DELETE would give');
SELECT is((SELECT count(*) FROM plain), 10::bigint, 'and nothing was changed');
DROP PUBLICATION policy_run;
ALTER TABLE plain REPLICA IDENTITY DEFAULT;

-- ---- Keys without their triggers: trees, cycles, columns of their own order ----

CREATE TABLE node (a int, b text, up_a int, up_b text, at timestamptz, PRIMARY KEY (a, b), CONSTRAINT up FOREIGN KEY (up_b, up_a) REFERENCES node (b, a));
ALTER TABLE node DROP CONSTRAINT up;
ALTER TABLE node ADD UNIQUE (b, a), ADD CONSTRAINT up FOREIGN KEY (up_b, up_a) REFERENCES node (b, a);
CREATE TABLE leaf (id int PRIMARY KEY, node_a int, node_b text, FOREIGN KEY (node_a, node_b) REFERENCES node);
CREATE TABLE mark (leaf_id int REFERENCES leaf);
INSERT INTO node SELECT g, 'x', NULL, NULL, now() - CASE WHEN g <= 6 THEN interval '9 days' ELSE interval '1 hour' END FROM generate_series(1, 9) g;
UPDATE node SET up_a = 1, up_b = 'x' WHERE a IN (2, 3);        -- both old: they go together
UPDATE node SET up_a = 4, up_b = 'x' WHERE a = 7;              -- young below old: the old one is blocked
UPDATE node SET up_a = 5, up_b = 'x' WHERE a = 5;              -- refers to itself
INSERT INTO leaf VALUES (1, 2, 'x'), (2, 6, 'x'), (3, 8, 'x');
INSERT INTO mark VALUES (1), (1), (3);
SELECT retention.add_policy('tree', 'node', '1 day', 'at') \gset
SELECT retention.add_dependent('tree', 'leaf') \gset
SELECT retention.add_dependent('tree', 'mark', parent => 'leaf') \gset
CALL retention.run('tree') \gset
SELECT is(last('hand'), 'direct', 'a tree of keys goes through the access method');
SELECT set_eq($$ SELECT a FROM node $$, $$ VALUES (4), (7), (8), (9) $$, 'G3 who is referred to by one that stays, stays');
SELECT set_eq($$ SELECT id FROM leaf $$, $$ VALUES (3) $$, 'G3 dependents go along');
SELECT is(last('affected || '','' || skipped_blocked || '','' || dependents::text'), '5,1,{"policy_run.leaf": 2, "policy_run.mark": 2}', 'G4 and are told');
SELECT lives_ok($$ ALTER TABLE node DROP CONSTRAINT up; ALTER TABLE node ADD CONSTRAINT up FOREIGN KEY (up_b, up_a) REFERENCES node (b, a) $$, 'G3 no key of the target dangles');
SELECT lives_ok($$ ALTER TABLE mark DROP CONSTRAINT mark_leaf_id_fkey; ALTER TABLE mark ADD FOREIGN KEY (leaf_id) REFERENCES leaf $$, 'G3 nor of a dependent');

-- ---- What one batch does to the rows of another ----

CREATE TABLE chain (id int PRIMARY KEY, up int, at timestamptz DEFAULT now() - interval '9 days');
SELECT retention.add_policy('chain', 'chain', '1 day', 'at') \gset
INSERT INTO chain SELECT g, g - 1 FROM generate_series(1, 20) g;
UPDATE chain SET up = NULL WHERE id = 1;
ALTER TABLE chain ADD CONSTRAINT up FOREIGN KEY (up) REFERENCES chain;
SELECT format('SET retention.walk = %L', w), 'DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''chain'', batch_rows => 3, result => r); END $$', 'RESET retention.walk',
       format('SELECT is((SELECT count(*) FROM chain), 0::bigint, %L)', 'G9 ' || w || ': each row refers to the one before it, batch by batch all go'),
       'SELECT is(last(''affected + skipped_blocked * 1000''), ''20'', ''G4 and none is told as blocked'')',
       'INSERT INTO chain SELECT g, NULLIF(g - 1, 0) FROM generate_series(1, 20) g'
  FROM unnest('{blocks,list}'::text[]) w \gexec
TRUNCATE chain;
INSERT INTO chain SELECT g, 21 - g FROM generate_series(1, 20) g;
CALL retention.run('chain', batch_rows => 3) \gset
SELECT is((SELECT count(*) FROM chain), 0::bigint, 'G9 rows that refer to each other from different batches go together');
ALTER TABLE chain DROP CONSTRAINT up, ADD CONSTRAINT up FOREIGN KEY (up) REFERENCES chain ON DELETE SET NULL;
SELECT format('INSERT INTO chain SELECT g, NULLIF(g - 1, 0) FROM generate_series(1, 20) g'), format('SET retention.walk = %L', w),
       format('DO $$ DECLARE r retention.result; BEGIN CALL retention.run(%L, batch_rows => 1, result => r); END $$', policy), 'RESET retention.walk',
       format('SELECT is((SELECT count(*) FROM chain), 0::bigint, %L)', format('G9 %s, %s: rows that the run itself has emptied of their key go too', policy, w))
  FROM unnest('{blocks,list}'::text[]) w, unnest('{chain,chain_judged}'::text[]) policy,
       LATERAL (SELECT retention.add_policy('chain_judged', 'chain', '1 day', 'at', condition => 'EXISTS (SELECT 1)', if_not_exists => true)) x \gexec

-- An update that leaves its rows victims.
CREATE TABLE tick (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users, at timestamptz, n int DEFAULT 0) WITH (fillfactor = 50);
SELECT retention.add_policy('tick_path', 'tick', '90 days', 'last_active', subject => 'users', action => 'update', set_clause => 'n = target.n + 1') \gset
SELECT retention.add_policy('tick_own', 'tick', '1 day', 'at', action => 'update', set_clause => 'n = target.n + 1') \gset
SELECT 'TRUNCATE tick', 'INSERT INTO tick SELECT g, 2 + 2 * (g % 20), now() - interval ''9 days'' FROM generate_series(1, 5000) g', 'DELETE FROM tick WHERE id % 3 = 0', format('SET retention.walk = %L', w),
       format('DO $$ DECLARE r retention.result; BEGIN CALL retention.run(%L, batch_rows => 500, result => r); END $$', policy), 'RESET retention.walk',
       format('SELECT is((SELECT min(n) || '','' || max(n) FROM tick), ''1,1'', %L)', format('G9 %s, walk %s: every row is updated once in a run', policy, w)),
       format('SELECT is(last(''affected'')::bigint, (SELECT count(*) FROM tick), %L)', format('G4 %s, walk %s: and counted once', policy, w))
  FROM unnest('{auto,blocks,list}'::text[]) w, unnest('{tick_path,tick_own}'::text[]) policy \gexec

-- Updates over full pages: the rows of a page take turns, so that most new versions find room on it; one statement finds none.
CREATE TABLE full_page (id int PRIMARY KEY, at timestamptz, note text, status text);
CREATE FUNCTION fill_pages() RETURNS void LANGUAGE sql AS $$
    TRUNCATE full_page;
    INSERT INTO full_page SELECT g, now() - interval '9 days', repeat('x', 100), 'open' FROM generate_series(1, 64000) g $$;
-- How many times as large as before.
CREATE TABLE full_before (pages numeric, keys numeric);
CREATE FUNCTION pages_grown() RETURNS numeric LANGUAGE sql AS $$ SELECT pg_relation_size('policy_run.full_page') / pages FROM policy_run.full_before $$;
CREATE FUNCTION keys_grown() RETURNS numeric LANGUAGE sql AS $$ SELECT pg_relation_size('policy_run.full_page_pkey') / keys FROM policy_run.full_before $$;
SELECT fill_pages() \gset
INSERT INTO full_before SELECT pg_relation_size('full_page'), pg_relation_size('full_page_pkey');
UPDATE full_page SET status = 'over';
SELECT cmp_ok(pages_grown(), '>=', 1.9, 'one UPDATE nearly doubles a full table');
SELECT cmp_ok(keys_grown(), '>=', 1.9, 'and its index');
SELECT retention.add_policy('full_versions', 'full_page', '1 day', 'at', condition => $$target.status = 'open'$$, action => 'update', set_clause => $$status = 'over'$$) \gset
SELECT retention.add_policy('full_judged', 'full_page', '1 day', 'at', condition => $$target.status IN (SELECT 'open')$$, action => 'update', set_clause => $$status = 'over'$$) \gset
SELECT 'DO $$ BEGIN PERFORM fill_pages(); END $$',
       format('DO $$ DECLARE r retention.result; BEGIN CALL retention.run(%L, batch_rows => 1000, result => r); END $$', policy),
       format('SELECT is((SELECT count(*) FROM full_page WHERE status = ''over''), 64000::bigint, %L)', policy || ': every row is updated'),
       format('SELECT cmp_ok(pages_grown(), ''<'', 1.6, %L)', policy || ': updates in batches find room on the pages of the rows'),
       format('SELECT cmp_ok(keys_grown(), ''<'', 1.6, %L)', policy || ': and the index has most of them already')
  FROM unnest('{full_versions,full_judged}'::text[]) policy \gexec

-- Where an update may set off other changes of the table, its rows take no turns.
SELECT fill_pages() \gset
CREATE FUNCTION bump() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE policy_run.full_page SET note = note || '!' WHERE id = 2; RETURN NULL; END $$;
CREATE TABLE turn (id serial, on_it text, off_it text, takes boolean, claim text);
INSERT INTO turn (on_it, off_it, takes, claim) VALUES
    ('SELECT 1', 'SELECT 1', true, 'nothing of the kind'),
    ('CREATE TRIGGER t AFTER UPDATE OF status ON full_page FOR EACH ROW WHEN (old.id IN (1, 3)) EXECUTE FUNCTION bump()', 'DROP TRIGGER t ON full_page', false, 'a trigger that changes a row twice whose turn comes later'),
    ('CREATE RULE t AS ON UPDATE TO full_page DO ALSO SELECT 1', 'DROP RULE t ON full_page', false, 'a rule'),
    ('ALTER TABLE full_page ADD COLUMN up int REFERENCES full_page ON UPDATE CASCADE', 'ALTER TABLE full_page DROP COLUMN up', false, 'a key to the table itself that follows it'),
    ('ALTER TABLE full_page ADD COLUMN up int REFERENCES full_page', 'ALTER TABLE full_page DROP COLUMN up', true, 'a key to the table itself that does not'),
    ('CREATE TABLE full_heir () INHERITS (full_page)', 'DROP TABLE full_heir', true, 'heirs'),
    ('CREATE TABLE full_heir () INHERITS (full_page); CREATE TABLE full_heir_2 () INHERITS (full_heir); CREATE TRIGGER t AFTER UPDATE ON full_heir_2 FOR EACH ROW EXECUTE FUNCTION bump()', 'DROP TABLE full_heir CASCADE', false, 'a trigger on an heir of an heir');
SELECT on_it, 'DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''full_versions'', batch_rows => 16000, result => r); END $$',
       format('SELECT %s(last(''reason''), ''the rows of a page are updated in turns'', %L)', CASE WHEN takes THEN 'matches' ELSE 'doesnt_match' END, 'turns: ' || claim),
       format('SELECT is(last(''affected''), ''64000'', %L)', 'G9 every row is updated once: ' || claim), format('SELECT is((SELECT count(*) FROM full_page WHERE status = ''over''), 64000::bigint, %L)', 'and none is left: ' || claim),
       off_it, 'DO $$ BEGIN PERFORM fill_pages(); END $$'
  FROM turn ORDER BY id \gexec
CALL retention.run('full_versions', max_rows => 10) \gset
SELECT doesnt_match(last('reason'), 'in turns', 'a run of so many rows does not go to as many pages for them');
CREATE TABLE full_child (page_id int REFERENCES full_page, status text);
SELECT retention.alter_policy('full_versions', dependents => 'cascade') \gset
CALL retention.run('full_versions') \gset
SELECT doesnt_match(last('reason'), 'in turns', 'rows that are updated with their dependents take no turns');

-- ---- Limits ----

SELECT fill() \gset
CALL retention.run('ranges', max_rows => 100, batch_rows => 30) \gset
SELECT is(last('stop_reason || '','' || affected || '','' || batches'), 'max_rows,100,4', 'max_rows stops the run at so many rows exactly');
SELECT is((SELECT string_agg(affected::text, ',' ORDER BY batch) FROM retention.ledger WHERE run = (SELECT max(id) FROM retention.runs)), '30,30,30,10', 'G4 the ledger has each batch');
CALL retention.run('ranges', max_runtime => '1 microsecond') \gset
SELECT is(last('stop_reason'), 'max_runtime', 'max_runtime stops it before the next batch');
SELECT throws_ok($$ CALL retention.run('ranges', slice => 1) $$, '22023', 'slice and slices go together', 'E98 G11 half a slice');
SELECT throws_ok($$ CALL retention.run('ranges', slice => 3, slices => 2) $$, '22023', 'there is no slice 3 of 2', 'E99 G11 a slice that is none');
SELECT throws_ok($$ CALL retention.run('ranges', slice => 1, slices => 65) $$, '22023', 'there is no slice 1 of 65', 'E99 G11 more slices than there can be');
SELECT throws_ok($$ CALL retention.run('ranges', max_rows_per_second => 0) $$, '22023', NULL, 'G11 no rows a second');
SELECT throws_ok($$ CALL retention.run('ranges', sleep => '-1 s') $$, '22023', NULL, 'G11 a pause that is negative');
SELECT throws_ok($$ SET retention.walk = 'sideways' $$, '22023', NULL, 'G11 a walk that is none');
SELECT is((SELECT count(*) FROM retention.progress), 0::bigint, 'nothing is under way');

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA policy_run CASCADE;
DROP EXTENSION pg_retention;
