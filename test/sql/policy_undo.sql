-- Taking back what a run archived.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_undo
\set begin :test '/begin.psql'
\i :begin
SET client_min_messages = error;
SET timezone = 'UTC';
SELECT plan(98);

\i :functions

-- The last run that archived, and what a restore of it did: rows of the target, those that stay, dependents.
CREATE FUNCTION last_run() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT max(id) FROM retention.runs WHERE action = 'archive' AND affected > 0 $$;
CREATE FUNCTION back(run bigint, partial boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    did retention.result := retention.restore(run, partial);
BEGIN
    IF NOT did.success THEN RETURN did.sqlstate || ' ' || did.message; END IF;
    RETURN did.affected || CASE WHEN did.skipped_blocked > 0 THEN ' stay ' || did.skipped_blocked ELSE '' END
           || CASE WHEN did.dependents <> '{}' THEN ' ' || did.dependents::text ELSE '' END;
END $$;
CREATE FUNCTION stay() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT COALESCE(string_agg(concat_ws(' ', replace(relation, 'policy_undo.', ''), sqlstate, rows), ', ' ORDER BY relation, sqlstate), 'none')
      FROM retention.unrestored WHERE run = (SELECT max(id) FROM retention.runs WHERE action = 'restore') $$;

-- ---- Families ----

CREATE TABLE users (id int PRIMARY KEY);
INSERT INTO users VALUES (1), (2);
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz, buyer int REFERENCES users, total int CHECK (total >= 0), double int GENERATED ALWAYS AS (total * 2) STORED);
CREATE TABLE "order" ("select" int, "from" int NOT NULL REFERENCES orders, "A ""b" text DEFAULT 'x', PRIMARY KEY ("from", "select"));
CREATE TABLE notes (id int PRIMARY KEY, o int, l int, body text, FOREIGN KEY (o, l) REFERENCES "order");
INSERT INTO orders (at, buyer, total) SELECT ago(100 + g), 1, g FROM generate_series(1, 4) g;
INSERT INTO orders (at, buyer, total) VALUES (ago(1), 2, 5);
INSERT INTO "order" SELECT g, id FROM orders, generate_series(1, 2) g;
INSERT INTO notes SELECT id, id, 1, 'note ' || id FROM orders;
CREATE TABLE before_orders AS SELECT * FROM orders;
CREATE TABLE before_lines AS SELECT * FROM "order";
CREATE TABLE before_notes AS SELECT * FROM notes;
SELECT retention.add_policy('old', 'orders', '90 days', 'at', action => 'archive', dependents => 'cascade') \gset
SELECT is(run('old'), '4 {"policy_undo.notes": 4, "policy_undo.order": 8}', 'a run archives rows with two levels of dependents');
SELECT is(back(last_run()), '4 {"policy_undo.notes": 4, "policy_undo.order": 8}', 'G3 restore puts the rows of a run and their dependents back');
SELECT is((SELECT count(*) FROM ((TABLE orders EXCEPT TABLE before_orders) UNION ALL (TABLE before_orders EXCEPT TABLE orders)) d), 0::bigint, 'the rows are what they were: identity columns that are always generated, generated columns');
SELECT is((SELECT count(*) FROM ((TABLE "order" EXCEPT TABLE before_lines) UNION ALL (TABLE before_lines EXCEPT TABLE "order")) d), 0::bigint, 'and so are dependents, with reserved words and quotes in their names');
SELECT is((SELECT count(*) FROM ((TABLE notes EXCEPT TABLE before_notes) UNION ALL (TABLE before_notes EXCEPT TABLE notes)) d), 0::bigint, 'and those that hang on dependents by a key of two columns');
SELECT is(rows_of('SELECT count(*) FROM orders_archive UNION ALL SELECT count(*) FROM order_archive UNION ALL SELECT count(*) FROM notes_archive'), '(0) (0) (0)', 'restored rows leave the archive');
SELECT is((SELECT action || ' ' || affected || ' ' || policy || ' ' || (statistics ->> 'restored_run' = last_run()::text) FROM retention.runs ORDER BY id DESC LIMIT 1), 'restore 4 old true', 'a restore is a run of its own in retention.runs, and tells which run it took back');
SELECT is((SELECT string_agg(relation || ' ' || action || ' ' || affected, ', ' ORDER BY relation) FROM retention.ledger WHERE run = (SELECT max(id) FROM retention.runs)), 'policy_undo.notes dependent 4, policy_undo.order dependent 8, policy_undo.orders restore 4', 'G4 and its rows are in the ledger, table by table');
SELECT ok((SELECT message LIKE '%they are due again at the next run of policy "old": pause it, or place a hold%' FROM retention.runs ORDER BY id DESC LIMIT 1), 'the message says that the rows are due again, and what to do about it');
SELECT is((SELECT last_run_id FROM retention.status WHERE policy = 'old'), last_run(), 'to retention.status it is no run of the policy');
SELECT is(back(last_run()), '0 {"policy_undo.notes": 0, "policy_undo.order": 0}', 'restoring again restores what is left: nothing');
SELECT is((SELECT message FROM retention.runs ORDER BY id DESC LIMIT 1), 'Put 0 rows of policy_undo.orders back', 'and says so');
SELECT retention.pause_policy('old') \gset
SELECT is((SELECT affected FROM retention.apply('old')), 0::bigint, 'a paused policy');
SELECT retention.resume_policy('old') \gset

