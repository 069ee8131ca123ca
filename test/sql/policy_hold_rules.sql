-- G6 what a hold covers, in every shape that tables have; what ends one; G8 whose rights it has; G11 what is refused.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_hold_rules
\set begin :test '/begin.psql'
\i :begin
SET client_min_messages = error;
DROP ROLE IF EXISTS regress_hold_legal, regress_hold_owner, regress_hold_gone;
CREATE ROLE regress_hold_legal;
CREATE ROLE regress_hold_owner;
CREATE ROLE regress_hold_gone;
GRANT ALL ON SCHEMA policy_hold_rules TO PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA retention TO regress_hold_legal, regress_hold_owner, regress_hold_gone;
SET timezone = 'UTC';
SELECT no_plan();
\i :functions
-- What a run of a policy leaves of a table, and how many it counts as held; the preview must say the same.
CREATE FUNCTION after_run(policy text, relation regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    seen record;
    did retention.result;
BEGIN
    SELECT expected_rows, held INTO seen FROM retention.preview(policy) WHERE role = 'target';
    did := retention.apply(policy);
    IF NOT did.success THEN RETURN did.sqlstate || ' ' || did.message; END IF;
    IF (did.affected, did.skipped_held) IS DISTINCT FROM (seen.expected_rows, seen.held) THEN RAISE 'the preview says %, the run did %', seen, did; END IF;
    RETURN ids(relation) || ' held ' || did.skipped_held;
END $$;
CREATE FUNCTION hold(relation regclass, condition text) RETURNS bigint LANGUAGE sql AS $$ SELECT retention.add_hold(relation, condition, 'a case') $$;
CREATE FUNCTION release() RETURNS void LANGUAGE sql AS $$ SELECT retention.release_hold(id, 'over') FROM retention.hold WHERE released_at IS NULL $$;

-- ---- Keys of every kind ----

CREATE TYPE mood AS ENUM ('well', 'ill');
CREATE DOMAIN code AS varchar(9) CHECK (VALUE <> '');
CREATE TABLE "order" ("select" char(3), "a ""b" timestamptz, "Größe" code, m mood, u uuid, n numeric(9, 2), id int, at timestamptz,
    PRIMARY KEY ("select", "a ""b", "Größe", m, u, n));
INSERT INTO "order" SELECT c, '2020-01-01 12:00+00', 'x''y', 'ill', '00000000-0000-0000-0000-00000000000a', 1.50, g, ago(100) FROM unnest('{"a","a b","ab "}'::text[]) WITH ORDINALITY u (c, g);
SELECT retention.add_policy('p', '"order"', '90 days', 'at') \gset
SET DateStyle = 'German, DMY';
SET TimeZone = 'Asia/Kolkata';
SELECT retention.add_hold('"order"', key => '{"select": "a", "a \"b": "01.01.2020 17:30:00", "Größe": "x''y", "m": "ill", "u": "00000000-0000-0000-0000-00000000000A", "n": 1.5}', reason => 'read as the session writes') \gset
RESET DateStyle;
SET TimeZone = 'UTC';
SELECT is(after_run('p', '"order"'), '1 held 1', 'G6 a key of six columns with quoted names, padding, an enum, a domain, and an instant in the session''s own style');
SELECT is((SELECT key FROM retention.holds), '{"m": "ill", "n": "1.5", "u": "00000000-0000-0000-0000-00000000000a", "a \"b": "2020-01-01 17:30:00+05:30", "select": "a", "Größe": "x''y"}', 'and it is written so that everybody reads the same');
SELECT release() \gset
SELECT is(after_run('p', '"order"'), 'none held 0', 'a hold that was released holds nothing');
SELECT retention.remove_policy('p') \gset

-- ---- Conditions ----

CREATE TABLE t (id int PRIMARY KEY, at timestamptz, n int, parent int);
CREATE FUNCTION fill_t() RETURNS void LANGUAGE sql AS $$ TRUNCATE t CASCADE; INSERT INTO t SELECT g, ago(100), NULLIF(g % 3, 0), NULL FROM generate_series(1, 6) g $$;
SELECT fill_t() \gset
SELECT retention.add_policy('p', 't', '90 days', 'at') \gset
SELECT hold('t', 'n = 1') \gset
SELECT is(after_run('p', 't'), '1 4 held 2', 'G6 what a condition leaves unknown is not held, as in WHERE');
SELECT release() \gset
SELECT fill_t() \gset
SELECT hold('t', 'NULL::boolean') \gset
SELECT is(after_run('p', 't'), 'none held 0', 'nor is anything by NULL');
SELECT release() \gset
SELECT fill_t() \gset
SELECT hold('t', 'true -- all') \gset
SELECT is(after_run('p', 't'), '1 2 3 4 5 6 held 6', 'a comment in a condition hides nothing');
SELECT hold('t', 'id = 2') \gset
SELECT retention.release_hold(max(id) - 1, 'over') FROM retention.hold \gset
SELECT is(after_run('p', 't'), '2 held 1', 'a row under two holds is held until both are released');
SELECT fill_t() \gset
SELECT is(after_run('p', 't'), '2 held 1', 'a hold is judged anew in every run: also for rows that came later');
CREATE TABLE cases (id int);
SELECT release() \gset
SELECT fill_t() \gset
SELECT hold('t', 'target.id IN (SELECT c.id FROM cases c) AND lower(''X'') = ''x''') \gset
INSERT INTO cases VALUES (3);
SELECT is(after_run('p', 't'), '3 held 1', 'a condition may look at other tables');
SELECT release() \gset

-- ---- Time ----

SELECT fill_t() \gset
SELECT retention.add_hold('t', 'id = 1', 'for a day', now() + interval '1 day') \gset
SELECT retention.add_hold('t', 'id = 2', 'for ever', 'infinity') \gset
SELECT is((SELECT (expected_rows, held) FROM retention.preview('p'))::text, '(4,2)', 'a hold stands until its time');
SELECT is((SELECT (expected_rows, held) FROM retention.preview('p', as_of => now() + interval '2 days'))::text, '(5,1)', 'and no longer at an instant after it');
SELECT is(after_run('p', 't'), '1 2 held 2', 'until compares with the start of the run');
SELECT results_eq('SELECT stands FROM retention.holds WHERE released_at IS NULL ORDER BY id', '{t,t}'::boolean[], 'retention.holds tells which stand');
ALTER TABLE retention.hold DISABLE TRIGGER USER;
UPDATE retention.hold SET until = now() - interval '1 second' WHERE reason = 'for a day';
ALTER TABLE retention.hold ENABLE TRIGGER USER;
SELECT is(after_run('p', 't'), '2 held 1', 'a hold whose time is over holds nothing');
SELECT release() \gset

-- ---- What refers to a row under hold ----

ALTER TABLE t ADD FOREIGN KEY (parent) REFERENCES t;
CREATE FUNCTION fill_tree() RETURNS void LANGUAGE sql AS $$ TRUNCATE t CASCADE; INSERT INTO t VALUES (1, ago(100), 0, NULL), (2, ago(100), 0, 1), (3, ago(100), 0, 2), (4, ago(100), 0, NULL), (5, ago(100), 0, 4), (6, ago(100), 0, 6) $$;
SELECT retention.alter_policy('p', dependents => 'cascade') \gset
SELECT fill_tree() \gset
SELECT hold('t', 'id = 1') \gset
SELECT is(after_run('p', 't'), '1 2 3 held 3', 'G6 a hold covers what refers to it in its own table, at any depth');
SELECT release() \gset
SELECT fill_tree() \gset
SELECT hold('t', 'id = 3') \gset
SELECT is(after_run('p', 't'), '1 2 3 held 3', 'G3 and keeps what it refers to, because it would go along');
SELECT release() \gset
SELECT fill_tree() \gset
UPDATE t SET parent = 5 WHERE id = 4;
SELECT hold('t', 'id = 5 OR id = 6') \gset
SELECT is(after_run('p', 't'), '4 5 6 held 3', 'also where rows refer to each other in a circle, or to themselves');
SELECT release() \gset
SELECT retention.remove_policy('p') \gset

-- A tenant, its firms (composite keys), their people; a row that refers over two keys is covered by either.
CREATE TABLE tenant (id int PRIMARY KEY);
CREATE TABLE firm (tenant int REFERENCES tenant, no int, PRIMARY KEY (tenant, no));
CREATE TABLE person (id int PRIMARY KEY, tenant int, firm int, boss int REFERENCES tenant, at timestamptz, FOREIGN KEY (tenant, firm) REFERENCES firm);
CREATE TABLE letter (id int PRIMARY KEY, person int REFERENCES person ON DELETE CASCADE, copy_to int REFERENCES tenant);
CREATE FUNCTION fill_person() RETURNS void LANGUAGE sql AS $$
    TRUNCATE tenant, firm, person, letter CASCADE;
    INSERT INTO tenant VALUES (1), (2), (3);
    INSERT INTO firm VALUES (1, 1), (1, 2), (2, 1);
    INSERT INTO person VALUES (1, 1, 1, NULL, ago(100)), (2, 1, 2, NULL, ago(100)), (3, 2, 1, 3, ago(100)), (4, NULL, 1, NULL, ago(100)), (5, 2, 1, NULL, ago(100));
    INSERT INTO letter VALUES (1, 1, NULL), (5, 5, 3) $$;
SELECT fill_person() \gset
SELECT retention.add_policy('people', 'person', '90 days', 'at') \gset
SELECT hold('firm', 'tenant = 1 AND no = 2') \gset
SELECT is(after_run('people', 'person'), '2 held 1', 'G6 a hold on a parent that is on no path of the policy''s covers, by a composite key');
SELECT release() \gset
SELECT fill_person() \gset
SELECT hold('tenant', 'id = 1') \gset
SELECT is(after_run('people', 'person'), '1 2 held 2', 'and one that is two keys away; a key with a NULL refers to nothing');
SELECT release() \gset
SELECT fill_person() \gset
SELECT hold('tenant', 'id = 3') \gset
SELECT is(after_run('people', 'person'), '3 5 held 2', 'and by any of several keys, those of a dependent that would go along too');
SELECT is(ids('letter'), '5', 'G3 that dependent stays');
SELECT release() \gset
SELECT fill_person() \gset
SELECT retention.add_policy('letters', 'letter', '0', 'at', subject => 'person') \gset
SELECT hold('person', 'id = 1') \gset
SELECT is(after_run('letters', 'letter'), '1 held 1', 'G6 a hold on a subject covers every policy that reaches it');
SELECT release() \gset
SELECT fill_person() \gset
SELECT hold('letter', 'id = 1') \gset
SELECT is(after_run('people', 'person'), '1 held 1', 'G3 a dependent under hold keeps the victim it would go with, counted as held');
SELECT is((SELECT string_agg(id::text || COALESCE(tenant, -1), ' ' ORDER BY id) FROM person), '11', 'as it is');
SELECT release() \gset
CREATE TABLE stranger (id int PRIMARY KEY, at timestamptz);
INSERT INTO stranger VALUES (1, ago(100));
SELECT hold('letter', 'id / 0 = 1') \gset
SELECT retention.add_policy('stranger', 'stranger', '90 days', 'at') \gset
SELECT is(after_run('stranger', 'stranger'), 'none held 0', 'a hold that no row of the policy can come under is not asked');
SELECT release() \gset

-- ---- Declared dependents, and columns that would be emptied ----

CREATE TABLE note (id int PRIMARY KEY, about int);
CREATE TABLE tag (id int PRIMARY KEY, person int REFERENCES person ON DELETE SET NULL);
SELECT fill_person() \gset
INSERT INTO note VALUES (1, 1), (2, 2);
INSERT INTO tag VALUES (1, 3), (2, 4);
SELECT retention.add_dependent('people', 'note', join_condition => 'dependent.about = target.id') \gset
SELECT hold('note', 'id = 1') \gset
SELECT hold('tag', 'id = 1') \gset
SELECT is(after_run('people', 'person'), '1 3 held 2', 'G6 rows that hang on by a join_condition are held, and rows whose key the schema would empty');
SELECT is(ids('note') || ' | ' || (SELECT string_agg(id::text || COALESCE(person, 0), ' ' ORDER BY id) FROM tag), '1 | 13 20', 'and stay as they are');
SELECT release() \gset
SELECT fill_person() \gset
UPDATE person SET at = now() WHERE id = 2;
INSERT INTO note VALUES (3, 3) ON CONFLICT DO NOTHING;
SELECT retention.alter_policy('people', reset => '{dependent_tables}') \gset
SELECT retention.add_dependent('people', 'note', join_condition => 'dependent.about = target.id OR dependent.id = 3 AND target.id = 2') \gset
SELECT hold('person', 'id = 2') \gset
SELECT is(after_run('people', 'person'), '2 3 held 1', 'G6 a dependent that hangs on a row under hold by a join_condition stays, and the victim that it would go with');
SELECT release() \gset
SELECT count(retention.remove_policy(p)) FROM unnest('{people,letters,stranger}'::text[]) p \gset

-- ---- Partitions and heirs ----

CREATE TABLE pt (id int, at timestamptz, k int, PRIMARY KEY (k, id)) PARTITION BY LIST (k);
CREATE TABLE pt1 PARTITION OF pt FOR VALUES IN (1);
CREATE TABLE pt2 (at timestamptz, junk int, id int NOT NULL, k int NOT NULL);
ALTER TABLE pt2 DROP COLUMN junk;
ALTER TABLE pt ATTACH PARTITION pt2 FOR VALUES IN (2);
CREATE TABLE ref (id int PRIMARY KEY, k int, pid int, at timestamptz, FOREIGN KEY (k, pid) REFERENCES pt (k, id) ON DELETE CASCADE);
CREATE FUNCTION fill_pt() RETURNS void LANGUAGE sql AS $$
    TRUNCATE pt, ref; INSERT INTO pt SELECT g, ago(100), k FROM generate_series(1, 3) g, generate_series(1, 2) k; INSERT INTO ref SELECT k * 10 + id, k, id, ago(100) FROM pt $$;
CREATE FUNCTION pts() RETURNS text LANGUAGE sql AS $$ SELECT COALESCE(string_agg(k::text || id, ' ' ORDER BY k, id), 'none') || ' | ' || ids('ref') FROM pt $$;
SELECT retention.add_policy('root', 'pt', '90 days', 'at') \gset
SELECT retention.add_policy('leaf', 'pt2', '90 days', 'at') \gset
SELECT retention.add_policy('refs', 'ref', '90 days', 'at') \gset
SELECT fill_pt() \gset
SELECT hold('pt', 'id = 1') \gset
SELECT is((SELECT skipped_held FROM retention.apply('root')), 2::bigint, 'G6 a hold on a partitioned table is one on all its partitions');
SELECT is(pts(), '11 21 | 11 21', 'whatever the order of their columns');
SELECT is((SELECT skipped_held FROM retention.apply('refs')), 2::bigint, 'and covers what refers to the partitioned table');
SELECT fill_pt() \gset
SELECT is((SELECT skipped_held FROM retention.apply('leaf')), 1::bigint, 'also under a policy on one partition');
SELECT is(pts(), '11 12 13 21 | 11 12 13 21', 'whose other rows go');
SELECT release() \gset
SELECT fill_pt() \gset
SELECT retention.add_hold('pt2', key => '{"k": 2, "id": 3}', reason => 'one leaf') \gset
SELECT is((SELECT skipped_held FROM retention.apply('root')), 1::bigint, 'a hold on a partition holds nothing of the others');
SELECT is(pts(), '23 | 23', 'though places in them are the same');
SELECT release() \gset
CREATE TABLE base (id int PRIMARY KEY, at timestamptz);
CREATE TABLE heir (extra int) INHERITS (base);
CREATE TABLE owned (id int PRIMARY KEY, base int REFERENCES base, at timestamptz);
CREATE TABLE owned_heir () INHERITS (owned);
CREATE FUNCTION fill_base() RETURNS void LANGUAGE sql AS $$
    TRUNCATE base, heir, owned, owned_heir; INSERT INTO base VALUES (1, ago(100)), (2, ago(100)); INSERT INTO heir VALUES (1, ago(100)), (2, ago(100));
    INSERT INTO owned VALUES (1, 1, ago(100)), (2, 2, ago(100)); INSERT INTO owned_heir VALUES (11, 1, ago(100)), (12, 2, ago(100)) $$;
SELECT fill_base() \gset
SELECT retention.add_policy('base', 'base', '90 days', 'at', dependents => 'cascade') \gset
SELECT retention.add_policy('owned', 'owned', '90 days', 'at', subject => 'base') \gset
SELECT hold('base', 'id = 1') \gset
SELECT is((SELECT skipped_held FROM retention.apply('owned')), 2::bigint, 'G6 rows of an heir, which has no key of its own, are covered as those of its parent');
SELECT is(ids('owned'), '1 11', 'because the policy''s path takes them so');
SELECT is((SELECT skipped_held FROM retention.apply('base')), 2::bigint, 'a hold on a table is one on its heirs');
SELECT is((SELECT string_agg(tableoid::regclass::text || id, ' ' ORDER BY 1) FROM base), 'base1 heir1', 'and they stay');
SELECT release() \gset
SELECT fill_base() \gset
SELECT hold('heir', 'extra IS NULL AND id = 2') \gset
SELECT is((SELECT skipped_held FROM retention.apply('base')), 1::bigint, 'a hold on an heir, by a column that the parent does not have');
SELECT is((SELECT string_agg(tableoid::regclass::text || id, ' ' ORDER BY 1) FROM base), 'heir2', 'holds nothing of the parent''s');
SELECT release() \gset

-- ---- Fail safe ----

CREATE TABLE big (id int PRIMARY KEY, at timestamptz, n int);
CREATE FUNCTION fill_big() RETURNS void LANGUAGE sql AS $$ TRUNCATE big; INSERT INTO big SELECT g, ago(100), g FROM generate_series(1, 20) g $$;
SELECT fill_big() \gset
SELECT retention.add_policy('big', 'big', '90 days', 'at') \gset
SELECT hold('big', '1 / (n - 10) = 5') AS failing \gset
SELECT is((SELECT concat_ws(' ', success, sqlstate, message) FROM retention.apply('big')), 'f 55H01 hold ' || :failing || ' on policy_hold_rules.big cannot be judged: division by zero', 'G6 a hold that cannot be judged stops the run');
DO $$ DECLARE r retention.result; BEGIN CALL retention.run('big', batch_rows => 5, result => r); END $$;
SELECT is((SELECT concat_ws(' ', success, stop_reason, sqlstate) FROM retention.runs ORDER BY id DESC LIMIT 1), 'f error 55H01', 'also one of batches');
SELECT ok((SELECT count(*) >= 11 AND bool_or(id = 10) FROM big), 'from the batch on in which that shows: none of its rows has gone');
SELECT throws_ok('SELECT * FROM retention.preview(''big'')', '55H01', NULL, 'and the preview says so');
SELECT release() \gset
SELECT fill_big() \gset
SELECT hold('big', 'n = 1') AS by_name \gset
ALTER TABLE big RENAME COLUMN n TO renamed;
SELECT is((SELECT concat_ws(' ', success, message) FROM retention.apply('big')), 'f hold ' || :by_name || ' on policy_hold_rules.big cannot be judged: column target.n does not exist', 'a column that was renamed under a hold stops the run');
SELECT is(ids('big'), (SELECT string_agg(g::text, ' ') FROM generate_series(1, 20) g), 'and nothing goes');
SELECT matches((SELECT finding FROM retention.check('big') WHERE severity = 'error' AND finding LIKE '%hold%'), '^no run removes anything: hold \d+ on policy_hold_rules.big cannot be judged', 'retention.check finds it');
ALTER TABLE big RENAME COLUMN renamed TO n;
ALTER TABLE big RENAME TO large;
SELECT is((SELECT skipped_held FROM retention.apply('big')), 1::bigint, 'a table that was renamed keeps its holds');
SELECT is(ids('large'), '1', 'and its rows under hold');
ALTER TABLE large RENAME TO away;
CREATE TABLE big (LIKE away INCLUDING ALL);
DROP TABLE away;
SELECT retention.alter_policy('big', target => 'big') \gset
SELECT fill_big() \gset
SELECT is(after_run('big', 'big'), '1 held 1', 'a table that was made anew under its name comes under the holds of the old one');
DROP TABLE big;
SELECT fill_pt() \gset
SELECT is((SELECT success FROM retention.apply('refs')), true, 'the hold of a table that is gone stops nobody');
SELECT release() \gset
SELECT retention.remove_policy('big') \gset

-- ---- Rights ----

SET ROLE regress_hold_owner;
CREATE TABLE theirs (id int PRIMARY KEY, at timestamptz);
INSERT INTO theirs SELECT g, now() - interval '1 year' FROM generate_series(1, 4) g;
SELECT retention.add_policy('theirs', 'theirs', '90 days', 'at') \gset
SET ROLE regress_hold_legal;
SELECT throws_ok($$ SELECT retention.add_hold('theirs', 'id = 1', 'a case') $$, '42501', 'permission denied to place a hold on policy_hold_rules.theirs', 'G8 who cannot read a table places no hold on it');
RESET ROLE;
GRANT SELECT ON theirs TO regress_hold_legal, regress_hold_gone;
SET ROLE regress_hold_legal;
CREATE TABLE secret_cases (id int);
INSERT INTO secret_cases VALUES (2);
SELECT retention.add_hold('theirs', 'id IN (SELECT c.id FROM secret_cases c)', 'a case') AS of_legal \gset
SELECT retention.add_hold('theirs', key => '{"id": 3}', reason => 'a case') \gset
RESET ROLE;
SELECT is((SELECT skipped_held FROM retention.apply('theirs')), 2::bigint, 'G8 a condition is judged with the rights of who placed it, which may see what the policy''s owner may not');
SET ROLE regress_hold_owner;
SELECT throws_ok(format('SELECT retention.release_hold(%s, ''over'')', :of_legal), '42501', 'must be owner of hold ' || :of_legal, 'the owner of the table cannot release another''s hold');
SELECT throws_ok('INSERT INTO retention.hold (reason) VALUES (''x'')', '42501', NULL, 'nor anybody write one by hand');
SELECT throws_ok('UPDATE retention.hold SET released_at = now()', '42501', NULL, 'nor change one');
RESET ROLE;

-- What a hostile condition tries: to be somebody else, to change rows, to leave something behind.
CREATE TABLE tried (as_whom name, what text);
GRANT INSERT, SELECT ON tried TO PUBLIC;
CREATE TABLE precious (id int);
INSERT INTO precious VALUES (1);
SET ROLE regress_hold_legal;
CREATE FUNCTION evil(id int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    BEGIN EXECUTE 'SET ROLE postgres'; INSERT INTO tried VALUES (current_user, 'SET ROLE'); EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; INSERT INTO tried VALUES (current_user, 'SESSION AUTHORIZATION'); EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN DELETE FROM policy_hold_rules.precious; INSERT INTO policy_hold_rules.tried VALUES (current_user, 'precious'); EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN DELETE FROM policy_hold_rules.theirs; INSERT INTO policy_hold_rules.tried VALUES (current_user, 'theirs'); EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN INSERT INTO policy_hold_rules.tried SELECT current_user, rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user; EXCEPTION WHEN OTHERS THEN NULL; END;
    PERFORM set_config('search_path', 'planted', false), set_config('retention.direct', 'off', false);
    RETURN false;
END $$;
SELECT retention.add_hold('theirs', 'policy_hold_rules.evil(id)', 'to gain something') AS evil \gset
RESET ROLE;
INSERT INTO theirs SELECT g, now() - interval '1 year' FROM generate_series(5, 6) g;
SELECT is((SELECT affected FROM retention.apply('theirs')), 2::bigint, 'G8 a hostile condition runs');
SELECT set_eq('SELECT DISTINCT as_whom::text, what FROM tried', $$ VALUES ('regress_hold_legal', 'false') $$, 'G8 as the role that placed it, and as nobody else; it gains nothing');
SELECT is(current_setting('search_path') || current_setting('retention.direct'), 'policy_hold_rules, publicon', 'G8 and leaves no setting behind');
SELECT retention.release_hold(:evil, 'hostile') \gset

-- Operators and functions planted on the search_path.
CREATE SCHEMA planted;
GRANT ALL ON SCHEMA planted TO PUBLIC;
SET ROLE regress_hold_legal;
CREATE FUNCTION planted.eq(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO policy_hold_rules.tried VALUES (current_user, 'operator'); RETURN false; END $$;
CREATE OPERATOR planted.= (LEFTARG = int, RIGHTARG = int, FUNCTION = planted.eq);
SET search_path = planted, pg_catalog, policy_hold_rules, public;
SELECT retention.add_hold('theirs', key => '{"id": 2}', reason => 'with a planted operator') AS planted \gset
RESET ROLE;
SELECT retention.add_hold('theirs', 'lower(id::text) = ''2''', 'placed by a superuser') AS by_superuser \gset
SET search_path = policy_hold_rules, public;
SELECT lives_ok('SELECT retention.apply(''theirs'')', 'a key is compared');
SELECT is_empty('SELECT * FROM tried WHERE what = ''operator''', 'G8 with the type''s own equality, not with one that lies on a search_path');
SELECT is((SELECT as_table_owner FROM retention.hold WHERE id = :by_superuser), true, 'G8 a superuser''s condition has the rights of the table''s owner, no more');

-- A role that is gone, and a right that was lost.
SET ROLE regress_hold_gone;
SELECT retention.add_hold('theirs', 'id = 77', 'of a role that goes') AS of_gone \gset
SELECT retention.add_hold('theirs', key => '{"id": 3}', reason => 'of a role that goes') AS key_of_gone \gset
RESET ROLE;
REVOKE SELECT ON theirs FROM regress_hold_gone;
SELECT is((SELECT concat_ws(' ', success, message) FROM retention.apply('theirs')), 'f hold ' || :of_gone || ' on policy_hold_rules.theirs cannot be judged: permission denied for table theirs', 'a condition whose role lost its right stops the run');
REVOKE ALL ON SCHEMA policy_hold_rules FROM regress_hold_gone;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA retention FROM regress_hold_gone;
DROP ROLE regress_hold_gone;
SELECT is((SELECT concat_ws(' ', success, message) FROM retention.apply('theirs')), 'f hold ' || :of_gone || ' on policy_hold_rules.theirs cannot be judged: the role that placed it no longer exists', 'as does one whose role is gone');
SET ROLE regress_hold_legal;
SELECT throws_ok(format('SELECT retention.release_hold(%s, ''over'')', :of_gone), '42501', 'must be superuser to release hold ' || :of_gone, 'which only a superuser releases');
RESET ROLE;
SELECT lives_ok(format('SELECT retention.release_hold(%s, ''its role is gone'')', :of_gone), 'and does');
SELECT is((SELECT (success, skipped_held) FROM retention.apply('theirs'))::text, '(t,2)', 'a hold by key needs nobody''s rights but the table owner''s, and stays');

-- The policy's owner must be able to see what its rows refer to.
CREATE TABLE hidden (id int PRIMARY KEY);
INSERT INTO hidden VALUES (1);
GRANT REFERENCES ON hidden TO regress_hold_owner;
SET ROLE regress_hold_owner;
ALTER TABLE theirs ADD hidden int REFERENCES policy_hold_rules.hidden;
RESET ROLE;
INSERT INTO theirs VALUES (8, now() - interval '1 year', 1), (9, now() - interval '1 year', NULL);
SELECT hold('hidden', 'id = 1') \gset
SELECT is((SELECT concat_ws(' ', success, sqlstate, message) FROM retention.apply('theirs')), 'f 55H01 the holds on rows that policy_hold_rules.theirs refers to cannot be followed: permission denied for table hidden', 'G8 a parent under hold that the policy''s owner cannot read stops the run');
GRANT SELECT ON hidden TO regress_hold_owner;
SELECT is((SELECT (success, affected, skipped_held) FROM retention.apply('theirs'))::text, '(t,1,3)', 'and is followed with the right to');
SELECT release() \gset
ALTER TABLE theirs ENABLE ROW LEVEL SECURITY;
SET ROLE regress_hold_legal;
SELECT throws_ok($$ SELECT retention.add_hold('theirs', 'id = 1', 'hidden rows') $$, '42501', NULL, 'G8 row security that hides rows from who places a hold is an error');
RESET ROLE;
ALTER TABLE theirs DISABLE ROW LEVEL SECURITY;

-- ---- Kept for ever ----

SELECT is((SELECT count(*) FROM retention.holds WHERE reason = 'to gain something' AND owner = 'regress_hold_legal' AND placed_by = session_user AND released_by = session_user
            AND release_reason = 'hostile' AND released_at >= placed_at AND NOT stands), 1::bigint, 'who placed a hold and who released it, when and why, is kept');
SELECT throws_ok('DELETE FROM retention.hold', '55000', 'holds are kept for ever as they were placed', 'no hold is deleted, not by a superuser');
SELECT throws_ok('TRUNCATE retention.hold', '55000', NULL, 'nor are all');
SELECT hold('t', 'id = 1') AS kept \gset
SELECT throws_ok(format('UPDATE retention.hold SET %s WHERE id = %s', s, :kept), '55000', NULL, 'nor changed: ' || s)
  FROM unnest('{"reason = ''other''","until = now()","condition = ''false''","relation = 1","relation_name = ''x''","owner = 10, owner_name = ''x''","placed_by = ''x''","placed_at = now()","id = DEFAULT","reason = reason"}'::text[]) s;
SELECT throws_ok(format('UPDATE retention.hold SET released_at = now(), released_by = ''me'', release_reason = ''x'', until = now() WHERE id = %s', :kept), '55000', NULL, 'nor with its release');
SELECT retention.release_hold(:kept, 'over') \gset
SELECT throws_ok(format('UPDATE retention.hold SET released_at = NULL, released_by = NULL, release_reason = NULL WHERE id = %s', :kept), '55000', NULL, 'nor made to stand again');

-- ---- Bad input ----

CREATE TABLE keyless (id int, at timestamptz);
CREATE VIEW seen AS SELECT * FROM t;
CREATE TABLE bad (call text, state text, message text);
INSERT INTO bad VALUES
    ('add_hold(NULL::regclass, ''true'', ''x'')', '22004', 'relation must not be null'),
    ('add_hold(''t'', NULL::text, ''x'')', '22004', 'condition must not be null'),
    ('add_hold(''t'', NULL::jsonb, ''x'')', '22004', 'key must not be null'),
    ('add_hold(''t'', ''true'', NULL)', '22004', 'reason must not be null'),
    ('add_hold(''t'', ''true'', '' '')', '22023', 'a hold needs a reason'),
    ('add_hold(''t'', ''true'', ''x'', ''yesterday'')', '22023', 'until must lie in the future'),
    ('add_hold(''t'', ''true'', ''x'', ''-infinity'')', '22023', 'until must lie in the future'),
    ('add_hold(''t'', ''true; DROP TABLE t'', ''x'')', '42601', NULL),
    ('add_hold(''t'', ''true) OR (true'', ''x'')', '42601', NULL),
    ('add_hold(''t'', ''true UNION SELECT true'', ''x'')', '42601', NULL),
    ('add_hold(''t'', '''', ''x'')', '42601', NULL),
    ('add_hold(''t'', ''{"id": 1}'', ''x'')', '42601', NULL),
    ('add_hold(''t'', ''missing = 1'', ''x'')', '42703', NULL),
    ('add_hold(''t'', ''id'', ''x'')', '42804', NULL),
    ('add_hold(''t'', ''count(*) > 1'', ''x'')', '42803', NULL),
    ('add_hold(''t'', ''$1 = 1'', ''x'')', '42P02', NULL),
    ('add_hold(''seen'', ''true'', ''x'')', '0A000', NULL),
    ('add_hold(''pg_class'', ''true'', ''x'')', '0A000', NULL),
    ('add_hold(4294967295::oid::regclass, ''true'', ''x'')', '42P01', 'table with OID 4294967295 does not exist'),
    ('add_hold(''t'', key => ''[1]'', reason => ''x'')', '22023', 'key must be a JSON object'),
    ('add_hold(''t'', key => ''5'', reason => ''x'')', '22023', 'key must be a JSON object'),
    ('add_hold(''t'', key => ''{}'', reason => ''x'')', '22023', 'key must have the columns of the key of policy_hold_rules.t: id'),
    ('add_hold(''t'', key => ''{"id": 1, "n": 2}'', reason => ''x'')', '22023', NULL),
    ('add_hold(''t'', key => ''{"n": 1}'', reason => ''x'')', '22023', NULL),
    ('add_hold(''t'', key => ''{"id": null}'', reason => ''x'')', '22004', 'key column "id" must not be null'),
    ('add_hold(''t'', key => ''{"id": "abc"}'', reason => ''x'')', '22P02', NULL),
    ('add_hold(''t'', key => ''{"id": [1]}'', reason => ''x'')', '22P02', NULL),
    ('add_hold(''keyless'', key => ''{"id": 1}'', reason => ''x'')', '42704', 'policy_hold_rules.keyless has no key'),
    ('release_hold(NULL, ''x'')', '22004', 'id must not be null'),
    ('release_hold(-1, ''x'')', '42704', 'hold -1 does not exist');
SELECT count(*) AS before FROM retention.hold \gset
SELECT throws_ok('SELECT retention.' || call, state, message, 'G11 ' || call) FROM bad;
SELECT is(count(*), :before::bigint, 'G11 and none of them placed anything') FROM retention.hold;
SELECT throws_ok(format('SELECT retention.release_hold(%s, ''x'')', :kept), '55000', format('hold %s was released already', :kept), 'G11 a hold is released once');
SELECT hold('t', 'id = 1') AS kept \gset
SELECT throws_ok(format('SELECT retention.release_hold(%s, '' '')', :kept), '22023', 'a release needs a reason', 'G11 a release says why');
SELECT is((SELECT stands FROM retention.holds WHERE id = :kept), true, 'and the hold stands');

-- ---- Told ----

SELECT retention.add_policy('p', 't', '90 days', 'at') \gset
SELECT results_eq('SELECT relation, reason FROM retention.explain(''p'') WHERE what = ''legal hold''', format($$ VALUES ('policy_hold_rules.t', 'hold %s keeps these rows, and what refers to them by foreign keys: a case') $$, :kept), 'retention.explain tells which holds stand');
SELECT results_eq('SELECT severity, object, finding FROM retention.check(''p'') WHERE finding LIKE ''hold%''', format($$ VALUES ('info', 'policy_hold_rules.t', 'hold %s stands: a case') $$, :kept), 'as does retention.check');

SELECT * FROM finish();
DROP EXTENSION pg_retention;
DROP SCHEMA policy_hold_rules, planted CASCADE;
DROP ROLE regress_hold_legal, regress_hold_owner;
