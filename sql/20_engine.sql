
-- ---- The engine ------------------------------------------------------------------------------------------------

CREATE TYPE retention.result AS (
    success          boolean,
    message          text,
    policy           text,
    run_id           bigint,
    action           text,
    affected         bigint,
    subjects         bigint,
    dependents       jsonb,
    skipped_locked   bigint,
    skipped_blocked  bigint,
    skipped_held     bigint,
    skipped_returned bigint,
    cutoff           timestamptz,
    started          timestamptz,
    finished         timestamptz,
    batches          int,
    stop_reason      text,
    sqlstate         text,
    error_detail     text,
    skipped_failed   bigint
);
COMMENT ON TYPE retention.result IS 'what a run did: rows of the target affected, distinct subjects, rows of dependents by table, rows skipped and why, the cutoff, and how it ended';

CREATE FUNCTION retention.library_version() RETURNS text
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'retention_library_version';
COMMENT ON FUNCTION retention.library_version() IS 'version of the loaded library; compare with pg_extension.extversion. Anybody may call it';

CREATE FUNCTION retention.apply(policy text) RETURNS retention.result
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_apply';
COMMENT ON FUNCTION retention.apply(text) IS 'runs a policy (stored, or a preset) in the caller''s transaction, all or nothing (a row that cannot be removed undoes it all), with the rights of the policy''s owner, and records the run. Errors: 42704 no such policy; an error of the run itself is success = false. May be called by roles granted EXECUTE';

CREATE PROCEDURE retention.run(policy text, max_rows bigint DEFAULT NULL, max_runtime interval DEFAULT NULL, batch_rows bigint DEFAULT NULL,
    strict boolean DEFAULT true, slice int DEFAULT NULL, slices int DEFAULT NULL, max_rows_per_second bigint DEFAULT NULL,
    sleep interval DEFAULT NULL, INOUT result retention.result DEFAULT NULL)
    LANGUAGE C AS 'MODULE_PATHNAME', 'retention_run';
COMMENT ON PROCEDURE retention.run(text, bigint, interval, bigint, boolean, int, int, bigint, interval, retention.result) IS 'runs a policy batch by batch, each in a transaction of its own that also writes its ledger rows. Every batch judges its rows and their subjects right before its commit; with strict => false the subject is judged at the batch''s snapshot and not again. max_rows, max_runtime: where to stop; batch_rows: rows a batch instead of the measured pace; slice of slices (1 to 64): one of several sessions that share the work; max_rows_per_second and sleep (after each batch): how gently, default the settings retention.max_rows_per_second and retention.batch_sleep. stop_reason: done, max_rows, max_runtime, paused, running, fuse, locked, lag, cancelled, error. A row that cannot be removed is found by halving its batch, told in retention.failures and counted as skipped_failed; the rest goes on, up to retention.max_failures of them. A killed run is shown as interrupted with what it really did. Errors: 2D000 inside a transaction block, 22023 for limits that are not positive or a slice that is none. May be called by roles granted EXECUTE';

CREATE PROCEDURE retention.run_all(INOUT results jsonb DEFAULT NULL)
    LANGUAGE C AS 'MODULE_PATHNAME', 'retention_run_all';
COMMENT ON PROCEDURE retention.run_all(jsonb) IS 'retention.run for everything that retention.run_list() lists, in order; one failing policy does not stop the others. Returns an array of policy, success, message, run_id, affected, failed (rows), stop_reason. May be called by roles granted EXECUTE';

CREATE FUNCTION retention.preview(policy text, as_of timestamptz DEFAULT NULL, sample int DEFAULT 5,
    OUT relation text, OUT role text, OUT expected_rows bigint, OUT blocked bigint, OUT held bigint,
    OUT oldest timestamptz, OUT newest timestamptz, OUT sample_keys jsonb, OUT failed bigint) RETURNS SETOF record
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_preview';
COMMENT ON FUNCTION retention.preview(text, timestamptz, int) IS 'what a run would do now, or at as_of: for the target and each table of dependents the rows that would go, those blocked or held, the oldest and newest instant, up to sample keys, and those that failed and wait for their next try (retention.failures). Changes no row of any policy; with retention.require_preview on, in a transaction that may write, it notes that the policy was looked at (retention.previewed). Works in a read-only transaction and on a standby. May be called by roles granted EXECUTE';