SELECT run('old') \gset did_
INSERT INTO orders (id, at) OVERRIDING SYSTEM VALUE VALUES (2, now());
SELECT is(back(last_run()), '3 stay 1 {"policy_undo.notes": 3, "policy_undo.order": 6}', 'G3 a row whose key is taken stays with all that belongs to it, the others return');
SELECT is(stay(), 'notes 23505 1, order 23505 2, orders 23505 1', 'what stays is counted by table and SQLSTATE');
SELECT is((SELECT sample_keys::text FROM retention.unrestored WHERE relation = 'policy_undo.order'), '[{"from": 2, "select": 1}, {"from": 2, "select": 2}]', 'and listed by key');
SELECT is(rows_of('SELECT id FROM orders_archive UNION ALL SELECT "from" * 10 + "select" FROM order_archive'), '(2) (21) (22)', 'it is still in the archive');
DELETE FROM orders WHERE id = 2;
SELECT is(back(last_run()), '1 {"policy_undo.notes": 1, "policy_undo.order": 2}', 'once the key is free, restoring again brings it too');

SELECT run('old') \gset did_
INSERT INTO notes VALUES (3, 5, 1, 'mine');
SELECT is(back(last_run()), '3 stay 1 {"policy_undo.notes": 3, "policy_undo.order": 6}', 'G3 a dependent that does not fit keeps the row that it belongs to');
SELECT is(back(last_run(), true), '1 {"policy_undo.notes": 0, "policy_undo.order": 2}', 'with partial the row returns without it');
SELECT is(stay(), 'notes 23505 1', 'and what does not fit is told');
DELETE FROM notes WHERE id = 3;
SELECT is(back(last_run()), '0 {"policy_undo.notes": 1, "policy_undo.order": 0}', 'a dependent that was left returns when it fits');

SELECT run('old') \gset did_
ALTER TABLE orders ADD CONSTRAINT small CHECK (total < 4) NOT VALID, ALTER buyer SET NOT NULL;
UPDATE orders_archive SET buyer = NULL WHERE id = 1;
UPDATE orders_archive SET buyer = 77 WHERE id = 2;
SELECT is(back(last_run()), '1 stay 3 {"policy_undo.notes": 1, "policy_undo.order": 2}', 'rows that a check, a not-null or a foreign key refuses stay, and what was changed in the archive by hand is seen');
SELECT is(stay(), 'notes 23502 1, notes 23503 1, notes 23514 1, order 23502 2, order 23503 2, order 23514 2, orders 23502 1, orders 23503 1, orders 23514 1', 'each family under the SQLSTATE of what does not fit');
SELECT is(back(last_run(), true) || ': ' || stay(), '0 stay 3 {"policy_undo.notes": 0, "policy_undo.order": 0}: notes 23503 3, order 23503 6, orders 23502 1, orders 23503 1, orders 23514 1', 'G3 no dependent returns without its row, with partial neither');
ALTER TABLE orders DROP CONSTRAINT small, ALTER buyer DROP NOT NULL;
UPDATE orders_archive SET buyer = 1;
DELETE FROM order_archive WHERE "from" = 1;
SELECT is(back(last_run()) || ': ' || stay(), '3 {"policy_undo.notes": 2, "policy_undo.order": 4}: notes 23503 1', 'G3 a dependent whose row was deleted from the archive stays, and is told');
DELETE FROM notes_archive;

