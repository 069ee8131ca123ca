-- ---- Undo ------------------------------------------------------------------------------------------------------

CREATE TABLE retention.archive (
    policy            text NOT NULL,
    since             bigint NOT NULL,
    position          int NOT NULL,
    relation          regclass NOT NULL,
    relation_name     text NOT NULL,
    archive           regclass,
    archive_name      text,
    columns           text[] NOT NULL,
    bonds             jsonb NOT NULL,
    -- By oid where the runs were made, by name in a copy.
    owner             oid NOT NULL,
    owner_name        text NOT NULL,
    system_identifier bigint NOT NULL,
    database          oid NOT NULL,
    PRIMARY KEY (policy, since, position)
);
COMMENT ON TABLE retention.archive IS 'where the runs of a policy, from the run "since" on, put the rows that they archived: the target at position 0, then its dependents; the columns that were kept, and how rows hang on those of other positions. No archive: rows of this table stayed, and were emptied of their keys. Written by runs, so that retention.restore works after the policy has changed or is gone';

CREATE TABLE retention.unrestored (
    run         bigint NOT NULL REFERENCES retention.run (id) ON DELETE CASCADE,
    relation    text NOT NULL,
    sqlstate    text NOT NULL,
    rows        bigint NOT NULL,
    message     text NOT NULL,
    sample_keys jsonb NOT NULL,
    PRIMARY KEY (run, relation, sqlstate)
);
COMMENT ON TABLE retention.unrestored IS 'rows that a restore (run) left in the archive: how many of each table and why, with the first message and up to 100 keys. Rows that belong together stay together, under the SQLSTATE of the one that does not fit';

CREATE TABLE retention.run_key (
    run      bigint NOT NULL REFERENCES retention.run (id) ON DELETE CASCADE,
    batch    int NOT NULL,
    relation text NOT NULL,
    keys     jsonb NOT NULL
);
COMMENT ON TABLE retention.run_key IS 'primary keys of the rows of the target that runs of policies with record_keys removed or changed, up to 1,000 in an array; written in the batch''s own transaction. A key of one column is its value, a longer one an array of values';
CREATE INDEX ON retention.run_key (run);

CREATE VIEW retention.removed_keys AS
    SELECT k.run, r.policy, k.batch, k.relation, e.key
      FROM retention.run_key k JOIN retention.run r ON r.id = k.run CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(k.keys) AS e (key);
COMMENT ON VIEW retention.removed_keys IS 'the keys of retention.run_key, one to a row';

CREATE FUNCTION retention.restore(run_id bigint, partial boolean DEFAULT false) RETURNS retention.result
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_restore';
COMMENT ON FUNCTION retention.restore(bigint, boolean) IS 'puts the rows that a run archived back into their tables, with the rights of the policy''s owner, in the caller''s transaction; they leave the archive. A row and what belongs to it return together or stay together; with partial => true a row returns without those of its dependents that do not fit, never a dependent without its row. What stays is counted in skipped_blocked or skipped_locked (rows of the target) and listed in retention.unrestored. Recorded as a run with action restore. affected: rows of the target put back; dependents: rows of other tables. Restoring again restores what is left. Errors: 42704 no such run, 55000 a run without an archive, 42501 not the policy''s owner, 22004 NULL. For the policy''s owner, who must also be granted EXECUTE';

CREATE FUNCTION retention.add_purge(policy text, expire_after interval, run_order int DEFAULT NULL, if_not_exists boolean DEFAULT false) RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_add_purge';
COMMENT ON FUNCTION retention.add_purge(text, interval, int, boolean) IS 'makes the policy <policy>_purge, which deletes rows from the archive of a policy expire_after they were archived, together with what was archived along with them. Returns its name. Errors: 42704 no such policy, 22023 one that does not archive, 42710 where it exists, 22004 NULL. For the policy''s owner';

-- A dump takes along where archived rows came from, and the number of the last run: archives carry such numbers.
SELECT pg_catalog.pg_extension_config_dump('retention.archive', '');
SELECT pg_catalog.pg_extension_config_dump(pg_catalog.pg_get_serial_sequence('retention.run', 'id')::regclass, '');

REVOKE ALL ON retention.archive, retention.unrestored, retention.run_key, retention.removed_keys FROM PUBLIC;
GRANT SELECT ON retention.archive, retention.run_id_seq TO PUBLIC;
REVOKE ALL ON FUNCTION retention.restore(bigint, boolean), retention.add_purge(text, interval, int, boolean) FROM PUBLIC;
