-- What happens to a victim: deleted, updated, or archived, with what belongs to it.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_action
\set begin :test '/begin.psql'
\i :begin
SET timezone = 'UTC';
SET datestyle = 'ISO';
SELECT plan(44);

\i :functions

-- ---- Delete ----

CREATE TABLE orders (id int PRIMARY KEY, at timestamptz, status text DEFAULT 'open', updated_at timestamptz DEFAULT '2020-01-01');
CREATE TABLE lines (id int PRIMARY KEY, order_id int REFERENCES orders, status text DEFAULT 'open', updated_at timestamptz DEFAULT '2020-01-01');
CREATE TABLE drafts (id int PRIMARY KEY, order_id int REFERENCES orders, kind text DEFAULT 'draft');
INSERT INTO orders VALUES (1, ago(100)), (2, ago(1));
INSERT INTO lines VALUES (1, 1), (2, 2);
INSERT INTO drafts VALUES (1, 1, 'draft'), (2, 2, 'draft'), (3, 1, 'final');
SELECT retention.add_policy('drafts', 'drafts', '90 days', 'at', subject => 'orders', condition => $$ target.kind = 'draft' $$) \gset
SELECT is(run('drafts') || ': ' || ids('drafts') || ' of ' || ids('orders'), '1: 2 3 of 1 2', 'delete only certain children: the policy is on the children, the row that has the age stays');
SELECT retention.remove_policy('drafts') \gset

-- ---- Update ----

SELECT retention.add_policy('p', 'orders', '90 days', 'at', action => 'update', set_clause => $$ status = 'Expired', updated_at = now() $$, condition => $$ target.status = 'open' $$) \gset
SELECT is(run('p'), '1', 'update sets what set_clause says');
SELECT is(rows_of('SELECT id, status, updated_at > now() - interval ''1 minute'' FROM orders'), '(1,Expired,t) (2,open,f)', 'in the rows that are victims, and in no other');
SELECT is(run('p'), '0', 'where the condition says what is not done yet, the next run finds nothing');
SELECT is((SELECT message FROM retention.runs ORDER BY id DESC LIMIT 1), 'Updated 0 rows of policy_action.orders', 'the message tells what was done');
SELECT retention.remove_policy('p') \gset
SELECT is(rows_of('SELECT id, status FROM lines'), '(1,open) (2,open)', 'G2 an update breaks no bond: what refers to the row stays as it is');

CREATE TABLE folders (id int PRIMARY KEY, parent int REFERENCES folders, at timestamptz, deleted_at timestamptz);
CREATE TABLE files (id int PRIMARY KEY, folder int REFERENCES folders ON DELETE CASCADE, deleted_at timestamptz);
INSERT INTO folders VALUES (1, NULL, ago(100)), (2, 1, ago(1)), (3, 2, ago(1)), (4, NULL, ago(1));
INSERT INTO files VALUES (1, 1), (3, 3), (4, 4);
SELECT retention.add_policy('trash', 'folders', '90 days', 'at', action => 'update', set_clause => 'deleted_at = now()', dependents => 'cascade', condition => 'target.deleted_at IS NULL') \gset
SELECT is(run('trash'), '1 {"policy_action.files": 2, "policy_action.folders": 2}', 'a soft delete is stamped on a row and its whole tree, counted per table');
SELECT is(rows_of('SELECT id, deleted_at IS NOT NULL FROM folders UNION ALL SELECT 10 + id, deleted_at IS NOT NULL FROM files'), '(1,t) (11,t) (13,t) (14,f) (2,t) (3,t) (4,f)', 'and on nothing else');
SELECT retention.remove_policy('trash') \gset
UPDATE folders SET deleted_at = NULL; UPDATE files SET deleted_at = NULL;
SELECT retention.add_policy('trash', 'folders', '90 days', 'at', action => 'update', set_clause => 'deleted_at = now()') \gset
SELECT is(run('trash') || ' ' || (SELECT count(*) FROM files WHERE deleted_at IS NOT NULL), '1 0', 'without cascade the row alone');
SELECT retention.remove_policy('trash') \gset
SELECT throws_ok($$ SELECT retention.add_policy('x', 'orders', '90 days', 'at', action => 'update', set_clause => 'updated_at = now()', dependents => 'cascade') $$, '42703', NULL, 'G11 a table of the tree that lacks the column is found at definition');

CREATE TYPE state AS ENUM ('new', 'gone');
CREATE TABLE people (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, mail text UNIQUE, born date, state state DEFAULT 'new', at timestamptz,
                     initial text GENERATED ALWAYS AS (left(name, 1)) STORED, "Card No" text);
INSERT INTO people (name, mail, born, at, "Card No") VALUES ('Ann', 'a@x', '1990-05-06', ago(100), '1'), ('Bob', 'b@x', '1991-01-01', ago(1), '2'), ('Cem', 'c@x', '1992-02-02', ago(100), '3');
SELECT retention.add_policy('forget', 'people', '90 days', 'at', action => 'update', condition => $$ target.state <> 'gone' $$,
    set_clause => $$ name = 'X', mail = 'user-' || target.id || '@invalid', born = date_trunc('year', born), state = 'gone', "Card No" = NULL $$) \gset