-- ---- What binds rows ----

CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree, at timestamptz, favourite int);
CREATE TABLE leaf (id int PRIMARY KEY, node int NOT NULL REFERENCES tree);
ALTER TABLE tree ADD FOREIGN KEY (favourite) REFERENCES leaf;
INSERT INTO tree SELECT g, NULLIF(g - 1, 0), ago(100) FROM generate_series(1, 6) g;
INSERT INTO leaf SELECT g, g FROM generate_series(1, 6) g;
UPDATE tree SET favourite = 7 - id, up = CASE id WHEN 1 THEN 6 ELSE up END;
SELECT retention.add_policy('tree', 'tree', '90 days', 'at', action => 'archive', dependents => 'cascade') \gset
SELECT is(run('tree'), '6 {"policy_undo.leaf": 6, "policy_undo.tree": 0}', 'rows in circles of keys are archived');
SELECT is(back(last_run()), '6 {"policy_undo.leaf": 6}', 'and return: self-references and cycles of keys that cannot be deferred');
SELECT is(rows_of('SELECT id, up, favourite FROM tree'), '(1,6,6) (2,1,5) (3,2,4) (4,3,3) (5,4,2) (6,5,1)', 'as they were');
SELECT run('tree') \gset did_
INSERT INTO leaf_archive SELECT 9, 77, retention_run_id, archived_at FROM leaf_archive LIMIT 1;
SELECT is(back(last_run(), true) || ': ' || stay(), '6 {"policy_undo.leaf": 6}: leaf 23503 1', 'a row put into the archive by hand stays, where its parent is not there');
SELECT retention.remove_policy('tree') \gset

CREATE TABLE posts (id int PRIMARY KEY, at timestamptz);
CREATE TABLE votes (kind text, about int, n int);
INSERT INTO posts SELECT g, ago(100) FROM generate_series(1, 3) g;
INSERT INTO votes SELECT 'post', g, g FROM generate_series(1, 3) g UNION ALL SELECT 'user', 1, 9;
SELECT retention.add_policy('posts', 'posts', '90 days', 'at', action => 'archive') \gset
SELECT retention.add_dependent('posts', 'votes', $$ dependent.kind = 'post' AND dependent.about = target.id $$) \gset
SELECT is(run('posts'), '3 {"policy_undo.votes": 3}', 'dependents that no key binds are archived along');
INSERT INTO posts VALUES (2, now());
DELETE FROM posts_archive WHERE id = 3;
SELECT is(back(last_run()) || ': ' || stay() || ': ' || rows_of('TABLE votes'), '1 stay 1 {"policy_undo.votes": 1}: posts 23505 1, votes 23503 1, votes 23505 1: (post,1,1) (user,1,9)', 'G3 they return with their row only: not where its key is taken, not where it is gone');
SELECT retention.remove_policy('posts') \gset

CREATE TABLE boxes (id int PRIMARY KEY, at timestamptz);
CREATE TABLE labels (id int PRIMARY KEY, box int REFERENCES boxes);
INSERT INTO boxes VALUES (1, ago(100));
INSERT INTO labels VALUES (1, 1);
SELECT retention.add_policy('boxes', 'boxes', '90 days', 'at', action => 'archive') \gset
SELECT retention.add_dependent('boxes', 'labels', action => 'set_null') \gset
SELECT is(run('boxes'), '1 {"policy_undo.labels": 1}', 'dependents that are emptied of their key are not archived');
SELECT is(back(last_run()), '1', 'their row returns');
SELECT ok((SELECT message LIKE '%references in policy_undo.labels that the policy emptied stay empty%' FROM retention.runs ORDER BY id DESC LIMIT 1), 'and it is told that references to it stay empty');
SELECT retention.remove_policy('boxes') \gset

