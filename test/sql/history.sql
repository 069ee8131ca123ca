-- The history of runs is bounded by a policy of the engine's own: by age and number, but for what something needs.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema history
\set begin :test '/begin.psql'
\i :begin
SET client_min_messages = error;
DROP ROLE IF EXISTS regress_retention_caller;
CREATE ROLE regress_retention_caller;
SET timezone = 'UTC';
SELECT plan(37);

CREATE TABLE things (id int PRIMARY KEY, at timestamptz);
CREATE FUNCTION past(name text, first int, last int, age interval, ok boolean DEFAULT true, act text DEFAULT 'delete', why text DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
    WITH made AS (
        INSERT INTO retention.run (policy, policy_version, run_by, success, message, affected, subjects, dependents, skipped_locked, skipped_blocked, skipped_held,
                                   skipped_returned, cutoff, started, finished, batches, stop_reason, action)
        SELECT name, 1, 'somebody', ok, 'made up', 5, 5, '{}', 0, 0, 0, 0, now(), now() - age - g * interval '1 second', now() - age - g * interval '1 second', 1,
               COALESCE(why, CASE WHEN ok THEN 'done' ELSE 'error' END), act FROM generate_series(last, first, -1) g RETURNING id)
    INSERT INTO retention.batch (run, batch, relation, action, affected) SELECT id, b, 'history.things', 'delete', 1 FROM made, generate_series(1, 5) b;
$$;
CREATE FUNCTION kept(name text) RETURNS text LANGUAGE sql AS $$
    SELECT count(*) FILTER (WHERE success) || ' and ' || count(*) FILTER (WHERE NOT success) FROM retention.runs WHERE policy = name $$;

-- ---- When there is nothing to do ----

SELECT is_empty('SELECT policy FROM retention.run_list()', 'without a history there is nothing to run');
SELECT is((SELECT (retention.apply('retention_history')).affected), 0::bigint, 'and it may be run all the same');
SELECT past('young', 1, 20, '1 day') \gset
SELECT is_empty('SELECT policy FROM retention.run_list()', 'nor with a young and short one');

-- ---- Thousands of runs ----

SELECT past('old', 1, 3000, '401 days') \gset
SELECT past('old', 1, 3000, '10 days', false) \gset
SELECT past('often', 1, 3000, '1 day') \gset
SELECT past('often', 1, 500, '700 days', false) \gset
SELECT past('often', 1, 500, '800 days', false) \gset
ANALYZE retention.run, retention.batch;
SELECT retention.add_policy('often', 'things', '1 day', 'at') \gset
SELECT is((SELECT string_agg(policy, ',') FROM retention.run_list()), 'often,retention_history', 'the history comes last, once there is something to remove');
SELECT is((SELECT expected_rows FROM retention.preview('retention_history') WHERE role = 'target'), 2000 + 2000 + 3000 + 499::bigint, 'its preview counts what would go');
CREATE TABLE before AS SELECT (SELECT count(*) FROM retention.run) AS runs, (SELECT count(*) FROM retention.batch) AS batches;
CALL retention.run_all() \gset
SELECT is(kept('old'), '0 and 1000', 'runs beyond 400 days are gone, and of the failed ones all but the newest 1,000');
SELECT is(kept('often'), '1000 and 501', 'of successful runs the newest 1,000 are left; failed ones stay a year longer, and the last of a stored policy for good');
SELECT is(kept('young'), '20 and 0', 'the young ones stay');
SELECT is((SELECT array_agg(r.affected = (SELECT runs FROM before) + 1 - (SELECT count(*) FROM retention.run WHERE id < r.id)) FROM retention.run r WHERE policy = 'retention_history' AND affected > 0), '{t}', 'G4 its own run counts what is gone');
SELECT is((SELECT (dependents -> 'retention.batch')::bigint FROM retention.runs WHERE policy = 'retention_history' AND affected > 0), (SELECT batches FROM before) - (SELECT count(*) FROM retention.batch b JOIN retention.run r ON r.id = b.run WHERE r.policy <> 'retention_history'), 'G4 and the ledger rows that went along');
SELECT is((SELECT sum(b.affected) FROM retention.ledger b WHERE policy = 'retention_history' AND relation = 'retention.run')::bigint, (SELECT sum(affected) FROM retention.runs WHERE policy = 'retention_history')::bigint, 'G4 as its own ledger says');
SELECT is_empty('SELECT 1 FROM retention.batch b WHERE NOT EXISTS (SELECT 1 FROM retention.run r WHERE r.id = b.run)', 'G3 no ledger row is left without its run');
SELECT is((SELECT string_agg(policy, ',') FROM retention.run_list()), 'often', 'then it is not listed any more');
SELECT is((SELECT success FROM retention.runs WHERE policy = 'retention_history' ORDER BY id DESC LIMIT 1), true, 'its own run stays');

-- ---- The limits are the administrator's ----

SET retention.history_runs = 100;
SELECT is((SELECT (run_data_retention_cleanup() -> 'retention_history' ->> 'affected')::int), 901 + 900 + 401, 'retention.history_runs says how many are kept; the daily job sees to it');
SELECT is(kept('old') || ', ' || kept('often'), '0 and 100, 100 and 100', 'of each policy, successful and failed');
RESET retention.history_runs;
SELECT throws_ok('SET retention.history_runs = 0', '22023', NULL, 'G11 some are always kept');
SELECT retention.alter_policy('retention_history', expire_after => '12 hours') \gset
SELECT is((SELECT string_agg(policy, ',') FROM retention.run_list()), 'often,retention_history', 'once stored, it is listed like any other, and last');
SELECT is((SELECT success FROM retention.apply('retention_history')), true, 'with an age of its own');
SELECT is(kept('young') || ', ' || kept('often'), '0 and 0, 2 and 1', 'it removes by that');
SELECT retention.pause_policy('retention_history') \gset
SELECT is((SELECT string_agg(policy, ',') FROM retention.run_list()), 'often', 'a paused one is left out');
SELECT retention.remove_policy('retention_history') \gset
SELECT throws_ok($$ SELECT retention.adopt_preset('retention_history', target => 'things') $$, '22023', 'preset "retention_history" has no argument but expire_after', 'E115 G11 it has one table');

-- ---- What is needed stays ----

DELETE FROM retention.run;
SET retention.history_runs = 10;
SELECT retention.remove_policy('often') \gset
SELECT retention.add_policy('mean', 'things', '1 day', 'at', max_deviation => 2) \gset
SELECT past('mean', 1, 50, '500 days') \gset
SELECT (retention.apply('retention_history')).affected AS gone \gset
SELECT is(kept('mean'), '10 and 0', 'the runs that the median of max_deviation is taken of stay, whatever their age');
SELECT retention.alter_policy('mean', max_deviation => 0, max_rows => 1) \gset
SELECT (retention.apply('retention_history')).affected AS gone \gset
SELECT is(kept('mean'), '1 and 0', 'without such a limit the last one stays');
INSERT INTO things SELECT g, now() - interval '100 days' FROM generate_series(1, 3) g;
SELECT (retention.apply('mean')).stop_reason \gset
UPDATE retention.run SET finished = finished - interval '900 days' WHERE stop_reason = 'fuse';
SELECT past('mean', 1, 20, '900 days', false) \gset
SELECT (retention.apply('retention_history')).affected AS gone \gset
SELECT is((SELECT count(*) FROM retention.runs r JOIN retention.fuses f ON f.run = r.id), 1::bigint, 'the run that waits for an approval stays');
SELECT retention.approve('mean', (SELECT run FROM retention.fuses), 'why') \gset
SELECT past('mean', 21, 40, '900 days', false) \gset
SELECT (retention.apply('retention_history')).affected AS gone \gset
SELECT is((SELECT count(*) FROM retention.runs r JOIN retention.approvals a ON a.run = r.id), 1::bigint, 'and that of a standing approval');
SELECT (retention.apply('mean')).affected AS used \gset
UPDATE retention.run SET finished = finished - interval '900 days' WHERE approval IS NOT NULL;
SELECT (retention.apply('retention_history')).affected AS gone \gset
SELECT is((SELECT count(*) FROM retention.runs r JOIN retention.approvals a ON a.run = r.id), 0::bigint, 'which goes when the approval was used');
SELECT is((SELECT count(*) FROM retention.approvals), 1::bigint, 'approvals are kept for ever');
SELECT past('dead', 1, 1, '900 days', false, why => 'interrupted') \gset
UPDATE retention.run SET pid = 2147483647 WHERE policy = 'dead';
SELECT (retention.apply('retention_history')).affected AS gone \gset
SELECT is(kept('dead'), '0 and 0', 'a run that died is history like any other');

CREATE TABLE papers (id int PRIMARY KEY, at timestamptz);
INSERT INTO papers SELECT g, now() - interval '100 days' FROM generate_series(1, 3) g;
SELECT retention.add_policy('files', 'papers', '90 days', 'at', action => 'archive') \gset
SELECT (retention.apply('files')).run_id AS filed \gset
UPDATE retention.run SET started = started - interval '900 days', finished = finished - interval '900 days' WHERE policy = 'files';
INSERT INTO papers SELECT g, now() - interval '100 days' FROM generate_series(4, 6) g;
SELECT (retention.apply('files')).run_id AS filed_later \gset
SELECT (retention.apply('retention_history')).affected AS gone \gset
SELECT is(kept('files'), '2 and 0', 'a run whose rows are in an archive stays: it may be taken back');
DELETE FROM papers_archive WHERE retention_run_id = :filed;
SELECT (retention.apply('retention_history')).affected AS gone \gset
SELECT is((SELECT array_agg(id) FROM retention.runs WHERE policy = 'files'), ARRAY[:filed_later]::bigint[], 'it goes when they are gone');
UPDATE retention.run SET started = started - interval '900 days', finished = finished - interval '900 days' WHERE policy = 'files';
SELECT past('files', 1, 1, '1 day') \gset
SELECT (retention.apply('retention_history')).affected AS gone \gset
SELECT is(kept('files'), '2 and 0', 'one whose archive is there stays');
SELECT retention.remove_policy('files') \gset
SELECT (retention.apply('retention_history')).affected AS gone \gset
SELECT is((SELECT count(*) FROM retention.runs WHERE id = :filed_later), 1::bigint, 'also when the policy is gone');
DROP TABLE papers_archive;
SELECT (retention.apply('retention_history')).affected AS gone \gset
SELECT is((SELECT count(*) FROM retention.runs WHERE id = :filed_later), 0::bigint, 'but not when the archive is');

-- ---- Rights ----

SELECT past('mean', 1, 50, '500 days') \gset
GRANT EXECUTE ON FUNCTION retention.apply(text), retention.preview(text, timestamptz, int) TO regress_retention_caller;
SET ROLE regress_retention_caller;
SELECT throws_ok($$ SELECT * FROM retention.preview('retention_history') $$, '42501', NULL, 'G8 who may not read the history cannot preview it');
SELECT is((SELECT (retention.apply('retention_history')).affected > 0), true, 'who may run policies bounds it');
SELECT throws_ok('SET retention.history_runs = 10', '42501', NULL, 'G8 but cannot say how far');
RESET ROLE;

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA history CASCADE;
DROP EXTENSION pg_retention;
DROP ROLE regress_retention_caller;