SELECT is(run('forget'), '2', 'columns are anonymised, each row by its own values');
SELECT is(rows_of('SELECT id, name, mail, born, state, initial, "Card No" FROM people'), '(1,X,user-1@invalid,1990-01-01,gone,X,) (2,Bob,b@x,1991-01-01,new,B,2) (3,X,user-3@invalid,1992-01-01,gone,X,)', 'a generated column follows, an identity column stays');
SELECT retention.remove_policy('forget') \gset
SELECT throws_ok($$ SELECT retention.add_policy('x', 'people', '90 days', 'at', action => 'update', set_clause => 'initial = ''Z''') $$, '428C9', NULL, 'G11 a generated column cannot be set, and that is said at definition');
SELECT throws_ok($$ SELECT retention.add_policy('x', 'people', '90 days', 'at', action => 'update', set_clause => 'id = 7') $$, '428C9', NULL, 'G11 nor an identity column that is always generated');
SELECT throws_ok($$ SELECT retention.add_policy('x', 'people', '90 days', 'at', action => 'update', set_clause => 'state = ''lost''') $$, '22P02', NULL, 'G11 an enum label that does not exist is found at definition');
SELECT throws_ok($$ SELECT retention.add_policy('x', 'people', '90 days', 'at', action => 'update', set_clause => 'nobody = 1') $$, '42703', NULL, 'G11 a column that does not exist too');
SELECT throws_ok($$ SELECT retention.add_policy('x', 'people', '90 days', 'at', action => 'update', set_clause => 'born = 1') $$, '42804', NULL, 'G11 and a value of the wrong type');
SELECT throws_ok($$ SELECT retention.add_policy('x', 'people', '90 days', 'at', action => 'update', set_clause => 'name = 1 WHERE true') $$, '42601', NULL, 'G8 a set_clause is assignments and nothing more');
SELECT throws_ok($$ SELECT retention.add_policy('x', 'people', '90 days', 'at', action => 'update') $$, '22023', NULL, 'G11 update needs a set_clause');
SELECT throws_ok($$ SELECT retention.add_policy('x', 'people', '90 days', 'at', set_clause => 'name = NULL') $$, '22023', NULL, 'G11 and a set_clause needs update');
SELECT throws_ok($$ SELECT retention.add_policy('x', 'people', '90 days', 'at', action => 'forget') $$, '22023', NULL, 'G11 an action that does not exist is an error');
SELECT is((SELECT count(*) FROM retention.policies), 0::bigint, 'G11 of all this nothing was stored');
UPDATE people SET state = 'new', name = 'Dan', at = ago(100);
SELECT retention.add_policy('many', 'people', '90 days', 'at', action => 'update', set_clause => $$ (name, born) = (SELECT 'Y' || target.id, '1900-01-01'::date) $$) \gset
SELECT is(run('many') || ': ' || rows_of('SELECT id, name FROM people'), '3: (1,Y1) (2,Y2) (3,Y3)', 'several columns from one sub-query');
SELECT retention.remove_policy('many') \gset
CREATE TABLE mine (id int PRIMARY KEY, at timestamptz, "user" int, touched int DEFAULT 0);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := OLD.touched + 1; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON mine FOR EACH ROW EXECUTE FUNCTION touch();
INSERT INTO mine VALUES (1, ago(100), 1), (2, ago(100), 1);
SELECT retention.add_policy('mine', 'mine', '90 days', 'at', action => 'update', set_clause => '"user" = NULL') \gset
SELECT is(run('mine') || ': ' || rows_of('SELECT id, "user", touched FROM mine'), '2: (1,,1) (2,,1)', 'the table''s own triggers fire, once a row');
SELECT retention.remove_policy('mine') \gset

-- ---- Archive ----

CREATE TABLE jobs (id int PRIMARY KEY, at timestamptz, what text NOT NULL DEFAULT 'job', big text, code int GENERATED ALWAYS AS (1) STORED);
CREATE TABLE steps (id int PRIMARY KEY, job_id int REFERENCES jobs, note text);
CREATE TABLE logs (id int PRIMARY KEY, step_id int REFERENCES steps);
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE jobs, steps, logs;
    INSERT INTO jobs (id, at, big) VALUES (1, ago(100), repeat('x', 100000)), (2, ago(1), 'y'), (3, ago(100), NULL);
    INSERT INTO steps VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 1, NULL);
    INSERT INTO logs VALUES (1, 1), (2, 2); $$;
