-- ---- The fuse ---------------------------------------------------------------------------------------------------

CREATE TABLE retention.blown_fuse (
    policy     text PRIMARY KEY,
    -- The id in retention.policy_change of the definition that was judged; 0: a preset that is not stored.
    definition bigint NOT NULL,
    run        bigint NOT NULL,
    kind       text NOT NULL,
    expected   bigint NOT NULL,
    allowed    bigint NOT NULL,
    cutoff     timestamptz NOT NULL,
    asked      text,
    blown_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE retention.blown_fuse IS 'the last time each policy''s fuse blew, until it is approved; retention.fuses tells which of them still hold their policy back';

CREATE TABLE retention.approval (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    policy      text NOT NULL,
    definition  bigint NOT NULL,
    run         bigint NOT NULL,
    rows        bigint NOT NULL,
    cutoff      timestamptz NOT NULL,
    asked       text,
    reason      text NOT NULL,
    approved_by text NOT NULL DEFAULT session_user,
    approved_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    ended       text,
    ended_by    bigint
);
COMMENT ON TABLE retention.approval IS 'approvals of runs that a fuse stopped, kept for ever: who, when, why, for how many rows; ended: used, exceeded or replaced, by the run ended_by';
CREATE INDEX ON retention.approval (policy, id);

CREATE TABLE retention.previewed (
    policy       text NOT NULL,
    definition   bigint NOT NULL,
    previewed_by text NOT NULL DEFAULT session_user,
    previewed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE retention.previewed IS 'which definitions of policies have been looked at with a preview; what retention.require_preview asks for';
CREATE INDEX ON retention.previewed (policy, definition);

CREATE VIEW retention.definitions AS
    SELECT p.name AS policy, c.id AS definition
      FROM retention.policy p
      LEFT JOIN LATERAL (SELECT d.id FROM retention.policy_change d
                          WHERE d.policy = p.name AND d.change NOT IN ('paused', 'resumed')
                          ORDER BY d.id DESC LIMIT 1) c ON true;
COMMENT ON VIEW retention.definitions IS 'the present definition of each stored policy, as the id in retention.policy_change of its last change other than paused and resumed';

CREATE VIEW retention.fuses AS
    SELECT f.policy, f.run, f.kind, f.expected, f.allowed, f.cutoff, f.asked, f.blown_at
      FROM retention.blown_fuse f
     WHERE f.definition = COALESCE((SELECT d.definition FROM retention.definitions d WHERE d.policy = f.policy), 0)
       AND (f.kind <> 'preview'
            OR NOT EXISTS (SELECT 1 FROM retention.previewed v WHERE v.policy = f.policy AND v.definition = f.definition)
               AND NOT EXISTS (SELECT 1 FROM retention.run r WHERE r.policy = f.policy AND r.id > f.run AND r.success
                                  AND r.stop_reason NOT IN ('running', 'paused') AND r.action <> 'restore'));
COMMENT ON VIEW retention.fuses IS 'policies that wait for an approval because their fuse blew: the run that it stopped, the kind (max_rows, max_fraction, max_deviation, approval, preview), the rows that would have gone, those allowed, the cutoff, and what the caller asked beyond the policy; a changed definition waits no more';

CREATE VIEW retention.approvals AS
    SELECT a.id, a.policy, a.run, a.rows, COALESCE(u.done, 0) AS done, a.cutoff, a.asked, a.reason, a.approved_by, a.approved_at,
           CASE WHEN a.ended IS NOT NULL THEN a.ended
                WHEN a.definition = COALESCE((SELECT d.definition FROM retention.definitions d WHERE d.policy = a.policy), 0) THEN 'standing'
                ELSE 'void' END AS state,
           a.ended_by
      FROM retention.approval a
      LEFT JOIN LATERAL (SELECT pg_catalog.sum(r.affected)::bigint AS done FROM retention.run r WHERE r.approval = a.id) u ON true;
COMMENT ON VIEW retention.approvals IS 'every approval: the run that was stopped, the rows approved and those done since, the cutoff, who, when and why; state: standing, used (by the run ended_by), exceeded (that run met more rows), replaced (by a later approval), void (the policy was changed)';

CREATE FUNCTION retention.approve(policy text, run_id bigint, reason text) RETURNS bigint
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_approve';
COMMENT ON FUNCTION retention.approve(text, bigint, text) IS 'lets the run that a fuse stopped be made: the next run of the policy, with the cutoff of run_id, may take as many rows as that run would have, once; a change of the policy voids it. Records who, when and why, and returns the rows approved. Errors: 22004 for NULL, 22023 for an empty reason or a run that the policy does not wait for, 42704 no such policy, 55000 the policy waits for nothing, 42501 for anybody but its owner. May be called by roles granted EXECUTE';

REVOKE ALL ON retention.blown_fuse, retention.approval, retention.previewed, retention.definitions, retention.fuses, retention.approvals FROM PUBLIC;
REVOKE ALL ON FUNCTION retention.approve(text, bigint, text) FROM PUBLIC;
