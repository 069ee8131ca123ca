-- The fuse (G7), approvals and required previews; what the ledger measures (G4).
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema fuse
\set begin :test '/begin.psql'
\i :begin
SET client_min_messages = error;
DROP ROLE IF EXISTS regress_retention_owner, regress_retention_caller;
CREATE ROLE regress_retention_owner;
CREATE ROLE regress_retention_caller;
SET timezone = 'UTC';
SELECT plan(111);

\i :functions
CREATE TABLE things (id int PRIMARY KEY, at timestamptz NOT NULL, mark text);
-- So many old rows and one that is young, in place of what is there.
CREATE FUNCTION fill(n int) RETURNS void LANGUAGE sql AS $$
    TRUNCATE things;
    INSERT INTO things SELECT g, ago(100) + g * interval '1 second' FROM generate_series(1, n) g UNION ALL SELECT 0, ago(1);
$$;
CREATE FUNCTION tried(policy text) RETURNS text LANGUAGE sql AS $$ SELECT row(success, affected, stop_reason)::text FROM retention.apply(policy) $$;
CREATE FUNCTION waits(name text) RETURNS text LANGUAGE sql AS $$ SELECT row(run, kind, expected, allowed)::text FROM retention.fuses WHERE policy = name $$;
CREATE FUNCTION approve(name text) RETURNS bigint LANGUAGE sql AS $$ SELECT retention.approve(name, (SELECT run FROM retention.fuses WHERE policy = name), 'looked at it') $$;

-- ---- Exactly at the limit ----

SELECT fill(10) \gset
SELECT retention.add_policy('p', 'things', '90 days', 'at', max_rows => 10) \gset
SELECT is(tried('p'), '(t,10,done)', 'G7 as many rows as max_rows pass');
SELECT fill(11) \gset
SELECT is(tried('p'), '(f,0,fuse)', 'G7 one more does not');
SELECT is((SELECT count(*) FROM things), 12::bigint, 'G7 and nothing is changed');
SELECT is(last('message'), '11 rows of fuse.things would go, but max_rows is 10; nothing was changed', 'G7 it says why, with the numbers');
SELECT is(last('sqlstate'), '55000', 'with the SQLSTATE of a state that must change first');
SELECT is((SELECT row(f.kind, f.expected, f.allowed, f.run = r.id)::text FROM retention.fuses f, retention.runs r ORDER BY r.id DESC LIMIT 1), '(max_rows,11,10,t)', 'the policy is marked with run, kind, rows and limit');
SELECT is((SELECT needs_approval FROM retention.policies WHERE name = 'p'), true, 'retention.policies shows that it waits for an approval');
SELECT is((SELECT row(needs_approval, fuse, fuse_expected, fuse_allowed)::text FROM retention.status WHERE policy = 'p'), '(t,max_rows,11,10)', 'and so does retention.status');
SELECT matches((SELECT severity || ' ' || finding || ' ' || remedy FROM retention.check('p') WHERE remedy ~ 'approve'), '^warning policy "p" waits for an approval .* SELECT retention.approve\(''p'', \d+, ''the reason''\);$', 'and retention.check, with the statement');
SELECT fill(1) \gset
SELECT is(tried('p'), '(f,0,fuse)', 'G7 until then the policy is refused, also with fewer rows');
SELECT matches(last('message'), '^policy "p" waits for an approval since run \d+, which would have taken 11 rows where max_rows allows 10$', 'and says for what it waits');
CALL retention.run('p') \gset
SELECT is(last('stop_reason'), 'fuse', 'G7 by retention.run too');
CALL retention.run('p', slice => 1, slices => 2) \gset
SELECT is(last('stop_reason || '' '' || slice'), 'fuse 1', 'G7 and by a slice');
SELECT is(waits('p'), (SELECT row(min(id), 'max_rows', 11, 10)::text FROM retention.runs WHERE stop_reason = 'fuse'), 'a refused run is not another mark');
SELECT retention.alter_policy('p', max_rows => 20) \gset
SELECT is(waits('p'), NULL, 'a changed policy waits no more');
SELECT is(tried('p'), '(t,1,done)', 'and is judged anew');
SELECT retention.alter_policy('p', max_rows => 0) \gset
SELECT is(tried('p'), '(t,0,done)', 'no rows pass a fuse of zero');
SELECT fill(3) \gset
SELECT is(tried('p'), '(f,0,fuse)', 'G7 one does not');
SELECT retention.pause_policy('p') \gset
SELECT retention.resume_policy('p') \gset
SELECT is(tried('p'), '(f,0,fuse)', 'G7 a pause changes nothing about the mark');
SELECT retention.remove_policy('p') \gset
SELECT is((SELECT needs_approval FROM retention.status WHERE policy = 'p'), false, 'a policy that is gone waits for nothing');
SELECT retention.add_policy('p', 'things', '90 days', 'at') \gset
SELECT is(tried('p'), '(t,3,done)', 'nor does another of its name');
SELECT retention.remove_policy('p') \gset

