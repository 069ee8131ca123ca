\echo Use "ALTER EXTENSION pg_retention UPDATE TO '0.2.0'" to load this file. \quit

-- From 0.1.0: committed batches by walks and slices, and what they tell of themselves.

ALTER TABLE retention.run ADD COLUMN slice int, ADD COLUMN slices int, ADD COLUMN hand text, ADD COLUMN walk text,
    ADD COLUMN reason text, ADD COLUMN expected bigint, ADD COLUMN share double precision, ADD COLUMN pid int;

CREATE OR REPLACE VIEW retention.runs AS
    SELECT id, policy, policy_version, run_by, runs_as, action, success, message, affected, subjects, dependents,
           skipped_locked, skipped_blocked, skipped_held, skipped_returned, cutoff, started, finished,
           finished - started AS duration, batches, stop_reason, sqlstate, error_detail, statistics,
           slice, slices, hand, walk, reason
      FROM retention.run;
COMMENT ON VIEW retention.runs IS 'every run of every policy: who, when, how long, the frozen cutoff, counts and outcome; failed runs included';

CREATE VIEW retention.progress AS
    SELECT r.id AS run, r.policy, r.slice, r.slices, r.pid, r.started, r.affected, r.expected, r.share,
           r.affected / NULLIF(pg_catalog.date_part('epoch', r.finished - r.started), 0) AS rows_per_second,
           CASE WHEN r.share > 0 THEN (r.finished - r.started) * (1 / r.share - 1) END AS remaining
      FROM retention.run r
     WHERE r.stop_reason = 'interrupted'
       AND EXISTS (SELECT 1 FROM pg_catalog.pg_locks l
                    WHERE l.locktype = 'advisory' AND l.pid = r.pid AND l.granted AND l.classid = 1380275269 AND l.objsubid = 7
                      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
       AND r.id = (SELECT pg_catalog.max(m.id) FROM retention.run m WHERE m.pid = r.pid AND m.stop_reason = 'interrupted');
COMMENT ON VIEW retention.progress IS 'runs under way in this database, as of their last committed batch: rows of the target done, expected in all (an estimate), the share of the walk that is done (0 to 1), rows a second, and an estimate of the time that remains';

CREATE OR REPLACE VIEW retention.status AS
    SELECT n.name AS policy, COALESCE(p.paused, false) AS paused, COALESCE(p.target::text, p.target_name) AS target,
           COALESCE(p.action, l.action) AS action, p.expire_after,
           l.id AS last_run_id, l.started AS last_started, l.finished AS last_finished,
           CASE WHEN l.success THEN l.stop_reason WHEN NOT l.success THEN 'failed' END AS last_outcome,
           l.affected AS last_affected, s.last_success, COALESCE(s.runs, 0) AS runs, COALESCE(s.failures, 0) AS failures
      FROM (SELECT name FROM retention.policy UNION SELECT policy FROM retention.run) n
      LEFT JOIN retention.policy p ON p.name = n.name
      LEFT JOIN LATERAL (SELECT r.id, r.action, r.started, r.finished, r.success, r.stop_reason, r.affected FROM retention.run r WHERE r.policy = n.name ORDER BY r.id DESC LIMIT 1) l ON true
      LEFT JOIN LATERAL (SELECT pg_catalog.max(r.finished) FILTER (WHERE r.success) AS last_success, pg_catalog.count(*) AS runs,
                                pg_catalog.count(*) FILTER (WHERE NOT r.success) AS failures
                           FROM retention.run r WHERE r.policy = n.name) s ON true
     ORDER BY n.name;
COMMENT ON VIEW retention.status IS 'one row for each policy that is stored or has run: its last run, its last success, how often it ran and failed';

REVOKE ALL ON retention.progress FROM PUBLIC;

DROP PROCEDURE retention.run(text, bigint, interval, bigint, retention.result);

CREATE PROCEDURE retention.run(policy text, max_rows bigint DEFAULT NULL, max_runtime interval DEFAULT NULL, batch_rows bigint DEFAULT NULL,
    strict boolean DEFAULT true, slice int DEFAULT NULL, slices int DEFAULT NULL, max_rows_per_second bigint DEFAULT NULL,
    sleep interval DEFAULT NULL, INOUT result retention.result DEFAULT NULL)
    LANGUAGE C AS 'MODULE_PATHNAME', 'retention_run';
COMMENT ON PROCEDURE retention.run(text, bigint, interval, bigint, boolean, int, int, bigint, interval, retention.result) IS 'runs a policy batch by batch, each in a transaction of its own that also writes its ledger rows. Every batch judges its rows and their subjects right before its commit; with strict => false the subject is judged at the batch''s snapshot and not again. max_rows, max_runtime: where to stop; batch_rows: rows a batch instead of the measured pace; slice of slices (1 to 64): one of several sessions that share the work; max_rows_per_second and sleep (after each batch): how gently, default the settings retention.max_rows_per_second and retention.batch_sleep. stop_reason: done, max_rows, max_runtime, paused, running, fuse, locked, lag, cancelled, error. A killed run is shown as interrupted with what it really did. Errors: 2D000 inside a transaction block, 22023 for limits that are not positive or a slice that is none. May be called by roles granted EXECUTE';

REVOKE ALL ON PROCEDURE retention.run(text, bigint, interval, bigint, boolean, int, int, bigint, interval, retention.result) FROM PUBLIC;
