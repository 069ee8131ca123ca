
-- ---- Rows that could not be removed ----------------------------------------------------------------------------

CREATE TABLE retention.failure (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    policy     text NOT NULL,
    relation   regclass NOT NULL,
    key        jsonb NOT NULL,
    run        bigint NOT NULL,
    sqlstate   text NOT NULL,
    message    text NOT NULL,
    detail     text,
    attempts   int NOT NULL DEFAULT 1,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen  timestamptz NOT NULL DEFAULT now(),
    next_try   timestamptz NOT NULL
);
COMMENT ON TABLE retention.failure IS 'rows of policies'' targets that a run found alone in failing, until a run succeeds with them or finds them gone; see the view retention.failures';
CREATE UNIQUE INDEX ON retention.failure (policy, relation, jsonb_hash_extended(key, 0));

CREATE VIEW retention.failures AS
    SELECT f.policy, f.relation, f.key, f.sqlstate, f.message, f.detail, f.attempts, f.first_seen, f.last_seen, f.next_try,
           f.next_try > pg_catalog.clock_timestamp() AS waits, f.run
      FROM retention.failure f;
COMMENT ON VIEW retention.failures IS 'victims that CALL retention.run could not remove, change, archive or judge, each alone: the table that holds the row, its key (an object of the key''s columns, or the row''s place as text, "block n" for a whole block), the last SQLSTATE, message and detail (at most 1,000 bytes each), attempts, and when it is tried again; until then runs leave it out (waits). What succeeded, or is no victim any more, is not here. Key and message may hold data of the table: readable for roles granted SELECT, nobody else';

CREATE FUNCTION retention.retry_failures(policy text DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_retry_failures';
COMMENT ON FUNCTION retention.retry_failures(text) IS 'ends the pause of the rows in retention.failures of a policy, or of all policies: the next run tries them again. To be called when what kept them is mended. Returns how many there were. May be called by roles granted EXECUTE';

REVOKE ALL ON retention.failure, retention.failures FROM PUBLIC;
REVOKE ALL ON FUNCTION retention.retry_failures(text) FROM PUBLIC;
