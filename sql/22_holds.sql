
-- ---- Legal holds -----------------------------------------------------------------------------------------------
-- What stands here no policy touches. Rows are written once, and once more when the hold is released.

CREATE TABLE retention.hold (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- By oid where the hold was placed, by name in a copy and where the table was made anew.
    relation          oid NOT NULL,
    relation_name     text NOT NULL,
    key               jsonb,
    condition         text,
    -- With whose rights it is judged: those of the table's owner, or of its own.
    as_table_owner    boolean NOT NULL,
    time_zone         text NOT NULL,
    reason            text NOT NULL,
    until             timestamptz,
    owner             oid NOT NULL,
    owner_name        text NOT NULL,
    placed_by         text NOT NULL DEFAULT session_user,
    placed_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    released_by       text,
    released_at       timestamptz,
    release_reason    text,
    system_identifier bigint NOT NULL,
    database          oid NOT NULL,
    CHECK ((key IS NULL) <> (condition IS NULL)),
    CHECK ((released_at IS NULL) = (released_by IS NULL) AND (released_at IS NULL) = (release_reason IS NULL))
);
COMMENT ON TABLE retention.hold IS 'legal holds, kept for ever: who placed and released each, when and why; see retention.add_hold and retention.release_hold. Readable by everybody, because a dump takes it along';
CREATE INDEX ON retention.hold (id) WHERE released_at IS NULL;

CREATE FUNCTION retention.refuse_hold_change() RETURNS trigger
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_refuse_hold_change';
COMMENT ON FUNCTION retention.refuse_hold_change() IS 'the trigger that keeps holds as they were placed: 55000';

CREATE TRIGGER hold_is_kept BEFORE DELETE OR TRUNCATE ON retention.hold
    FOR EACH STATEMENT EXECUTE FUNCTION retention.refuse_hold_change();
CREATE TRIGGER hold_is_as_placed BEFORE UPDATE ON retention.hold
    FOR EACH ROW WHEN (OLD.released_at IS NOT NULL OR NEW.released_at IS NULL
        OR (pg_catalog.to_jsonb(OLD) - '{released_by,released_at,release_reason}'::pg_catalog.text[])
           <> (pg_catalog.to_jsonb(NEW) - '{released_by,released_at,release_reason}'::pg_catalog.text[]))
    EXECUTE FUNCTION retention.refuse_hold_change();

CREATE FUNCTION retention.add_hold(relation regclass, condition text, reason text, until timestamptz DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_add_hold';
COMMENT ON FUNCTION retention.add_hold(regclass, text, text, timestamptz) IS 'places a legal hold on the rows of relation (with its partitions and heirs) for which condition, an SQL expression over the alias target, is true, now or later: no policy deletes, updates or archives them, nor what refers to them by foreign keys at any depth, until the hold is released or until has passed at the start of a run. Returns its id. The condition is judged with the rights of the role that placed it, a superuser''s with those of the table''s owner; where it fails, runs stop. Waits for the batches under way. Errors: 22004, 22023 for arguments, 42601 for SQL that is not one expression, 42703 and 42804 for what does not fit, 42501 without SELECT on the table, 0A000 for tables that are not supported. May be called by roles granted EXECUTE';

CREATE FUNCTION retention.add_hold(relation regclass, key jsonb, reason text, until timestamptz DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_add_hold_by_key';
COMMENT ON FUNCTION retention.add_hold(regclass, jsonb, text, timestamptz) IS 'places a legal hold on the row of relation with this primary key (or first unique key without NULLs), a JSON object with its columns: add_hold(''users'', key => ''{"id": 5}'', reason => ''case 7''). Judged with the rights of the table''s owner; else as add_hold with a condition. Raises a NOTICE where no row has the key. Errors: those, 42704 for a table without a key, 22P02 for a value that the column cannot have. May be called by roles granted EXECUTE';

CREATE FUNCTION retention.release_hold(id bigint, reason text) RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'retention_release_hold';
COMMENT ON FUNCTION retention.release_hold(bigint, text) IS 'ends a legal hold; its row stays, with who released it, when and why. Errors: 42704 no such hold, 55000 released already, 22023 without a reason, 42501 for others than members of the role that placed it and superusers. May be called by roles granted EXECUTE';

CREATE VIEW retention.holds AS
    SELECT h.id, h.released_at IS NULL AND (h.until IS NULL OR h.until > pg_catalog.now()) AS stands,
           h.relation_name AS relation, h.key, h.condition, h.reason, h.until, h.owner_name AS owner, h.placed_by, h.placed_at,
           h.released_by, h.released_at, h.release_reason
      FROM retention.hold h;
COMMENT ON VIEW retention.holds IS 'every legal hold that was ever placed: whether it stands, on which rows of which table (as it was called then), who placed and released it, when and why';

SELECT pg_catalog.pg_extension_config_dump('retention.hold', '');
SELECT pg_catalog.pg_extension_config_dump(pg_catalog.pg_get_serial_sequence('retention.hold', 'id')::regclass, '');

REVOKE ALL ON retention.hold, retention.holds, retention.hold_id_seq FROM PUBLIC;
REVOKE ALL ON FUNCTION retention.refuse_hold_change(), retention.add_hold(regclass, text, text, timestamptz),
    retention.add_hold(regclass, jsonb, text, timestamptz), retention.release_hold(bigint, text) FROM PUBLIC;
GRANT SELECT ON retention.hold, retention.hold_id_seq TO PUBLIC;