CREATE FUNCTION retention.explain(policy text, OUT step int, OUT what text, OUT relation text, OUT statement text, OUT reason text,
    OUT indexes text[]) RETURNS SETOF record
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_explain';
COMMENT ON FUNCTION retention.explain(text) IS 'the plan of a run: the cutoff, the statements in order ($1 is the cutoff or a set of rows), the way chosen and why, the indexes the planner would use. Runs nothing. May be called by roles granted EXECUTE';

CREATE FUNCTION retention.check(policy text DEFAULT NULL, OUT severity text, OUT policy_name text, OUT object text, OUT finding text,
    OUT remedy text) RETURNS SETOF record
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_check';
COMMENT ON FUNCTION retention.check(text) IS 'the advisor: findings about one policy, or all stored ones, with severity error, warning or info and the statement that mends each: missing indexes, row security, triggers, publications without replica identity, runs that never happened or are long ago, a backlog, materialized views. Changes nothing. May be called by roles granted EXECUTE';

CREATE FUNCTION retention.run_list(OUT policy text) RETURNS SETOF text
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'retention_run_list';
COMMENT ON FUNCTION retention.run_list() IS 'the policies that the daily job and "pg_retention run --all" run, in order: every stored policy that is not paused, the preset inactive_carts where its tables are found, and last the preset retention_history where it has something to remove. May be called by roles granted EXECUTE';

-- ---- Defining policies -----------------------------------------------------------------------------------------

CREATE FUNCTION retention.adopt_preset(name text, target regclass DEFAULT NULL, subject regclass DEFAULT NULL,
    time_column name DEFAULT NULL, expire_after interval DEFAULT NULL, time_zone text DEFAULT NULL, path name[] DEFAULT NULL,
    activity regclass DEFAULT NULL, activity_time_column name DEFAULT NULL, activity_condition text DEFAULT NULL,
    images regclass DEFAULT NULL, videos regclass DEFAULT NULL, condition text DEFAULT NULL, set_clause text DEFAULT NULL,
    if_not_exists boolean DEFAULT false) RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_adopt_preset';
COMMENT ON FUNCTION retention.adopt_preset(text, regclass, regclass, name, interval, text, name[], regclass, name, text, regclass, regclass, text, text, boolean) IS 'stores a preset (inactive_carts, old_cart_items, inactive_sessions, pending_bookings, retention_history) as a policy; what is not given is taken from the conventional names on the search_path. From then on the stored policy is the only truth. Errors: 42P01, 42703, 42704 for what is missing, 42710 where it exists, 42501 for missing rights, 22023 for values that cannot be. May be called by roles granted EXECUTE';

CREATE FUNCTION retention.add_policy(name text, target regclass, expire_after interval DEFAULT NULL, time_column name DEFAULT NULL,
    subject regclass DEFAULT NULL, path name[] DEFAULT NULL, time_columns name[] DEFAULT NULL, time_match text DEFAULT NULL,
    time_unit text DEFAULT NULL, time_zone text DEFAULT NULL, expiry_expression text DEFAULT NULL, never text[] DEFAULT NULL,
    when_null text DEFAULT NULL, condition text DEFAULT NULL, action text DEFAULT NULL, set_clause text DEFAULT NULL,
    archive_to regclass DEFAULT NULL, dependents text DEFAULT NULL, keep_latest bigint DEFAULT NULL, keep_per name[] DEFAULT NULL,
    max_rows bigint DEFAULT NULL, max_fraction double precision DEFAULT NULL, run_order int DEFAULT NULL,
    paused boolean DEFAULT NULL, if_not_exists boolean DEFAULT false, record_keys boolean DEFAULT NULL,
    max_deviation double precision DEFAULT NULL) RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_add_policy';
COMMENT ON FUNCTION retention.add_policy(text, regclass, interval, name, regclass, name[], name[], text, text, text, text, text[], text, text, text, text, regclass, text, bigint, name[], bigint, double precision, int, boolean, boolean, boolean, double precision) IS 'makes a policy: rows of target whose time (time_column of subject, read in time_unit or time_zone; several time_columns with time_match all or any; or expiry_expression) lies more than expire_after back, and that satisfy condition, are deleted, updated by set_clause, or archived. Everything is checked before it is stored. Errors: 22004, 22023 for values, 42P01, 42703, 42704, 42804 for what does not exist or fit, 42P08 for several paths, 42601 for SQL that is not one expression, 42710 for a name in use, 42501 for missing rights, 0A000 for tables that are not supported. See doc/pg_retention.md. May be called by roles granted EXECUTE';