SELECT fill() \gset
-- Making it says nothing.
SET client_min_messages = notice;
SELECT retention.add_policy('old', 'jobs', '90 days', 'at', action => 'archive', dependents => 'cascade') \gset
SET client_min_messages = warning;
SELECT has_table('policy_action'::name, 'jobs_archive'::name, 'an archive is made where none is given');
SELECT columns_are('policy_action', 'jobs_archive', '{id,at,what,big,code,retention_run_id,archived_at}', 'like the target, with the run and the time');
SELECT is((SELECT archive_to::text FROM retention.policies), 'jobs_archive', 'the policy names it');
SELECT columns_are('policy_action', 'logs_archive', '{id,step_id,retention_run_id,archived_at}', 'and one for each table of dependents');
SELECT is(run('old'), '2 {"policy_action.logs": 1, "policy_action.steps": 2}', 'archive moves the victims and all that belongs to them');
SELECT is(ids('jobs') || ' | ' || ids('steps') || ' | ' || ids('logs'), '2 | 2 | 2', 'they are gone where they were');
SELECT is(ids('jobs_archive') || ' | ' || ids('steps_archive') || ' | ' || ids('logs_archive'), '1 3 | 1 3 | 1', 'and are in the archives');
SELECT is(rows_of('SELECT id, what, length(big) FROM jobs_archive'), '(1,job,100000) (3,job,)', 'with all their values');
SELECT is((SELECT array_agg(DISTINCT retention_run_id) FROM jobs_archive), (SELECT array_agg(id) FROM retention.runs WHERE policy = 'old'), 'G4 and the id of the run');
SELECT is((SELECT max(id) FROM retention.runs WHERE policy = 'old'), (SELECT retention_run_id FROM logs_archive), 'of dependents too');
BEGIN;
SELECT fill() \gset
TRUNCATE jobs_archive;
SELECT retention.apply('old') \gset
SELECT is((SELECT count(*) FROM jobs_archive WHERE archived_at = now()), 2::bigint, 'G3 archived in the same transaction');
ROLLBACK;
SELECT is(ids('jobs') || ' | ' || ids('jobs_archive'), '2 | 1 3', 'G3 which takes both back');
SELECT fill() \gset
ALTER TABLE jobs ADD COLUMN "new one" numeric(8, 2) DEFAULT 1;
\set VERBOSITY default
\echo # the next is a warning with the statement that mends it
SELECT did.* FROM retention.apply('old') d, LATERAL (SELECT d.success, d.sqlstate, d.message) did;
\set VERBOSITY terse
SELECT is(ids('jobs'), '1 2 3', 'G3 a target that gained a column is not archived without it');
ALTER TABLE jobs_archive ADD COLUMN "new one" numeric(8, 2);
SELECT is(run('old') || ': ' || rows_of('SELECT id, "new one" FROM jobs_archive WHERE "new one" IS NOT NULL'), '2 {"policy_action.logs": 1, "policy_action.steps": 2}: (1,1.00) (3,1.00)', 'after that statement it is');
SELECT fill() \gset
ALTER TABLE steps ADD COLUMN more text;
SELECT is((retention.apply('old')).sqlstate || ' ' || ids('jobs') || ' ' || ids('steps'), '42703 1 2 3 1 2 3', 'G3 the same of a dependent');
ALTER TABLE steps DROP COLUMN more;
DROP TABLE logs_archive;
SELECT is((retention.apply('old')).sqlstate || ' ' || ids('jobs') || ' ' || ids('logs'), '42P01 1 2 3 1 2', 'G3 an archive that is gone is an error, not a loss');
DROP TABLE jobs_archive;
SELECT is((retention.apply('old')).message, 'table policy_action.jobs_archive no longer exists', 'told by its last name');
SELECT retention.remove_policy('old') \gset
CREATE SCHEMA attic;
CREATE TABLE attic.kept (archived_at timestamptz, retention_run_id bigint, what text, code int, big text, id int, at timestamptz, "new one" numeric, extra text);
SELECT retention.add_policy('old', 'jobs', '90 days', 'at', action => 'archive', archive_to => 'attic.kept', dependents => 'cascade') \gset
SELECT is(run('old') || ': ' || ids('attic.kept') || ' | ' || ids('policy_action.steps_archive'), '2 {"policy_action.logs": 1, "policy_action.steps": 2}: 1 3 | 1 1 1 3 3 3', 'an archive may be given, in another schema, its columns in any order; those of dependents stand beside their tables');
SELECT retention.remove_policy('old') \gset
SELECT throws_ok($$ SELECT retention.add_policy('x', 'jobs', '90 days', 'at', archive_to => 'attic.kept') $$, '22023', NULL, 'G11 archive_to needs the action archive');
SELECT fill() \gset
SELECT retention.add_policy('old', 'jobs', '90 days', 'at', action => 'archive', archive_to => 'attic.kept') \gset
SELECT is(run('old') || ': ' || ids('jobs'), '1 blocked 1: 1 2', 'a victim that is referred to is blocked, archived or not');
SELECT retention.remove_policy('old') \gset

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA policy_action, attic CASCADE;
DROP EXTENSION pg_retention;
