-- What a hostile schema, session or neighbour could try, and what could be told wrongly.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema hostile
\set begin :test '/begin.psql'
\i :begin
SET client_min_messages = error;
SELECT plan(33);
CREATE TABLE words (id int PRIMARY KEY, at timestamptz, note text);
-- The SQLSTATE of a statement, or its message; what it did is taken back.
CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN EXECUTE statement; RAISE 'none' USING ERRCODE = 'P0003'; EXCEPTION WHEN OTHERS THEN RETURN CASE SQLSTATE WHEN 'P0003' THEN 'none' ELSE SQLSTATE END; END $$;
CREATE FUNCTION refusal_message(statement text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN EXECUTE statement; RETURN ''; EXCEPTION WHEN OTHERS THEN RETURN SQLERRM; END $$;

-- An archive is the owner's own table.
CREATE ROLE regress_retention_squatter;
GRANT CREATE, USAGE ON SCHEMA hostile TO regress_retention_squatter;
CREATE TABLE orders (id int PRIMARY KEY, at timestamptz, price numeric(8, 2));
INSERT INTO orders VALUES (1, '2020-01-01', 1.25);
SET ROLE regress_retention_squatter;
CREATE TABLE hostile.orders_archive (id int, at timestamptz, price numeric(8, 2), retention_run_id bigint, archived_at timestamptz);
RESET ROLE;
SELECT throws_ok($$ SELECT retention.add_policy('orders', 'orders', '30 days', 'at', action => 'archive') $$, '42501', NULL,
    'G8 an archive that somebody else has made beforehand is refused');
DROP TABLE orders_archive;
SELECT lives_ok($$ SELECT retention.add_policy('orders', 'orders', '30 days', 'at', action => 'archive') $$, 'without it one is made');
ALTER TABLE orders ALTER price TYPE numeric(12, 4);
SELECT is((SELECT sqlstate || ' ' || affected FROM retention.apply('orders')), '42804 0', 'an archive that would round is an error, not a loss');
ALTER TABLE orders_archive ALTER price TYPE numeric(12, 4);
SELECT is((SELECT affected FROM retention.apply('orders')), 1::bigint, 'and mended by the statement in the hint');
CREATE TEMP TABLE fleeting (LIKE orders_archive);
SELECT throws_ok($$ SELECT retention.add_policy('x', 'orders', '30 days', 'at', action => 'archive', archive_to => 'fleeting') $$, '0A000', NULL,
    'a temporary table is no archive');

-- Ways through a dense graph of keys.
SELECT format('CREATE TABLE dense_%s (id int PRIMARY KEY, at timestamptz, %s)', n,
    concat_ws(', ', 'a int', (SELECT string_agg(format('k%s int CONSTRAINT d%s_k%s REFERENCES dense_%s', m, n, m, m), ', ') FROM generate_series(greatest(1, n - 6), n - 1) m)))
  FROM generate_series(1, 40) n \gexec
SELECT throws_ok($$ SELECT retention.add_policy('dense', 'dense_40', '1 day', 'at', subject => 'dense_1') $$, '42P08', NULL, 'very many paths are an error, and soon');
SELECT lives_ok($$ SELECT retention.add_policy('dense', 'dense_3', '1 day', 'at', subject => 'dense_1', path => '{d3_k2,d2_k1}') $$, 'a path may be named');

-- Names of constraints are not unique in a schema.
CREATE TABLE p (id int PRIMARY KEY, at timestamptz);
CREATE TABLE ca (p int CONSTRAINT fk_parent REFERENCES p DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE cb (p int CONSTRAINT fk_parent REFERENCES p);
SELECT retention.add_policy('p', 'p', '1 day', 'at') \gset
INSERT INTO p VALUES (1, '2020-01-01');
SELECT is((SELECT sqlstate FROM retention.apply('p')), '55000', 'a deferrable constraint whose name means another too is an error that says so');
ALTER TABLE cb RENAME CONSTRAINT fk_parent TO fk_other;
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
SELECT is((SELECT affected FROM retention.apply('p')), 1::bigint, 'deferred constraints are checked at once');
COMMIT;

-- Triggers and rules of a partitioned table see what its parts lose.
CREATE TABLE parted (id int, at timestamptz) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_2 PARTITION OF parted DEFAULT;
CREATE TABLE audit (n bigint);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO hostile.audit SELECT count(*) FROM old_rows; RETURN NULL; END $$;
CREATE TRIGGER t AFTER DELETE ON parted REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION note();
INSERT INTO parted SELECT g, '2020-01-01' FROM generate_series(1, 20) g;
SELECT retention.add_policy('parted', 'parted', '1 day', 'at') \gset
SELECT is((SELECT affected FROM retention.apply('parted')), 20::bigint, 'rows of all parts go');
SELECT is((SELECT sum(n) FROM audit), 20::numeric, 'and a statement trigger of the whole sees each of them');

-- A policy that runs itself.
CREATE TABLE own (id int PRIMARY KEY, at timestamptz);
CREATE TABLE said (reason text);
INSERT INTO own VALUES (1, '2020-01-01'), (2, '2020-01-01');
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO hostile.said SELECT stop_reason FROM retention.apply('own'); RETURN OLD; END $$;
CREATE TRIGGER t BEFORE DELETE ON own FOR EACH ROW EXECUTE FUNCTION again();
SELECT retention.add_policy('own', 'own', '1 day', 'at') \gset
SELECT is((SELECT affected FROM retention.apply('own')), 2::bigint, 'G10 a trigger that runs its own policy again does not stop it');
SELECT is((SELECT string_agg(DISTINCT reason, ',') FROM said), 'running', 'G10 it is told that the policy is running');

-- Rows that our own transaction holds.
CREATE TABLE mine (id int PRIMARY KEY, at timestamptz);
INSERT INTO mine VALUES (1, '2020-01-01'), (2, '2020-01-01');
SELECT retention.add_policy('mine', 'mine', '1 day', 'at') \gset
BEGIN;
SELECT id FROM mine WHERE id = 1 FOR UPDATE \gset
SELECT id FROM mine WHERE id = 2 FOR KEY SHARE \gset
SELECT is((SELECT row(affected, skipped_locked)::text FROM retention.apply('mine')), '(2,0)', 'G9 rows that the caller has locked are not locked by somebody else');
COMMIT;

-- A condition that empties the target under the run.
CREATE TABLE rug (id int PRIMARY KEY, at timestamptz);
CREATE TABLE sign (rug int, at timestamptz);
INSERT INTO rug SELECT g, '2020-01-01' FROM generate_series(1, 50) g;
CREATE FUNCTION pull(int) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN EXECUTE 'TRUNCATE hostile.rug'; RETURN true; END $$;
INSERT INTO sign VALUES (1, '2020-01-01');
SELECT retention.add_policy('rug', 'rug', '1 day', 'at') \gset
SELECT retention.add_activity('rug', 'sign', 'at', 'activity.rug = subject.id', 'hostile.pull(activity.rug)') \gset
SELECT is((SELECT sqlstate FROM retention.apply('rug')), '55006', 'the target cannot be truncated under its own run');
SELECT is((SELECT count(*) FROM rug), 50::bigint, 'and nothing is gone');

-- The committing form.
CREATE TABLE many (id int PRIMARY KEY, at timestamptz);
INSERT INTO many SELECT g, '2020-01-01' FROM generate_series(1, 1000) g;
SELECT retention.add_policy('many', 'many', '1 day', 'at') \gset
CALL retention.run('many', batch_rows => 100, max_rows => 450) \gset
SELECT is((SELECT row(success, affected, subjects, batches, stop_reason)::text FROM retention.runs WHERE policy = 'many'), '(t,450,450,5,max_rows)',
    'G4 retention.run stops at max_rows and tells what it did');
CALL retention.run('many') \gset
SELECT is((SELECT count(*) FROM many), 0::bigint, 'and run again it does the rest');
SELECT is((SELECT sum(affected) FROM retention.ledger WHERE policy = 'many'), 1000::numeric, 'G4 the ledger has every row');
SELECT throws_ok($$ CALL retention.run('many') $$, '2D000', NULL, 'inside a transaction block it is refused');

-- Keys of several columns.
CREATE TABLE users (tenant int, id int, last_active timestamptz, PRIMARY KEY (tenant, id));
CREATE TABLE carts (id int PRIMARY KEY, tenant int, user_id int, FOREIGN KEY (tenant, user_id) REFERENCES users);
CREATE TABLE cart_items (id int PRIMARY KEY, cart_id int REFERENCES carts);
INSERT INTO users VALUES (1, 1, '2020-01-01'), (1, 2, '2020-01-01');
SELECT is((SELECT string_agg(user_id, ' ' ORDER BY user_id) FROM get_user_activity()), '(1,1) (1,2)', 'users with a key of two columns are two users');
SELECT retention.add_policy('inactive_sessions', 'mine', '1 day', 'at') \gset
SELECT throws_ok('SELECT get_inactive_sessions_preview()', '55000', NULL, 'a policy of a preset''s name and another shape is an error that says so');

-- Lists that a definition must be able to work with.
SELECT throws_ok($$ SELECT retention.add_policy('lists', 'mine', '1 day', time_columns => array_fill('at'::name, ARRAY[100000])) $$, '22023', 'time_columns has column "at" more than once', 'G11 a hundred thousand times the same column is an error, and soon');
SELECT throws_ok($$ SELECT retention.add_policy('lists', 'mine', '1 day', 'at', keep_latest => 1, keep_per => '{id,id}') $$, '22023', 'keep_per has column "id" more than once', 'G11 so is a group by one column twice');
SELECT throws_ok($$ SELECT retention.add_dependent('many', 'mine', 'dependent.id = target.id', parent => 1) $$, '42P01', NULL, 'G11 a parent that does not exist is an error');
SELECT ok(refusal(format('SELECT retention.preview(%L)', repeat('x', 1000000))) = '42704' AND length(refusal_message(format('SELECT retention.preview(%L)', repeat('x', 1000000)))) < 1100, 'G11 a message does not repeat a megabyte');

-- A second statement is refused by the parser; a semicolon in a string is none.
SELECT is((SELECT string_agg(text, ' | ') FROM (VALUES ('true; DROP TABLE mine'), ('true;'), (';true'), ('true); DROP TABLE mine; --'), ('true) OR (true'), (E'true -- )\n); DROP TABLE mine'), ('true /*'), ('EXISTS (SELECT 1; DROP TABLE mine)'), ('$$;'), ('E''\''; DROP TABLE mine'),
            ('SELECT true'), ('(SELECT true'), ('true UNION SELECT true'), ('true AS x'), ('true, true'), ('true INTO x'), ('EXISTS (DELETE FROM mine RETURNING 1)')) AS v (text)
    WHERE refusal(format($$ SELECT retention.add_policy('second', 'mine', '1 day', 'at', condition => %L) $$, text)) <> '42601'), NULL, 'G11 whatever follows a condition, or leaves it open, is a syntax error');
SELECT is((SELECT string_agg(text, ' | ') FROM (VALUES ('note = 1; DROP TABLE mine'), ('note = 1;'), ('note = 1 WHERE true'), ('note = 1 FROM mine'), ('note = 1 RETURNING 1'), ('note = 1) --'), ('note = 1 /*')) AS v (text)
    WHERE refusal(format($$ SELECT retention.add_policy('second', 'words', '1 day', 'at', action => 'update', set_clause => %L) $$, text)) <> '42601'), NULL, 'G11 whatever follows a set clause is too');
SELECT isnt(refusal($$ SELECT retention.add_policy('second', 'mine', '1 day', 'at', condition => 'EXISTS (WITH d AS (DELETE FROM hostile.mine RETURNING 1) SELECT FROM d)') $$), 'none', 'G11 a condition that would change rows is refused');
SELECT is((SELECT string_agg(refusal(format($$ SELECT retention.add_policy('second', 'words', '1 day', 'at', action => 'update', set_clause => %L, condition => %L) $$, 'note = ' || text, text || ' <> note')), ' ')
    FROM (VALUES ($q$';'$q$), ($q$'; DROP TABLE mine; --'$q$), ($q$$$;'$$$q$), ($q$$a$;$a$$q$), ($q$E'\\';'$q$), ($q$U&'\003b'$q$), ($q$'--'$q$), ($q$'/*'$q$), ($q$' target SET '$q$), ($q$' AS pg_retention_expression FROM '$q$)) AS v (text)),
    'none none none none 42601 none none none none none', 'G11 in strings all of that is legal');

-- Names that hold the words the engine looks for.
CREATE TABLE """"""""""""""""""""""" target SET " (id int PRIMARY KEY, at timestamptz, " AS pg_retention_expression" int, " SELECT " text);
INSERT INTO """"""""""""""""""""""" target SET " VALUES (1, '2020-01-01', 1, 'a');
SELECT lives_ok($$ SELECT retention.add_policy('named', '""""""""""""""""""""""" target SET "', '1 day', 'at', action => 'update', set_clause => '" AS pg_retention_expression" = 2', condition => '" AS pg_retention_expression" = 1 AND " SELECT " = ''a''') $$, 'G11 a table may be named like a piece of a statement');
SELECT is((SELECT row(success, affected)::text FROM retention.apply('named')), '(t,1)', 'G11 and its rows are updated');
SELECT is((SELECT " AS pg_retention_expression" FROM """"""""""""""""""""""" target SET "), 2, 'G11 as they should be');

SELECT * FROM finish();
SELECT count(retention.remove_policy(name)) AS removed FROM retention.policies WHERE name IN ('orders', 'dense', 'p', 'parted', 'own', 'mine', 'rug', 'many', 'named', 'inactive_sessions') \gset
DROP SCHEMA hostile CASCADE;
DROP ROLE regress_retention_squatter;