CREATE FUNCTION retention.add_activity(policy text, relation regclass, time_column name, join_condition text,
    condition text DEFAULT NULL, time_unit text DEFAULT NULL, time_zone text DEFAULT NULL) RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_add_activity';
COMMENT ON FUNCTION retention.add_activity(text, regclass, name, text, text, text, text) IS 'a subject is alive while relation has a row for it (join_condition, condition: SQL over activity, subject) whose time is not older than the cutoff, or unknown; several activities are OR-ed. For the policy''s owner';

CREATE FUNCTION retention.add_dependent(policy text, relation regclass, join_condition text DEFAULT NULL, action text DEFAULT 'delete',
    parent regclass DEFAULT NULL) RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_add_dependent';
COMMENT ON FUNCTION retention.add_dependent(text, regclass, text, text, regclass) IS 'says what happens to rows of relation that belong to a row that goes: delete, set_null, keep or refuse. Without join_condition, for its foreign key; with one (SQL over dependent, target), for rows no foreign key binds. parent: the table they hang on, default the policy''s target. For the policy''s owner';

CREATE FUNCTION retention.alter_policy(name text, expire_after interval DEFAULT NULL, time_column name DEFAULT NULL,
    subject regclass DEFAULT NULL, path name[] DEFAULT NULL, time_columns name[] DEFAULT NULL, time_match text DEFAULT NULL,
    time_unit text DEFAULT NULL, time_zone text DEFAULT NULL, expiry_expression text DEFAULT NULL, never text[] DEFAULT NULL,
    when_null text DEFAULT NULL, condition text DEFAULT NULL, action text DEFAULT NULL, set_clause text DEFAULT NULL,
    archive_to regclass DEFAULT NULL, dependents text DEFAULT NULL, keep_latest bigint DEFAULT NULL, keep_per name[] DEFAULT NULL,
    max_rows bigint DEFAULT NULL, max_fraction double precision DEFAULT NULL, run_order int DEFAULT NULL,
    target regclass DEFAULT NULL, reset text[] DEFAULT NULL, record_keys boolean DEFAULT NULL,
    max_deviation double precision DEFAULT NULL) RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_alter_policy';
COMMENT ON FUNCTION retention.alter_policy(text, interval, name, regclass, name[], name[], text, text, text, text, text[], text, text, text, text, regclass, text, bigint, name[], bigint, double precision, int, regclass, text[], boolean, double precision) IS 'changes what is given of a policy, sets the fields named in reset back to their defaults, checks the whole definition again, and raises its version; a preset that is not stored yet is stored first. For the policy''s owner';

CREATE FUNCTION retention.remove_policy(name text, if_exists boolean DEFAULT false) RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_remove_policy';
COMMENT ON FUNCTION retention.remove_policy(text, boolean) IS 'removes a policy; its runs and its history of changes stay. For the policy''s owner';

CREATE FUNCTION retention.pause_policy(name text) RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_pause_policy';
COMMENT ON FUNCTION retention.pause_policy(text) IS 'puts a policy to rest: runs of it end at once, successfully, with no rows; a preset that is not stored yet is stored first. For the policy''s owner';

CREATE FUNCTION retention.resume_policy(name text) RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_resume_policy';
COMMENT ON FUNCTION retention.resume_policy(text) IS 'lets a paused policy run again; also re-arms a policy that a restore brought into another cluster or database. For the policy''s owner';

CREATE FUNCTION retention.export_policies() RETURNS jsonb
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'retention_export_policies';
COMMENT ON FUNCTION retention.export_policies() IS 'every stored policy as an array of JSON objects, tables by qualified name; what retention.import_policies takes. May be called by roles granted EXECUTE';

CREATE FUNCTION retention.import_policies(policies jsonb, dry_run boolean DEFAULT false, OUT policy text, OUT change text, OUT field text,
    OUT old jsonb, OUT new jsonb) RETURNS SETOF record
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_import_policies';
COMMENT ON FUNCTION retention.import_policies(jsonb, boolean) IS 'makes stored policies equal to the given definitions and returns the differences; with dry_run only the differences. Importing the same again changes nothing. Policies not named stay. May be called by roles granted EXECUTE; an existing policy is changed only for its owner';

