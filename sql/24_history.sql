-- ---- The history of runs, and what bounds it --------------------------------------------------------------------

CREATE VIEW retention.surplus_runs AS
    SELECT n.id
      FROM (SELECT r.id, pg_catalog.row_number() OVER (PARTITION BY r.policy, r.success ORDER BY r.id DESC) AS place FROM retention.run r) n
     WHERE n.place > COALESCE(pg_catalog.current_setting('retention.history_runs', true), '1000')::bigint;
COMMENT ON VIEW retention.surplus_runs IS 'runs beyond the newest retention.history_runs of their policy, failed ones counted by themselves: what the policy retention_history removes whatever their age';

CREATE VIEW retention.needed_runs AS
    -- Under way, or what somebody has yet to decide.
    SELECT r.id FROM retention.run r
     WHERE r.stop_reason = 'interrupted'
       AND r.pid IN (SELECT l.pid FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 1380275269 AND l.objsubid = 7)
    UNION ALL
    SELECT f.run FROM retention.fuses f
    UNION ALL
    SELECT r.id FROM retention.approvals a JOIN retention.run r ON r.approval = a.id OR r.id = a.run WHERE a.state = 'standing'
    UNION ALL
    -- The last of each outcome: what retention.status and retention.require_preview look at.
    SELECT pg_catalog.max(r.id) FROM retention.run r
     WHERE r.policy_version IS NULL OR r.policy IN (SELECT name FROM retention.policy)
     GROUP BY r.policy, r.success, r.action, r.asked IS NULL
    UNION ALL
    -- What the median of max_deviation is taken of; of the slices of a run each counts its part.
    SELECT w.id
      FROM (SELECT r.id, pg_catalog.sum(1.0 / COALESCE(r.slices, 1)) OVER (PARTITION BY r.policy ORDER BY r.id DESC) AS place
              FROM retention.run r JOIN retention.policy p ON p.name = r.policy
             WHERE r.success AND r.stop_reason = 'done' AND r.affected > 0 AND r.action <> 'restore'
               AND COALESCE(p.max_deviation, pg_catalog.current_setting('retention.max_deviation', true)::double precision, 0) > 0) w
     WHERE w.place <= COALESCE(pg_catalog.current_setting('retention.deviation_runs', true), '10')::int;
COMMENT ON VIEW retention.needed_runs IS 'runs that the policy retention_history leaves alone: under way, waiting for an approval or made under a standing one, the last of each outcome of a policy, and those that the median of max_deviation is taken of';

CREATE FUNCTION retention.has_archived_rows(run_id bigint) RETURNS boolean
    LANGUAGE C STABLE COST 100 AS 'MODULE_PATHNAME', 'retention_has_archived_rows';
COMMENT ON FUNCTION retention.has_archived_rows(bigint) IS 'whether an archive of the run''s policy still has rows that the run put there, so that they can be taken back; true too where an archive cannot be read. Errors: 22004 for NULL. Part of the policy retention_history. May be called by roles granted EXECUTE';

REVOKE ALL ON retention.surplus_runs, retention.needed_runs FROM PUBLIC;
REVOKE ALL ON FUNCTION retention.has_archived_rows(bigint) FROM PUBLIC;