-- ---- Fractions ----

SELECT retention.add_policy('f', 'things', '90 days', 'at', max_fraction => 0.29) \gset
TRUNCATE things;
SELECT is(tried('f'), '(t,0,done)', 'a fraction of an empty table is no reason to stop');
INSERT INTO things SELECT g, CASE WHEN g <= 29 THEN ago(100) ELSE ago(1) END FROM generate_series(1, 100) g;
SELECT is(tried('f'), '(t,29,done)', 'G7 29 rows of 100 are 0.29, whatever their last bit');
TRUNCATE things;
INSERT INTO things SELECT g, CASE WHEN g <= 30 THEN ago(100) ELSE ago(1) END FROM generate_series(1, 100) g;
SELECT is(tried('f'), '(f,0,fuse)', 'G7 30 are more');
SELECT is(waits('f'), (SELECT row(max(id), 'max_fraction', 30, 29)::text FROM retention.runs), 'G7 and so it says');
SELECT retention.remove_policy('f') \gset
CREATE TABLE parts (id int, at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE parts_old PARTITION OF parts FOR VALUES FROM (MINVALUE) TO ('2001-01-01');
CREATE TABLE parts_new PARTITION OF parts DEFAULT;
INSERT INTO parts SELECT g, '2000-01-01' FROM generate_series(1, 5) g UNION ALL SELECT g, now() FROM generate_series(6, 10) g;
SELECT retention.add_policy('parted', 'parts', '90 days', 'at', max_fraction => 0.4) \gset
SELECT is(tried('parted'), '(f,0,fuse)', 'G7 the fraction is of all partitions');
SELECT is(waits('parted'), (SELECT row(max(id), 'max_fraction', 5, 4)::text FROM retention.runs), 'G7 not of the one that has the rows');
SELECT retention.remove_policy('parted') \gset

-- ---- The same for every action and every way ----

SELECT retention.add_policy('u', 'things', '90 days', 'at', condition => 'target.mark IS NULL', action => 'update', set_clause => $$ mark = 'old' $$, max_rows => 2) \gset
SELECT fill(3) \gset
SELECT is(tried('u') || (SELECT count(mark) FROM things), '(f,0,fuse)0', 'G7 an update is stopped too');
SELECT retention.remove_policy('u') \gset
SELECT retention.add_policy('w', 'things', '90 days', 'at', max_rows => 2) \gset
SET retention.walk = blocks;
CALL retention.run('w') \gset
SELECT is(last('stop_reason'), 'fuse', 'G7 the walk over blocks counts before it begins');
SELECT is(approve('w'), 3::bigint, 'approve returns the rows approved');
SET retention.walk = list;
SELECT fill(4) \gset
CALL retention.run('w') \gset
SELECT is(last('stop_reason'), 'fuse', 'G7 the walk over a list knows their number');
SELECT is(waits('w'), (SELECT row(max(id), 'approval', 4, 3)::text FROM retention.runs), 'G7 an approval is no blank cheque: more rows than it says are stopped');
SELECT matches(last('message'), '^4 rows of fuse.things would go, but run \d+ is approved for 3; nothing was changed$', 'and told');
SELECT is((SELECT string_agg(state, ',' ORDER BY id) FROM retention.approvals WHERE policy = 'w'), 'exceeded', 'such an approval is at its end');
RESET retention.walk;
SELECT retention.remove_policy('w') \gset

-- ---- Approvals ----

SELECT retention.add_policy('a', 'things', '90 days', 'at', max_rows => 2) \gset
SELECT fill(5) \gset
SELECT throws_ok($$ SELECT retention.approve('a', 1, 'why') $$, '55000', 'policy "a" does not wait for an approval', 'E114 G11 nothing to approve');
SELECT is(tried('a'), '(f,0,fuse)', 'G7 five rows are stopped');
SELECT throws_ok($$ SELECT retention.approve('a', 1, 'why') $$, '22023', 'policy "a" does not wait for an approval of run 1', 'E113 G11 another run');
SELECT throws_ok($$ SELECT approve('nobody') $$, '22004', 'run_id must not be null', 'E01 G11 no run');
SELECT throws_ok($$ SELECT retention.approve('nobody', 1, 'why') $$, '42704', 'policy "nobody" does not exist', 'E61 G11 no policy');
SELECT throws_ok($$ SELECT retention.approve(NULL, 1, 'why') $$, '22004', 'policy must not be null', 'E01 G11 a NULL');
SELECT throws_ok($$ SELECT retention.approve('a', (SELECT run FROM retention.fuses), NULL) $$, '22004', 'reason must not be null', 'E01 G11 no reason');
SELECT throws_ok($$ SELECT retention.approve('a', (SELECT run FROM retention.fuses), E' \n') $$, '22023', 'reason must not be empty', 'E112 G11 an empty one');
SELECT is((SELECT count(*) FROM retention.approvals WHERE policy = 'a'), 0::bigint, 'G11 and nothing is approved by any of them');
SELECT is(retention.approve('a', (SELECT run FROM retention.fuses), $$O'Brien: "größer" \ $$ || repeat('x', 9000)), 5::bigint, 'a reason may be long and hold anything');
SELECT is((SELECT row(state, rows, done, approved_by, length(reason))::text FROM retention.approvals WHERE policy = 'a'), '(standing,5,0,' || session_user || ',9020)', 'who, how many and why are kept');
INSERT INTO things SELECT g, now() - interval '90 days' - interval '1 microsecond' FROM generate_series(101, 120) g;
SELECT is(last('cutoff') < (SELECT min(at) FROM things WHERE id > 100)::text, true, 'rows that expire later are on the other side of the cutoff');
CALL retention.run('a', max_rows => 2) \gset
SELECT is(last('affected || '' '' || stop_reason'), '2 max_rows', 'an approved run may stop on its way');
SELECT is((SELECT row(state, done)::text FROM retention.approvals WHERE policy = 'a'), '(standing,2)', 'and the approval stands for the rest');
SELECT is(tried('a'), '(t,3,done)', 'G7 an approved run takes the rows of the run that was stopped, and none that expired since');
SELECT is((SELECT row(state, done, ended_by = (SELECT max(id) FROM retention.runs))::text FROM retention.approvals WHERE policy = 'a'), '(used,5,t)', 'and uses the approval up');
SELECT is((SELECT count(DISTINCT cutoff) FROM retention.runs WHERE policy = 'a' AND cutoff IS NOT NULL), 1::bigint, 'all with one cutoff');
SELECT is(last('approval IS NOT NULL'), 'true', 'retention.runs tells by which approval');
UPDATE things SET at = ago(100) WHERE id BETWEEN 101 AND 103;
SELECT is(tried('a'), '(f,0,fuse)', 'G7 once: the next run is judged by the limit again');
SELECT is(approve('a') >= 3, true, 'it is approved');
SELECT retention.alter_policy('a', expire_after => '91 days') \gset
SELECT is((SELECT state FROM retention.approvals WHERE policy = 'a' ORDER BY id DESC LIMIT 1), 'void', 'a change of the policy voids the approval');
SELECT is(tried('a'), '(f,0,fuse)', 'G7 and the limit counts again');
SELECT is(approve('a'), 3::bigint, 'it is approved again');
BEGIN;
SELECT is(tried('a'), '(t,3,done)', 'an approved run');
ROLLBACK;
SELECT is((SELECT state FROM retention.approvals WHERE policy = 'a' ORDER BY id DESC LIMIT 1), 'standing', 'that is rolled back has not used the approval');
CREATE FUNCTION raises() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
CREATE TRIGGER raises BEFORE DELETE ON things FOR EACH ROW EXECUTE FUNCTION raises();
SELECT is((SELECT success FROM retention.apply('a')), false, 'an approved run that fails');
SELECT is((SELECT state FROM retention.approvals WHERE policy = 'a' ORDER BY id DESC LIMIT 1), 'standing', 'has not used it either');
DROP TRIGGER raises ON things;
CALL retention.run('a', slice => 1, slices => 2) \gset
SELECT is((SELECT state FROM retention.approvals WHERE policy = 'a' ORDER BY id DESC LIMIT 1), 'standing', 'one slice of two has not');
CALL retention.run('a', slice => 2, slices => 2) \gset
SELECT is((SELECT row(state, done)::text FROM retention.approvals WHERE policy = 'a' ORDER BY id DESC LIMIT 1), '(used,3)', 'both slices have');
SELECT retention.remove_policy('a') \gset

-- ---- Rights ----

SELECT retention.add_policy('a', 'things', '90 days', 'at', max_rows => 2) \gset
SELECT fill(5) \gset
SELECT is(tried('a'), '(f,0,fuse)', 'G7 stopped');
SELECT run AS stopped FROM retention.fuses \gset
SET ROLE regress_retention_caller;
SELECT throws_ok(format($$ SELECT retention.approve('a', %s, 'why') $$, :'stopped'), '42501', 'permission denied for function approve', 'G8 approving needs EXECUTE');
RESET ROLE;
GRANT EXECUTE ON FUNCTION retention.approve(text, bigint, text) TO regress_retention_caller, regress_retention_owner;
SET ROLE regress_retention_caller;
SELECT throws_ok(format($$ SELECT retention.approve('a', %s, 'why') $$, :'stopped'), '42501', 'must be owner of policy "a"', 'G8 and the rights of the policy''s owner');
SELECT throws_ok($$ SET retention.max_deviation = 0 $$, '42501', NULL, 'G8 who may only run policies cannot weaken their fuse');
SELECT throws_ok($$ SET retention.require_preview = off $$, '42501', NULL, 'G8 nor the preview that is required');
RESET ROLE;
ALTER TABLE things OWNER TO regress_retention_owner;
SELECT retention.remove_policy('a') \gset
GRANT USAGE ON SCHEMA fuse TO regress_retention_owner;
SELECT retention.add_policy('a', 'things', '90 days', 'at', max_rows => 2) \gset
SELECT is(tried('a'), '(f,0,fuse)', 'G7 stopped again');
SELECT run AS stopped FROM retention.fuses \gset
SET ROLE regress_retention_owner;
SELECT lives_ok(format($$ SELECT retention.approve('a', %s, 'mine') $$, :'stopped'), 'G8 which its owner has, without any right on the tables of the engine');
RESET ROLE;
SELECT retention.remove_policy('a') \gset
ALTER TABLE things OWNER TO CURRENT_USER;

-- ---- Deviation ----

SELECT throws_ok($$ SELECT retention.add_policy('d', 'things', '90 days', 'at', max_deviation => 0.5) $$, '22023', 'max_deviation must be at least 1, or 0', 'E110 G11 a deviation that nothing passes');
SELECT throws_ok($$ SELECT retention.add_policy('d', 'things', '90 days', 'at', max_deviation => 'infinity') $$, '22023', 'max_deviation must be at least 1, or 0', 'E110 G11 or everything');
SELECT throws_ok($$ SET retention.max_deviation = 0.5 $$, '22023', NULL, 'G11 the setting neither');
SELECT retention.add_policy('d', 'things', '90 days', 'at', max_deviation => 2.5) \gset
CREATE FUNCTION runs(VARIADIC n int[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE i int; said text := '';
BEGIN
    FOREACH i IN ARRAY n LOOP
        PERFORM fill(i);
        said := said || ' ' || (SELECT stop_reason FROM retention.apply('d'));
    END LOOP;
    RETURN ltrim(said);
END $$;
SELECT is(runs(4, 1000), 'done done', 'two runs are no history');
SELECT is(runs(0, 0, 0, 0), 'done done done done', 'runs without rows are none');
SELECT is(runs(6), 'done', 'a third run makes one');
SELECT is(runs(15), 'done', 'G7 two and a half times the median of 4, 6 and 1000 passes');
SELECT is(runs(27), 'fuse', 'G7 more than that of 4, 6, 15 and 1000 does not');
SELECT matches(last('message'), 'but max_deviation allows 26, 2.5 times 10.5, the median of its last 4 runs; nothing was changed$', 'G7 and is told with the median');
SELECT is(approve('d'), 27::bigint, 'it is approved');
SELECT is(tried('d'), '(t,27,done)', 'and runs');
SET retention.deviation_runs = 3;
SELECT is(runs(40), 'fuse', 'G7 retention.deviation_runs says of how many runs: 15, 27 and 6');
SELECT retention.alter_policy('d', max_deviation => 0) \gset
SET retention.max_deviation = 1;
SELECT is(tried('d'), '(t,40,done)', '0 takes the limit away, whatever the setting');
SELECT retention.alter_policy('d', reset => '{max_deviation}') \gset
SELECT is(runs(28), 'fuse', 'G7 without a number of its own the policy has that of the setting: 27');
RESET retention.max_deviation;
RESET retention.deviation_runs;
SELECT retention.remove_policy('d') \gset
SELECT retention.add_policy('d', 'things', '90 days', 'at', max_deviation => 1) \gset
SELECT is(runs(50), 'done', 'a policy that was made anew has no history');
SELECT is((SELECT e -> 'max_deviation' FROM jsonb_array_elements(retention.export_policies()) e), '1'::jsonb, 'export_policies tells the limit');
SELECT retention.remove_policy('d') \gset

-- ---- What was taken back is no history ----

CREATE TABLE papers (id int PRIMARY KEY, at timestamptz);
SELECT retention.add_policy('b', 'papers', '90 days', 'at', action => 'archive', max_deviation => 2) \gset
CREATE FUNCTION file(n int) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO papers SELECT (SELECT count(*) FROM papers_archive) + g, ago(100) FROM generate_series(1, n) g;
    RETURN (SELECT run_id FROM retention.apply('b'));
END $$;
SELECT file(10), file(10) \gset
INSERT INTO papers SELECT g, ago(100) FROM generate_series(100, 200) g;
SELECT retention.alter_policy('b', max_deviation => 0) \gset
SELECT run_id AS filed FROM retention.apply('b') \gset
SELECT is((SELECT row(success, affected)::text FROM retention.restore(:filed)), '(t,101)', 'a hundred and one rows come back');
SELECT is((SELECT row(success, affected)::text FROM retention.apply('b')), '(t,101)', 'and go again');
SELECT run_id AS filed FROM retention.apply('b') \gset
SELECT retention.alter_policy('b', max_deviation => 1) \gset
DELETE FROM retention.run WHERE policy = 'b' AND affected = 101 AND action = 'archive';
INSERT INTO papers SELECT g, ago(100) FROM generate_series(300, 310) g;
SELECT is(tried('b'), '(t,11,done)', 'two runs and one that put rows back are two: no history yet');
SELECT retention.remove_policy('b') \gset

-- ---- A preview first ----

SET retention.require_preview = on;
SELECT retention.add_policy('v', 'things', '90 days', 'at') \gset
SELECT fill(7) \gset
SELECT is(tried('v'), '(f,0,fuse)', 'G7 a new policy is not run before somebody looked at it');
SELECT is(waits('v'), (SELECT row(max(id), 'preview', 7, 0)::text FROM retention.runs), 'G7 it says what would have gone');
SET default_transaction_read_only = on;
SELECT is((SELECT expected_rows FROM retention.preview('v')), 7::bigint, 'a preview in a read-only transaction');
RESET default_transaction_read_only;
SELECT is(tried('v'), '(f,0,fuse)', 'cannot be noted');
SELECT is((SELECT expected_rows FROM retention.preview('v')), 7::bigint, 'one in another');
SELECT is(tried('v'), '(t,7,done)', 'lets the policy run');
SELECT fill(8) \gset
SELECT is(tried('v'), '(t,8,done)', 'from then on');
SELECT retention.alter_policy('v', expire_after => '80 days') \gset
SELECT fill(9) \gset
SELECT is(tried('v'), '(f,0,fuse)', 'G7 a changed policy is new');
SET retention.require_preview = off;
BEGIN;
SELECT is(tried('v'), '(t,9,done)', 'where no preview is required any more it runs');
SELECT is(waits('v'), NULL, 'and waits for nothing');
ROLLBACK;
SET retention.require_preview = on;
SELECT is(approve('v'), 9::bigint, 'an approval is as good as a preview');
SELECT is(tried('v'), '(t,9,done)', 'and it runs');
SELECT fill(2) \gset
SELECT is(tried('v'), '(t,2,done)', 'from then on too');
RESET retention.require_preview;
SELECT retention.remove_policy('v') \gset

-- ---- What the ledger measures ----

CREATE TABLE owners (id int PRIMARY KEY, seen timestamptz);
CREATE TABLE owned (id int PRIMARY KEY, owner int REFERENCES owners, note text);
CREATE TABLE notes (id int PRIMARY KEY, owned int REFERENCES owned ON DELETE CASCADE);
INSERT INTO owners SELECT g, ago(100) FROM generate_series(1, 10) g;
INSERT INTO owned SELECT g, 1 + g % 10, repeat('x', 100) FROM generate_series(1, 100) g;
INSERT INTO notes SELECT g, g FROM generate_series(1, 100) g;
SELECT retention.add_policy('l', 'owned', '90 days', 'seen', subject => 'owners') \gset
CALL retention.run('l', batch_rows => 30) \gset
SELECT is(last('affected || '' '' || subjects || '' '' || batches'), '100 10 4', 'G4 a run in batches');
SELECT is((SELECT row(sum(affected) FILTER (WHERE relation = 'fuse.owned'), sum(affected) FILTER (WHERE relation = 'fuse.notes'), sum(subjects))::text FROM retention.ledger WHERE policy = 'l'), '(100,100,10)', 'G4 rows by table, and each subject once');
SELECT is((SELECT row(count(*), count(bytes), count(subjects), count(duration), count(wal_position))::text FROM retention.ledger WHERE policy = 'l'), '(8,4,4,4,8)', 'what a batch cost stands on its first row, the WAL position on each');
SELECT is((SELECT bool_and(bytes > 0 AND duration > '0' AND relation = 'fuse.owned') FROM retention.ledger WHERE policy = 'l' AND bytes IS NOT NULL), true, 'it is measured, and stands with the target');
SELECT is((SELECT sum(bytes) <= pg_wal_lsn_diff(max(wal_position), min(wal_position)) + max(bytes) FROM retention.ledger WHERE policy = 'l'), true, 'no more WAL than lies between the first and the last batch, and the first');
SELECT is((SELECT bool_and(wal_position > before) FROM (SELECT wal_position, lag(wal_position) OVER (ORDER BY batch, wal_position) AS before FROM retention.ledger WHERE policy = 'l') w), true, 'the WAL goes on');
SELECT is((SELECT bool_and(wal_position < pg_current_wal_insert_lsn()) FROM retention.ledger), true, 'and further');
INSERT INTO owned SELECT g, 1, '' FROM generate_series(1, 5) g;
SELECT is((retention.apply('l')).affected, 5::bigint, 'G4 apply');
SELECT is((SELECT row(batch, affected, subjects, bytes > 0, duration > '0')::text FROM retention.ledger ORDER BY run DESC LIMIT 1), '(1,5,1,t,t)', 'G4 writes the same, as one batch');

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA fuse CASCADE;
DROP EXTENSION pg_retention;
DROP ROLE regress_retention_owner, regress_retention_caller;