-- ---- Views -----------------------------------------------------------------------------------------------------

CREATE VIEW retention.policies AS
    SELECT p.name, p.version, COALESCE(o.rolname::text COLLATE "default", p.owner_name) AS owner, p.preset, p.paused, p.target, p.subject, p.path, p.action, p.set_clause,
           p.archive_to, p.time_columns, p.time_match, p.time_unit, p.time_zone, p.never, p.when_null, p.expire_after,
           p.expiry_expression, p.condition, p.keep_latest, p.keep_per, p.max_rows, p.max_fraction, p.dependents, p.run_order,
           (SELECT pg_catalog.count(*) FROM retention.policy_activity a WHERE a.policy = p.name) AS activities,
           (SELECT pg_catalog.array_agg(d.relation ORDER BY d.position) FROM retention.policy_dependent d WHERE d.policy = p.name) AS dependent_tables,
           COALESCE(p.record_keys, false) AS record_keys,
           p.max_deviation, EXISTS (SELECT 1 FROM retention.fuses f WHERE f.policy = p.name) AS needs_approval
      FROM retention.policy p LEFT JOIN pg_catalog.pg_roles o ON o.oid = p.owner;
COMMENT ON VIEW retention.policies IS 'the stored policies, readable';

CREATE VIEW retention.runs AS
    SELECT id, policy, policy_version, run_by, runs_as, action, success, message, affected, subjects, dependents,
           skipped_locked, skipped_blocked, skipped_held, skipped_returned, cutoff, started, finished,
           finished - started AS duration, batches, stop_reason, sqlstate, error_detail, statistics,
           slice, slices, hand, walk, reason, asked, approval, skipped_failed
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

CREATE VIEW retention.ledger AS
    SELECT b.run, r.policy, b.batch, b.relation, b.action, b.affected, b.recorded_at,
           b.bytes, b.subjects, b.duration, b.wal_position
      FROM retention.batch b JOIN retention.run r ON r.id = b.run;
COMMENT ON VIEW retention.ledger IS 'rows changed per batch and table, each written in the transaction that changed them; on the first row of each batch the bytes of WAL, the new subjects and the duration of the whole batch; wal_position: where the WAL stood just before its commit';

CREATE VIEW retention.status AS
    SELECT n.name AS policy, COALESCE(p.paused, false) AS paused, COALESCE(p.target::text, p.target_name) AS target,
           COALESCE(p.action, l.action) AS action, p.expire_after,
           l.id AS last_run_id, l.started AS last_started, l.finished AS last_finished,
           CASE WHEN l.success THEN l.stop_reason WHEN NOT l.success THEN 'failed' END AS last_outcome,
           l.affected AS last_affected, s.last_success, COALESCE(s.runs, 0) AS runs, COALESCE(s.failures, 0) AS failures,
           f.run IS NOT NULL AS needs_approval, f.run AS fuse_run, f.kind AS fuse, f.expected AS fuse_expected, f.allowed AS fuse_allowed,
           (SELECT pg_catalog.count(*) FROM retention.failure f WHERE f.policy = n.name) AS failed_rows
      FROM (SELECT name FROM retention.policy UNION SELECT policy FROM retention.run) n
      LEFT JOIN retention.policy p ON p.name = n.name
      LEFT JOIN retention.fuses f ON f.policy = n.name
      LEFT JOIN LATERAL (SELECT r.id, r.action, r.started, r.finished, r.success, r.stop_reason, r.affected FROM retention.run r WHERE r.policy = n.name AND r.action IS DISTINCT FROM 'restore' ORDER BY r.id DESC LIMIT 1) l ON true
      LEFT JOIN LATERAL (SELECT pg_catalog.max(r.finished) FILTER (WHERE r.success) AS last_success, pg_catalog.count(*) AS runs,
                                pg_catalog.count(*) FILTER (WHERE NOT r.success) AS failures
                           FROM retention.run r WHERE r.policy = n.name AND r.action IS DISTINCT FROM 'restore') s ON true
     ORDER BY n.name;
COMMENT ON VIEW retention.status IS 'one row for each policy that is stored or has run: its last run, its last success, how often it ran and failed, and whether it waits for retention.approve: the run that the fuse stopped, what limit it was, the rows that would have gone and those allowed, and how many rows stand in retention.failures';
