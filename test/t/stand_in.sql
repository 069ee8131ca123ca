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
    error_detail text, skipped_failed bigint);

CREATE FUNCTION retention.run_list() RETURNS TABLE (policy text) LANGUAGE sql
AS $$ SELECT policy FROM stand_in.run_list ORDER BY at $$;

-- The answer of a policy by its name: each kind of end that a run may have.
CREATE FUNCTION stand_in.answer(name text, slice int DEFAULT NULL, slices int DEFAULT NULL) RETURNS retention.result LANGUAGE plpgsql AS $$
DECLARE
    part int := COALESCE(slice, 0);
    r retention.result;
BEGIN
    IF name = 'unknown' OR name LIKE E'\x1b%' THEN
        RAISE EXCEPTION 'policy "%" does not exist', name
            USING ERRCODE = 'undefined_object', DETAIL = 'There are 3 policies.', HINT = 'See retention.policies.';
    ELSIF name = 'times_out' THEN
        RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = 'query_canceled';
    ELSIF name = 'read_only' THEN
        SET LOCAL transaction_read_only = on;
        CREATE TABLE stand_in.cannot ();
    ELSIF name = 'not_mine' THEN
        RAISE EXCEPTION 'permission denied for policy "not_mine"' USING ERRCODE = 'insufficient_privilege';
    ELSIF name = 'empty' THEN
        INSERT INTO stand_in.trace (policy) VALUES (name);
        RETURN NULL;
    ELSIF name = 'talks' THEN
        RAISE NOTICE 'three carts are large' USING HINT = 'Look at them.';
        RAISE WARNING 'one cart is huge';
    END IF;
    IF name = 'fails' OR (name = 'second_fails' AND slice = 2) THEN
        r := (false, E'division\nby zero', name, 7, 'delete', 0, 0, '{}', 0, 0, 0, 0, '2025-01-31 22:30:00+00',
              '2025-05-01 00:00:00+00', '2025-05-01 00:00:00.5+00', 0, 'error', '22012', 'In row 4.', 0);
        RETURN r;
    END IF;
    INSERT INTO stand_in.trace (policy) VALUES (concat_ws('/', name, slice, slices));
    IF name = 'forever' THEN
        r := (true, 'nothing expires', name, 9, 'update', 0, 0, NULL, 0, 0, 0, 0, '-infinity',
              '2025-05-01 00:00:00+00', '2025-05-01 00:00:00+00', 1, 'paused', NULL, NULL, 0);
        RETURN r;
    END IF;
    -- The slices of a policy differ in every number, so that a sum is not mistaken for one of them.
    r := (true, 'Deleted 1200 cart items', name, 42 + part, 'delete', 1200 + part, 40 + part,
          CASE WHEN part < 2 THEN '{"public.prices": 5, "shop.\"odd\"": 9007199254740993}' ELSE '{"public.prices": 7, "shop.late": 1}' END,
          3 + part, 2 + part, 1 + part, 4 + part, '2025-01-31 22:30:00.000001+00'::timestamptz + part * interval '1 s',
          '2025-05-01 00:00:00+00'::timestamptz - part * interval '1 s',
          '2025-05-01 00:00:01.234567+00'::timestamptz + part * interval '1 s', 2 + part,
          CASE WHEN name = 'limited' AND part = 1 THEN 'max_rows' ELSE 'done' END, NULL, NULL, 6 + part);
    RETURN r;
END $$;

CREATE FUNCTION retention.apply(policy text) RETURNS SETOF retention.result LANGUAGE plpgsql AS $$
DECLARE
    r retention.result := stand_in.answer(policy);
BEGIN
    IF r.policy IS NOT NULL THEN
        RETURN NEXT r;
    END IF;
END $$;

-- What a call was given, which session served it, and where its work begins and ends among others.
CREATE TABLE stand_in.call (at bigint GENERATED ALWAYS AS IDENTITY, policy text, slice int, slices int, pid int DEFAULT pg_backend_pid(),
    given jsonb, ended bigint);
CREATE SEQUENCE stand_in.clock;

