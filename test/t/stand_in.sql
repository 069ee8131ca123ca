-- A stand-in for the engine: what the runner calls, with every answer that it has to cope with.
-- The setting stand_in.version gives the version of the library and of the extension.
CREATE SCHEMA retention;
CREATE SCHEMA stand_in;
GRANT USAGE ON SCHEMA retention, stand_in TO PUBLIC;

-- What was committed, and what the run list names.
CREATE TABLE stand_in.trace (at bigint GENERATED ALWAYS AS IDENTITY, policy text);
CREATE TABLE stand_in.run_list (at bigint GENERATED ALWAYS AS IDENTITY, policy text);
CREATE TABLE stand_in.gate ();
GRANT ALL ON ALL TABLES IN SCHEMA stand_in TO PUBLIC;

DO $$
BEGIN
    EXECUTE format('CREATE FUNCTION retention.library_version() RETURNS text LANGUAGE sql AS $f$ SELECT %L::text $f$',
                   current_setting('stand_in.version'));
END $$;

SET allow_system_table_mods = on;
INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
VALUES (99999, 'pg_retention', 10, 'retention'::regnamespace, false, current_setting('stand_in.version'));
RESET allow_system_table_mods;

CREATE TYPE retention.result AS (
    success bool, message text, policy text, run_id bigint, action text, affected bigint, subjects bigint,
    dependents jsonb, skipped_locked bigint, skipped_blocked bigint, skipped_held bigint, skipped_returned bigint,
    cutoff timestamptz, started timestamptz, finished timestamptz, batches int, stop_reason text, sqlstate text,
    error_detail text);

CREATE FUNCTION retention.run_list() RETURNS TABLE (policy text) LANGUAGE sql
AS $$ SELECT policy FROM stand_in.run_list ORDER BY at $$;

CREATE FUNCTION retention.apply(policy text) RETURNS SETOF retention.result LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    name text := apply.policy;
    r retention.result;
BEGIN
    IF name = 'unknown' OR name LIKE E'\x1b%' THEN
        RAISE EXCEPTION 'policy "%" does not exist', name
            USING ERRCODE = 'undefined_object', DETAIL = 'There are 3 policies.', HINT = 'See retention.policies.';
    END IF;
    INSERT INTO stand_in.trace (policy) VALUES (name);
    IF name LIKE 'waits%' THEN
        LOCK TABLE stand_in.gate;
    ELSIF name = 'times_out' THEN
        SET LOCAL statement_timeout = '10ms';
        RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = 'query_canceled';
    ELSIF name = 'read_only' THEN
        SET LOCAL transaction_read_only = on;
        CREATE TABLE stand_in.cannot ();
    ELSIF name = 'not_mine' THEN
        RAISE EXCEPTION 'permission denied for policy "not_mine"' USING ERRCODE = 'insufficient_privilege';
    ELSIF name = 'talks' THEN
        RAISE NOTICE 'three carts are large' USING HINT = 'Look at them.';
        RAISE WARNING 'one cart is huge';
    ELSIF name = 'empty' THEN
        RETURN;
    END IF;
    IF name = 'fails' THEN
        DELETE FROM stand_in.trace WHERE policy = 'fails';
        r := (false, E'division\nby zero', name, 7, 'delete', 0, 0, '{}', 0, 0, 0, 0, '2025-01-31 22:30:00+00',
              '2025-05-01 00:00:00+00', '2025-05-01 00:00:00.5+00', 0, 'error', '22012', 'In row 4.');
    ELSIF name = 'forever' THEN
        r := (true, 'nothing expires', name, 9, 'update', 0, 0, NULL, 0, 0, 0, 0, '-infinity',
              '2025-05-01 00:00:00+00', '2025-05-01 00:00:00+00', 1, 'paused', NULL, NULL);
    ELSE
        r := (true, 'Deleted 1200 cart items', name, 42, 'delete', 1200, 40, '{"public.prices": 5, "shop.\"odd\"": 9007199254740993}',
              3, 2, 1, 4, '2025-01-31 22:30:00.000001+00', '2025-05-01 00:00:00+00', '2025-05-01 00:00:01.234567+00', 2,
              'done', NULL, NULL);
    END IF;
    RETURN NEXT r;
END $$;

CREATE FUNCTION retention.preview(policy text) RETURNS TABLE (
    relation text, role text, expected_rows bigint, blocked bigint, held bigint, oldest timestamptz,
    newest timestamptz, sample_keys jsonb) LANGUAGE plpgsql AS $$
BEGIN
    IF policy = 'unknown' THEN
        RAISE EXCEPTION 'policy "%" does not exist', policy USING ERRCODE = 'undefined_object', HINT = 'See retention.policies.';
    ELSIF policy = 'writes' THEN
        INSERT INTO stand_in.trace (policy) VALUES ('writes');
    END IF;
    RETURN QUERY VALUES
        ('public.cart_items', 'target', 1200::bigint, 2::bigint, 1::bigint, '2024-01-01 00:00:00+00'::timestamptz,
         '2025-01-31 22:00:00+00'::timestamptz, '[{"id": 1}, {"id": 2}]'::jsonb),
        ('public.prices', 'dependent', 5, 0, 0, NULL, NULL, NULL);
END $$;

CREATE TABLE stand_in.policies AS SELECT 'inactive_carts'::text AS policy, false AS paused, 'public.cart_items'::text AS target,
    'delete'::text AS action, '90 days 02:00'::interval AS expire_after, 42::bigint AS last_run_id,
    '2025-05-01 00:00:00+00'::timestamptz AS last_started, '2025-05-01 00:00:01.234567+00'::timestamptz AS last_finished,
    'success'::text AS last_outcome, 1200::bigint AS last_affected, '2025-05-01 00:00:01.234567+00'::timestamptz AS last_success,
    12::bigint AS runs, 1::bigint AS failures;
INSERT INTO stand_in.policies VALUES ('never_run', true, 'public.t', 'update', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0);
CREATE VIEW retention.status AS SELECT * FROM stand_in.policies;
GRANT SELECT ON retention.status TO PUBLIC;