CREATE TABLE late (id int PRIMARY KEY, at timestamptz, n int UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO late SELECT g, ago(100), g FROM generate_series(1, 3) g;
SELECT retention.add_policy('late', 'late', '90 days', 'at', action => 'archive') \gset
SELECT run('late') \gset did_
INSERT INTO late VALUES (9, now(), 2);
SELECT is(back(last_run()) || ': ' || stay(), '2 stay 1: late 23505 1', 'G8 a constraint that is deferred at first is checked while the restore acts, not at the caller''s commit');
SELECT retention.remove_policy('late') \gset

-- ---- Tables that have changed ----

CREATE TABLE wares (id int PRIMARY KEY, at timestamptz, name text, gone text, kind text);
CREATE FUNCTION stock() RETURNS void LANGUAGE sql AS $$
    TRUNCATE policy_undo.wares;
    INSERT INTO policy_undo.wares (id, at, name) SELECT g, policy_undo.ago(100), 'ware ' || g FROM generate_series(1, 4) g $$;
SELECT stock() \gset
UPDATE wares SET gone = 'x' WHERE id = 2;
SELECT retention.add_policy('wares', 'wares', '90 days', 'at', action => 'archive') \gset
SELECT run('wares') \gset did_
ALTER TABLE wares DROP COLUMN gone, ADD COLUMN fresh text NOT NULL DEFAULT 'new';
SELECT is(back(last_run()) || ': ' || stay(), '3 stay 1: wares 42703 1', 'a row with a value in a column that was dropped stays, those without return');
SELECT is(rows_of('SELECT id, fresh FROM wares'), '(1,new) (3,new) (4,new)', 'a column that was added gets its default');
ALTER TABLE wares_archive DROP COLUMN gone;
SELECT is(back(last_run()), '1', 'once the archive has let go of it, the row returns');
ALTER TABLE wares DROP COLUMN fresh;
SELECT run('wares') \gset did_
ALTER TABLE wares ADD COLUMN fresh text NOT NULL;
SELECT is(back(last_run()) || ': ' || stay(), '0 stay 4: wares 23502 4', 'a column that must have a value and has no default keeps every row in the archive');
ALTER TABLE wares DROP COLUMN fresh;
ALTER TABLE wares RENAME name TO title;
SELECT is(back(last_run()) || ': ' || stay(), '0 stay 4: wares 42703 4', 'a column that was renamed is one that is gone: nothing is lost');
ALTER TABLE wares RENAME title TO name;
ALTER TABLE wares ALTER kind TYPE int USING 0;
SELECT is(back(last_run()), '42804 column "kind" is of type integer but expression is of type text', 'a column of another type is an error that says so');
ALTER TABLE wares DROP COLUMN kind;
ALTER TABLE wares RENAME TO "Wares, all";
ALTER TABLE wares_archive RENAME TO attic;
SELECT is(back(last_run()) || ': ' || ids('"Wares, all"'), '4: 1 2 3 4', 'table and archive are known by what they are, not by their names');
ALTER TABLE "Wares, all" RENAME TO wares;
SELECT run('wares') \gset did_
SELECT retention.alter_policy('wares', action => 'delete', reset => '{archive_to}') \gset
SELECT is(back(last_run()), '4', 'a policy that archives no more does not matter');
SELECT retention.alter_policy('wares', action => 'archive', archive_to => 'attic') \gset
SELECT run('wares') \gset did_
SELECT retention.remove_policy('wares') \gset
SELECT is(back(last_run()), '4', 'nor does one that was removed');
SELECT ok((SELECT message NOT LIKE '%due again%' FROM retention.runs ORDER BY id DESC LIMIT 1), 'whose rows are not due again');
SELECT retention.add_policy('wares', 'wares', '90 days', 'at', action => 'archive', archive_to => 'attic') \gset
SELECT run('wares') \gset did_
DROP TABLE wares;
SELECT is(back(last_run()), '42P01 table policy_undo.wares no longer exists', 'a table that is gone is an error that says so');
CREATE TABLE wares (id int PRIMARY KEY, at timestamptz, name text);
SELECT is(back(last_run()), '4', 'a table that was made again takes the rows of its name');
SELECT retention.remove_policy('wares') \gset
DROP TABLE wares;
CREATE TABLE wares (id int PRIMARY KEY, at timestamptz, name text);
SELECT stock() \gset
SELECT retention.add_policy('wares', 'wares', '90 days', 'at', action => 'archive', archive_to => 'attic') \gset
SELECT run('wares') \gset did_
CREATE ROLE policy_undo_stranger;
DROP TABLE wares;
CREATE TABLE wares (id int PRIMARY KEY, at timestamptz, name text);
ALTER TABLE wares OWNER TO policy_undo_stranger;
SELECT is(back(last_run()), '42P01 table policy_undo.wares no longer exists', 'G8 but not that of another owner, who would see them');
SELECT retention.remove_policy('wares') \gset
DROP TABLE wares, attic;

CREATE TABLE logs (id int, at timestamptz, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE logs_old PARTITION OF logs FOR VALUES FROM ('2001-01-01') TO ('2002-01-01');
CREATE TABLE logs_older PARTITION OF logs FOR VALUES FROM ('2000-01-01') TO ('2001-01-01');
INSERT INTO logs VALUES (1, '2000-06-01'), (2, '2000-07-01'), (3, '2001-06-01');
SELECT retention.add_policy('logs', 'logs', '90 days', 'at', action => 'archive') \gset
SELECT run('logs') \gset did_
DROP TABLE logs_older;
SELECT is(back(last_run()) || ': ' || stay(), '1 stay 2: logs 23514 2', 'rows of a partition that is no longer there stay, those of the others return');
CREATE TABLE logs_all PARTITION OF logs DEFAULT;
SELECT is(back(last_run()), '2', 'wherever the table puts them now');
SELECT retention.remove_policy('logs') \gset

CREATE TABLE heirs (id int PRIMARY KEY, at timestamptz);
CREATE TABLE heir () INHERITS (heirs);
INSERT INTO heir VALUES (1, ago(100));
SELECT retention.add_policy('heirs', 'heirs', '90 days', 'at', action => 'archive') \gset
SELECT run('heirs') \gset did_
SELECT is(back(last_run()), '0A000 rows of policy_undo.heirs cannot be put back: other tables inherit from it', 'G12 rows of tables that inherit are refused: nothing tells where they came from');
SELECT retention.remove_policy('heirs') \gset

-- ---- Triggers and exclusion ----

CREATE TABLE rooms (id int PRIMARY KEY, at timestamptz, during int4range, EXCLUDE USING gist (during WITH &&));
CREATE FUNCTION grumble() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id = 3 THEN RAISE 'not three' USING ERRCODE = 'P0003'; END IF;
    IF NEW.id = 5 THEN RETURN NULL; END IF;
    RETURN NEW;
END $$;
INSERT INTO rooms SELECT g, ago(100), int4range(g * 10, g * 10 + 5) FROM generate_series(1, 8) g;
SELECT retention.add_policy('rooms', 'rooms', '90 days', 'at', action => 'archive') \gset
SELECT run('rooms') \gset did_
CREATE TRIGGER grumble BEFORE INSERT ON rooms FOR EACH ROW EXECUTE FUNCTION grumble();
INSERT INTO rooms VALUES (100, now(), '[71,72]');
SELECT is(back(last_run()) || ': ' || stay(), '5 stay 3: rooms 23001 1, rooms 23P01 1, rooms P0003 1', 'rows that a trigger refuses or swallows, or that exclude each other, are found among the others by halves');
SELECT is(ids('rooms') || ' and ' || ids('rooms_archive'), '1 2 4 6 8 100 and 3 5 7', 'G4 each row is in one place');
DROP TRIGGER grumble ON rooms;
CREATE FUNCTION mend() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.during := NULL; RETURN NEW; END $$;
CREATE TRIGGER mend BEFORE INSERT ON rooms FOR EACH ROW EXECUTE FUNCTION mend();
SELECT is(back(last_run()), '3', 'a trigger that makes rows fit is asked');
SELECT retention.remove_policy('rooms') \gset

-- ---- Errors and rights ----

SELECT throws_ok('SELECT retention.restore(NULL)', '22004', 'run_id must not be null', 'G11 restore wants a run');
SELECT throws_ok('SELECT retention.restore(987654321)', '42704', 'run 987654321 does not exist', 'G11 one that is there');
SELECT throws_ok('SELECT retention.restore(-1)', '42704', 'run -1 does not exist', 'G11 and not a number below nought');
SELECT throws_ok(format('SELECT retention.restore(%s)', (SELECT max(id) FROM retention.runs WHERE action = 'restore')), '55000', NULL, 'G11 a restore cannot be restored');
CREATE TABLE plain (id int PRIMARY KEY, at timestamptz, state text);
INSERT INTO plain VALUES (1, ago(100), 'open'), (2, ago(100), 'shut');
SELECT retention.add_policy('plain', 'plain', '90 days', 'at', condition => $$ state = 'shut' $$) \gset
SELECT run('plain') \gset did_
SELECT throws_ok(format('SELECT retention.restore(%s)', (SELECT max(id) FROM retention.runs)), '55000', NULL, 'G11 nor a run that deleted');
SELECT retention.alter_policy('plain', action => 'update', set_clause => $$ state = 'done' $$, reset => '{condition}') \gset
SELECT run('plain') \gset did_
SELECT throws_ok(format('SELECT retention.restore(%s)', (SELECT max(id) FROM retention.runs)), '55000', NULL, 'G11 nor one that updated');
SELECT retention.remove_policy('plain') \gset

CREATE ROLE policy_undo_owner;
CREATE ROLE policy_undo_operator;
GRANT USAGE, CREATE ON SCHEMA policy_undo TO policy_undo_owner;
GRANT USAGE ON SCHEMA policy_undo TO policy_undo_operator;
GRANT EXECUTE ON FUNCTION retention.add_policy, retention.add_purge, retention.remove_policy TO policy_undo_owner;
GRANT EXECUTE ON FUNCTION retention.restore, retention.apply TO policy_undo_owner, policy_undo_operator;
SET ROLE policy_undo_owner;
CREATE TABLE mine (id int PRIMARY KEY, at timestamptz);
INSERT INTO mine SELECT g, policy_undo.ago(100) FROM generate_series(1, 3) g;
SELECT retention.add_policy('mine', 'mine', '90 days', 'at', action => 'archive') \gset
SELECT affected FROM retention.apply('mine') \gset
RESET ROLE;
SELECT last_run() AS run \gset
SET ROLE policy_undo_operator;
SELECT throws_ok(format('SELECT retention.restore(%s)', :run), '42501', 'must be owner of policy "mine"', 'G8 who may run a policy may not take its runs back');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION retention.restore FROM policy_undo_owner;
SET ROLE policy_undo_owner;
SELECT throws_ok(format('SELECT retention.restore(%s)', :run), '42501', 'permission denied for function restore', 'G8 nor who was not granted EXECUTE');
RESET ROLE;
GRANT EXECUTE ON FUNCTION retention.restore TO policy_undo_owner;
SET ROLE policy_undo_owner;
CREATE FUNCTION rob() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'as %', current_user USING ERRCODE = 'P0009'; END $$;
CREATE CONSTRAINT TRIGGER rob AFTER INSERT ON mine DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rob();
RESET ROLE;
SELECT is(back(:run), '0 stay 3', 'G8 a deferred trigger of the owner''s does not wait for a superuser''s commit');
SELECT is((SELECT message FROM retention.unrestored ORDER BY run DESC LIMIT 1), 'as policy_undo_owner', 'G8 and runs as the owner');
DROP TRIGGER rob ON mine;
ALTER TABLE mine OWNER TO policy_undo_stranger;
SELECT is(back(:run), '42501 permission denied to insert into policy_undo.mine', 'G8 an owner who has lost rights on the table restores nothing');
ALTER TABLE mine OWNER TO policy_undo_owner;
ALTER TABLE mine ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT is((SELECT success FROM retention.restore(:run)), false, 'G8 row security that would hide rows is an error, not a silent nothing');
ALTER TABLE mine DISABLE ROW LEVEL SECURITY;
SET ROLE policy_undo_owner;
SELECT is((SELECT affected FROM retention.restore(:run)), 3::bigint, 'the owner takes a run back');
RESET ROLE;
SELECT is((SELECT run_by || ' ' || runs_as FROM retention.runs ORDER BY id DESC LIMIT 1), 'policy_undo_owner policy_undo_owner', 'and is told as who did it');

-- ---- The end of archives ----

CREATE TABLE people (id int PRIMARY KEY);
INSERT INTO people VALUES (1);
CREATE TABLE cases (id int PRIMARY KEY, at timestamptz, up int REFERENCES cases, person int REFERENCES people);
CREATE TABLE "case's files" (id int PRIMARY KEY, "case" int REFERENCES cases, part_of int REFERENCES "case's files");
INSERT INTO cases SELECT g, ago(100), NULLIF(g - 1, 0), CASE g WHEN 1 THEN 1 END FROM generate_series(1, 4) g;
INSERT INTO "case's files" VALUES (1, 1, NULL), (2, NULL, 1), (3, 2, NULL);
SELECT retention.add_policy('cases', 'cases', '90 days', 'at', action => 'archive', dependents => 'cascade') \gset
SELECT is(run('cases'), '4 {"policy_undo.cases": 0, "policy_undo.case''s files": 3}', 'families are archived');
SELECT is(retention.add_purge('cases', '1 year', run_order => 5), 'cases_purge', 'add_purge makes a policy');
SELECT is((SELECT target::text || ' ' || action || ' ' || (expire_after = '1 year') || ' ' || run_order FROM retention.policies WHERE name = 'cases_purge'), 'cases_archive delete true 5', 'over the archive, by the time of archiving');
SELECT is(run('cases_purge'), '0 {"policy_undo.case''s files_archive": 0}', 'that leaves what is younger');
UPDATE cases_archive SET archived_at = ago(400) WHERE id IN (1, 2);
UPDATE "case's files_archive" SET archived_at = ago(400) WHERE id < 3;
SELECT retention.add_hold('cases', 'target.id = 2', 'court') AS hold \gset
SELECT retention.add_hold('people', key => '{"id": 1}', reason => 'court') AS parent \gset
SELECT is((SELECT affected || ' held ' || skipped_held || ' ' || ids('cases_archive') || ', ' || ids('"case''s files_archive"') FROM retention.apply('cases_purge')), '0 held 2 1 2 3 4, 1 2 3', 'G6 a hold on a table keeps the archived copies of its rows, one on what they refer to does too, and what belongs to them stays');
SELECT retention.release_hold(:parent, 'over') \gset
SELECT retention.release_hold(:hold, 'over') \gset
SELECT is(run('cases_purge') || ': ' || ids('cases_archive') || ', ' || ids('"case''s files_archive"'), '2 {"policy_undo.case''s files_archive": 3}: 3 4, none', 'G3 archived dependents go with their rows, at any depth');
SELECT throws_ok($$ SELECT retention.add_purge('cases', '1 year') $$, '42710', NULL, 'G11 one purge for a policy');
SELECT lives_ok($$ SELECT retention.add_purge('cases', '1 year', if_not_exists => true) $$, 'or a notice');
SELECT throws_ok($$ SELECT retention.add_purge('nobody', '1 year') $$, '42704', NULL, 'G11 for one that is there');
SELECT throws_ok($$ SELECT retention.add_purge('cases', NULL) $$, '22004', 'expire_after must not be null', 'G11 with an age');
SELECT throws_ok($$ SELECT retention.add_purge('cases', '-1 day') $$, '22023', NULL, 'G11 that is not negative');
SELECT retention.alter_policy('cases', action => 'delete', reset => '{archive_to}') \gset
SELECT throws_ok($$ SELECT retention.add_purge('cases', '1 year') $$, '22023', 'policy "cases" has no archive', 'G11 and for one that archives');
SET ROLE policy_undo_owner;
SELECT throws_ok($$ SELECT retention.add_purge('old', '1 year') $$, '42501', 'must be owner of policy "old"', 'G8 by its owner');
RESET ROLE;

-- ---- Keys of what went ----

CREATE TABLE spots (x int, "Y" text, at timestamptz, PRIMARY KEY (x, "Y")) PARTITION BY LIST (x);
CREATE TABLE spots_1 PARTITION OF spots FOR VALUES IN (1);
CREATE TABLE spots_2 PARTITION OF spots FOR VALUES IN (2);
INSERT INTO spots SELECT g % 2 + 1, 'y' || g, ago(100) FROM generate_series(1, 4) g UNION ALL SELECT 1, 'young', now();
SELECT retention.add_policy('spots', 'spots', '90 days', 'at', record_keys => true) \gset
SELECT is(run('spots'), '4', 'a policy with record_keys runs as any other');
SELECT is((SELECT string_agg(relation || ' ' || key::text, ', ' ORDER BY key) FROM retention.removed_keys WHERE run = (SELECT max(id) FROM retention.runs)), 'policy_undo.spots [1, "y2"], policy_undo.spots [1, "y4"], policy_undo.spots [2, "y1"], policy_undo.spots [2, "y3"]', 'and keeps the keys of the rows that went, those of several columns as arrays');
CREATE TABLE keyed (id int PRIMARY KEY, at timestamptz);
CREATE TABLE on_keyed (id int PRIMARY KEY, k int REFERENCES keyed);
CREATE FUNCTION fill_keyed() RETURNS void LANGUAGE sql AS $$ TRUNCATE policy_undo.keyed, policy_undo.on_keyed; INSERT INTO policy_undo.keyed SELECT g, policy_undo.ago(100) FROM generate_series(1, 2500) g; INSERT INTO policy_undo.on_keyed VALUES (1, 7) $$;
SELECT fill_keyed() \gset
SELECT retention.add_policy('keyed', 'keyed', '90 days', 'at', record_keys => true) \gset
DO $$ DECLARE r retention.result; BEGIN CALL retention.run('keyed', batch_rows => 1000, result => r); END $$;
CREATE FUNCTION keys() RETURNS text LANGUAGE sql AS $$ SELECT concat_ws(' ', count(*), count(DISTINCT key), count(DISTINCT batch), bool_or(key = '7')) FROM retention.removed_keys WHERE run = (SELECT max(id) FROM retention.runs) $$;
SELECT is(keys(), '2499 2499 3 f', 'G4 batch by batch, in the batch''s own transaction, and not of rows that stay');
SELECT is((SELECT count(*) FROM (SELECT batch, sum(jsonb_array_length(keys)) AS n FROM retention.run_key WHERE run = (SELECT max(id) FROM retention.runs) GROUP BY batch) k JOIN retention.ledger l USING (batch) WHERE l.run = (SELECT max(id) FROM retention.runs) AND l.affected = k.n), 3::bigint, 'G4 as many as the ledger says');
SELECT cmp_ok((SELECT max(jsonb_array_length(keys)) FROM retention.run_key), '<=', 1000, 'up to 1,000 in an array');
SELECT format('SET retention.direct = %L', hand), $x$ DO $$ BEGIN PERFORM fill_keyed(); PERFORM retention.apply('keyed'); END $$ $x$, format('SELECT is(keys(), %L, %L)', '2499 2499 1 f', 'by both hands, in one transaction too: direct ' || hand)
  FROM (VALUES ('on'), ('off')) h (hand) \gexec
RESET retention.direct;
CREATE FUNCTION refuse_nine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.id = 9 THEN RETURN NULL; END IF; RETURN OLD; END $$;
CREATE TRIGGER refuse_nine BEFORE DELETE ON keyed FOR EACH ROW EXECUTE FUNCTION refuse_nine();
DROP TABLE on_keyed;
TRUNCATE keyed; INSERT INTO keyed SELECT g, ago(100) FROM generate_series(1, 10) g;
SELECT affected || ' blocked ' || skipped_blocked AS did FROM retention.apply('keyed') \gset
SELECT is(:'did' || ': ' || keys(), '9 blocked 1: 9 9 1 t', 'a row that a trigger kept is not among the keys');
DROP TRIGGER refuse_nine ON keyed;
SELECT retention.alter_policy('keyed', action => 'update', set_clause => $$ at = now() $$) \gset
SELECT is(run('keyed') || ': ' || keys(), '1: 1 1 1 f', 'updates keep the keys of the rows that they change');
SELECT is((SELECT record_keys FROM retention.policies WHERE name = 'keyed'), true, 'retention.policies shows it');
SELECT is((SELECT (p ->> 'record_keys') FROM jsonb_array_elements(retention.export_policies()) p WHERE p ->> 'name' = 'keyed'), 'true', 'and the export');
SELECT is((SELECT count(*) FROM retention.import_policies(retention.export_policies())), 0::bigint, 'importing it again changes nothing');
SELECT retention.alter_policy('keyed', reset => '{record_keys}') \gset
SELECT is((SELECT record_keys FROM retention.policies WHERE name = 'keyed'), false, 'it is taken back like any field');
CREATE TABLE keyless (id int UNIQUE NOT NULL, at timestamptz);
SELECT throws_ok($$ SELECT retention.add_policy('x', 'keyless', '90 days', 'at', record_keys => true) $$, '42704', 'table policy_undo.keyless has no primary key', 'G11 a table without a primary key is refused at definition');
ALTER TABLE keyless ADD PRIMARY KEY (id);
SELECT retention.add_policy('keyless', 'keyless', '90 days', 'at', record_keys => true) \gset
ALTER TABLE keyless DROP CONSTRAINT keyless_pkey;
INSERT INTO keyless VALUES (1, ago(100));
SELECT is((SELECT sqlstate || ' ' || message FROM retention.apply('keyless')), '42704 table policy_undo.keyless has no primary key', 'and one that has lost it is an error of the run');
DELETE FROM retention.run WHERE policy = 'keyed';
SELECT is((SELECT count(*) FROM retention.removed_keys WHERE policy = 'keyed'), 0::bigint, 'keys go with the run that they are of');

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA policy_undo CASCADE;
DROP EXTENSION pg_retention;
DROP ROLE policy_undo_owner, policy_undo_operator, policy_undo_stranger;