CREATE TABLE stand_in.runs (id bigint GENERATED ALWAYS AS IDENTITY (START 100), policy text, slice int, slices int, pid int DEFAULT pg_backend_pid(),
    success bool DEFAULT false, message text DEFAULT 'the run has begun and not ended', action text DEFAULT 'delete', affected bigint,
    subjects bigint DEFAULT 0, dependents jsonb DEFAULT '{}', skipped_locked bigint DEFAULT 0, skipped_blocked bigint DEFAULT 0,
    skipped_held bigint DEFAULT 0, skipped_returned bigint DEFAULT 0, cutoff timestamptz DEFAULT now(), started timestamptz DEFAULT now(),
    finished timestamptz DEFAULT now(), batches int DEFAULT 1, stop_reason text DEFAULT 'interrupted', sqlstate text, error_detail text,
    skipped_failed bigint DEFAULT 0);
CREATE VIEW retention.runs AS SELECT * FROM stand_in.runs;
CREATE VIEW retention.progress AS
    SELECT id AS run, policy, slice, slices, pid, started, affected, affected * 4 AS expected, 0.25::float8 AS share,
           50::float8 AS rows_per_second, interval '1 hour 2 min 3 s' AS remaining
      FROM stand_in.runs WHERE stop_reason = 'interrupted';
CREATE TABLE stand_in.ledger (run bigint, relation text);
CREATE VIEW retention.ledger AS SELECT * FROM stand_in.ledger;
CREATE TABLE retention.policy (name text, run_order int DEFAULT 0, target regclass);
GRANT SELECT ON retention.runs, retention.progress, retention.ledger, retention.policy TO PUBLIC;

-- A policy whose name begins with "waits" commits a batch of 100 rows and then waits for the gate, as a long run would be under way.
CREATE PROCEDURE retention.run(policy text, max_rows bigint DEFAULT NULL, max_runtime interval DEFAULT NULL, batch_rows bigint DEFAULT NULL,
    strict boolean DEFAULT true, slice int DEFAULT NULL, slices int DEFAULT NULL, max_rows_per_second bigint DEFAULT NULL,
    sleep interval DEFAULT NULL, INOUT result retention.result DEFAULT NULL) LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    this_call bigint;
    this_run bigint;
    is_cancelled bool := false;
BEGIN
    INSERT INTO stand_in.call (policy, slice, slices, given)
        VALUES (policy, slice, slices, jsonb_strip_nulls(jsonb_build_object('max_rows', max_rows, 'max_runtime', max_runtime, 'batch_rows', batch_rows,
                'strict', strict, 'max_rows_per_second', max_rows_per_second, 'sleep', sleep)))
        RETURNING at INTO this_call;
    COMMIT;
    IF policy LIKE 'waits%' THEN
        INSERT INTO stand_in.runs (policy, slice, slices, affected) VALUES (policy, slice, slices, 100) RETURNING id INTO this_run;
        INSERT INTO stand_in.trace (policy) VALUES (concat_ws('/', policy, slice, slices));
        COMMIT;
        BEGIN
            LOCK TABLE stand_in.gate IN SHARE MODE;
        EXCEPTION WHEN query_canceled THEN
            is_cancelled := true;
        END;
        UPDATE stand_in.runs SET stop_reason = CASE WHEN is_cancelled THEN 'cancelled' ELSE 'done' END WHERE id = this_run;
        COMMIT;
        IF is_cancelled THEN
            RAISE EXCEPTION 'canceling statement due to user request' USING ERRCODE = 'query_canceled';
        END IF;
    END IF;
    result := stand_in.answer(policy, slice, slices);
    UPDATE stand_in.call SET ended = nextval('stand_in.clock') WHERE at = this_call;
END $$;
GRANT ALL ON ALL TABLES IN SCHEMA stand_in TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA stand_in TO PUBLIC;

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
    12::bigint AS runs, 1::bigint AS failures, false AS needs_approval, NULL::bigint AS fuse_run, NULL::text AS fuse, NULL::bigint AS fuse_expected,
    NULL::bigint AS fuse_allowed;
INSERT INTO stand_in.policies VALUES ('never_run', true, 'public.t', 'update', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, false);
INSERT INTO stand_in.policies VALUES ('stopped', false, 'public.t', 'delete', '1 day', 44, '2025-05-01 00:00:00+00', '2025-05-01 00:00:01+00', 'failed', 0, NULL, 2, 2, true, 43, 'max_rows', 1000, 100);
CREATE VIEW retention.status AS SELECT * FROM stand_in.policies;
GRANT SELECT ON retention.status TO PUBLIC;
