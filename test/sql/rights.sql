-- Rights: who may call what, and whose rights a policy has.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set begin :test '/begin.psql'
\i :begin
SET client_min_messages = error;
DROP ROLE IF EXISTS regress_retention_owner, regress_retention_caller, regress_retention_nobody, regress_retention_passing;
CREATE ROLE regress_retention_owner;
CREATE ROLE regress_retention_caller;
CREATE ROLE regress_retention_nobody;
CREATE SCHEMA theirs AUTHORIZATION regress_retention_owner;
GRANT USAGE ON SCHEMA theirs TO PUBLIC;
SET search_path = theirs, public;
SELECT plan(72);

-- ---- The catalog ----

SELECT is_empty($$ SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                     JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_retention'
                     CROSS JOIN aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) a
                    WHERE a.grantee = 0 AND p.proname <> 'library_version' $$, 'PUBLIC may execute nothing but library_version');
SELECT is_empty($$ SELECT c.oid::regclass FROM pg_class c CROSS JOIN aclexplode(COALESCE(c.relacl, acldefault('r', c.relowner))) a
                    WHERE c.relnamespace = 'retention'::regnamespace AND c.relkind IN ('r', 'v') AND a.grantee = 0
                      AND NOT (a.privilege_type = 'SELECT' AND c.relname IN ('policy', 'policy_activity', 'policy_dependent', 'policy_change', 'hold', 'archive')) $$,
    'PUBLIC may read no table or view but the definitions that a dump takes along, and write none');
SELECT is_empty($$ SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                     JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_retention' WHERE p.prosecdef $$, 'no function is SECURITY DEFINER');
SELECT is_empty($$ SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_retention'
                    WHERE d.deptype = 'e' AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_namespace'::regclass)
                      AND NOT EXISTS (SELECT FROM pg_class s WHERE s.oid = d.objid AND d.classid = 'pg_class'::regclass AND s.relkind IN ('S', 'i', 'c'))
                      AND obj_description(d.objid, d.classid::regclass::name) IS NULL $$, 'every function, table, view and schema has a comment');
SELECT isnt(obj_description('retention.result'::regtype, 'pg_type'), NULL, 'and the type of results');
SELECT is(retention.library_version(), (SELECT extversion FROM pg_extension WHERE extname = 'pg_retention'), 'library and SQL have one version');

-- ---- Callers ----

SET ROLE regress_retention_owner;
CREATE TABLE users (id serial PRIMARY KEY, last_active timestamp);
CREATE TABLE carts (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users);
CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id integer NOT NULL REFERENCES carts, created_at timestamp);
CREATE TABLE bookings (id serial PRIMARY KEY, status text, created_at timestamp);
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE users, carts, cart_items, bookings RESTART IDENTITY CASCADE;
    INSERT INTO users (last_active) VALUES ('2020-01-01'), (timezone('UTC', now()));
    INSERT INTO carts (user_id) VALUES (1), (2);
    INSERT INTO cart_items (cart_id, created_at) VALUES (1, '2020-01-01'), (2, now());
    INSERT INTO bookings (status, created_at) VALUES ('Pending', '2020-01-01') $$;
RESET ROLE;
SELECT fill() \gset
SET ROLE regress_retention_nobody;
SELECT throws_ok('SELECT cleanup_inactive_carts()', '42501', NULL, 'without EXECUTE cleanup_inactive_carts is refused');
SELECT throws_ok('SELECT get_inactive_carts_preview()', '42501', NULL, 'and its preview');
SELECT throws_ok('SELECT * FROM get_user_activity()', '42501', NULL, 'and get_user_activity');
SELECT throws_ok('SELECT scheduled_cleanup()', '42501', NULL, 'and scheduled_cleanup');
SELECT throws_ok('SELECT start_cleanup_scheduler()', '42501', NULL, 'and start_cleanup_scheduler');
SELECT throws_ok($$ SELECT retention.apply('inactive_carts') $$, '42501', NULL, 'and retention.apply');
SELECT throws_ok($$ SELECT retention.adopt_preset('inactive_carts') $$, '42501', NULL, 'and retention.adopt_preset');
SELECT throws_ok('SELECT * FROM retention.policies', '42501', NULL, 'and the policies cannot be read');
SELECT throws_ok('DELETE FROM retention.run', '42501', NULL, 'nor the books changed');
RESET ROLE;

GRANT EXECUTE ON FUNCTION cleanup_inactive_carts(int), get_inactive_carts_preview(), get_user_activity(), expire_pending_bookings(int),
    retention.apply(text), retention.preview(text, timestamptz, int) TO regress_retention_caller;
SET ROLE regress_retention_caller;
SELECT throws_ok('SELECT * FROM cart_items', '42501', NULL, 'a caller with EXECUTE alone cannot read the tables');
SELECT throws_ok('SELECT get_inactive_carts_preview()', '42501', NULL, 'nor look through a preset that is not stored');
SELECT is(cleanup_inactive_carts() ->> 'sqlstate', '42501', 'G8 nor run one, whose tables its own search_path would choose');
RESET ROLE;
SELECT lives_ok($$ SELECT retention.adopt_preset('inactive_carts') $$, 'stored, the policy names its tables');
SET ROLE regress_retention_caller;
SELECT is(get_inactive_carts_preview() ->> 'deleted_items', '1', 'and the caller may look through the function');
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '1', 'G8 and run it with the rights of the tables'' owner');
SELECT is(current_user::text, 'regress_retention_caller', 'and is who it was afterwards');
RESET ROLE;
SELECT retention.remove_policy('inactive_carts') \gset
SELECT is((SELECT row(run_by, runs_as)::text FROM retention.runs ORDER BY id DESC LIMIT 1), '(regress_retention_caller,regress_retention_owner)', 'the run tells who called and whose rights it had');

-- ---- Owners ----

GRANT EXECUTE ON FUNCTION retention.adopt_preset, retention.alter_policy, retention.remove_policy, retention.pause_policy, retention.resume_policy
   TO regress_retention_owner, regress_retention_caller;
SET ROLE regress_retention_caller;
SELECT throws_ok($$ SELECT retention.adopt_preset('old_cart_items') $$, '42501', NULL, 'G8 a policy on tables that its maker may not delete from is refused');
RESET ROLE;
SET ROLE regress_retention_owner;
SELECT lives_ok($$ SELECT retention.adopt_preset('inactive_carts') $$, 'the tables'' owner may make it');
RESET ROLE;
SELECT is((SELECT owner::text FROM retention.policies WHERE name = 'inactive_carts'), 'regress_retention_owner', 'and it belongs to its maker');
SET ROLE regress_retention_caller;
SELECT throws_ok($$ SELECT retention.alter_policy('inactive_carts', expire_after => '1 hour') $$, '42501', NULL, 'another role cannot alter it');
SELECT throws_ok($$ SELECT retention.remove_policy('inactive_carts') $$, '42501', NULL, 'nor remove it');
SELECT throws_ok($$ SELECT retention.pause_policy('inactive_carts') $$, '42501', NULL, 'nor pause it');
SELECT throws_ok($$ SELECT retention.resume_policy('inactive_carts') $$, '42501', NULL, 'nor resume it');
RESET ROLE;
SELECT is((SELECT version FROM retention.policies WHERE name = 'inactive_carts'), 1, 'and nothing of it was changed');
SELECT retention.adopt_preset('old_cart_items') \gset
SELECT is((SELECT owner::text FROM retention.policies WHERE name = 'old_cart_items'), 'regress_retention_owner', 'G8 a policy that a superuser makes belongs to the owner of the target');

-- ---- Hostile tables: nobody gains anything by the run of a superuser ----

CREATE TABLE public.caught (who text, attempt text, outcome text);
GRANT INSERT, SELECT ON public.caught TO PUBLIC;
SET ROLE regress_retention_owner;
CREATE FUNCTION hostile() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE attempt text;
BEGIN
    FOREACH attempt IN ARRAY ARRAY['SET ROLE postgres', 'SET SESSION AUTHORIZATION DEFAULT', 'RESET ROLE', 'RESET SESSION AUTHORIZATION',
        format('SELECT set_config(''role'', %L, false)', 'none'), 'CREATE ROLE regress_retention_evil SUPERUSER', 'ALTER ROLE regress_retention_owner SUPERUSER',
        'CREATE FUNCTION public.evil() RETURNS int LANGUAGE sql AS ''SELECT 1''', 'CREATE TEMP TABLE evil (n int)', 'COPY (SELECT 1) TO PROGRAM ''true''',
        'DELETE FROM retention.run', 'UPDATE retention.policy SET paused = true', 'SET row_security = on']
    LOOP
        BEGIN
            EXECUTE attempt;
            INSERT INTO public.caught VALUES (current_user, attempt, 'done as ' || current_user);
        EXCEPTION WHEN OTHERS THEN
            INSERT INTO public.caught VALUES (current_user, attempt, SQLSTATE);
        END;
    END LOOP;
    RETURN old;
END $$;
CREATE TRIGGER hostile BEFORE DELETE ON cart_items FOR EACH ROW EXECUTE FUNCTION hostile();
RESET ROLE;
SELECT fill() \gset
TRUNCATE public.caught;
INSERT INTO cart_items (cart_id) VALUES (1);
SELECT cleanup_inactive_carts() AS did \gset
SELECT is(:'did'::jsonb ->> 'deleted_items', '2', 'a hostile trigger does not stop a superuser''s run');
SELECT is((SELECT array_agg(DISTINCT who) FROM public.caught), '{regress_retention_owner}', 'G8 its function runs as the owner of the policy');
SELECT is_empty($$ SELECT DISTINCT attempt, outcome FROM public.caught WHERE outcome LIKE 'done%' AND attempt <> 'SET row_security = on' $$, 'G8 and each attempt to be or make more fails');
SELECT is((SELECT rolsuper FROM pg_roles WHERE rolname = 'regress_retention_owner'), false, 'G8 the owner is no superuser');
SELECT is(current_user, session_user, 'G8 the caller is who it was');
DROP TRIGGER hostile ON cart_items;

-- A deferred trigger runs at the end of the caller's transaction, and must not run as the caller.
SET ROLE regress_retention_owner;
CREATE FUNCTION deferred() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught VALUES (current_user, 'deferred', ''); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER deferred AFTER DELETE ON cart_items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION deferred();
RESET ROLE;
SELECT fill() \gset
TRUNCATE public.caught;
SELECT cleanup_inactive_carts() AS did \gset
SELECT is((SELECT array_agg(DISTINCT who) FROM public.caught), '{regress_retention_owner}', 'G8 a deferred trigger runs as the owner of the policy');
DROP TRIGGER deferred ON cart_items;

-- Functions and operators planted where a careless search_path would find them.
CREATE SCHEMA planted;
GRANT ALL ON SCHEMA planted TO PUBLIC;
SET ROLE regress_retention_owner;
CREATE FUNCTION planted.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught VALUES (current_user, 'now', ''); RETURN 'infinity'; END $$;
CREATE FUNCTION planted.count(anyelement) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught VALUES (current_user, 'count', ''); RETURN 0; END $$;
CREATE FUNCTION planted.later(timestamp, timestamp) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught VALUES (current_user, '<', ''); RETURN true; END $$;
CREATE OPERATOR planted.< (LEFTARG = timestamp, RIGHTARG = timestamp, FUNCTION = planted.later);
CREATE FUNCTION planted.same(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught VALUES (current_user, '=', ''); RETURN true; END $$;
CREATE OPERATOR planted.= (LEFTARG = int, RIGHTARG = int, FUNCTION = planted.same);
RESET ROLE;
SELECT fill() \gset
TRUNCATE public.caught;
SET search_path = planted, theirs, public, pg_catalog;
SELECT cleanup_inactive_carts() AS did, get_inactive_carts_preview() AS seen \gset
SELECT count(*) AS activity FROM get_user_activity() \gset
SET search_path = theirs, public;
SELECT is(:'did'::jsonb ->> 'deleted_items', '1', 'G8 a planted operator does not choose more rows');
SELECT is((SELECT count(*) FROM public.caught), 0::bigint, 'G8 planted functions and operators are never called');

-- A function in the policy's condition.
SET ROLE regress_retention_owner;
CREATE FUNCTION peek(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught VALUES (current_user, 'condition', ''); RETURN n; END $$;
SELECT retention.alter_policy('inactive_carts', condition => 'theirs.peek(target.id) > 0') \gset
RESET ROLE;
SELECT fill() \gset
TRUNCATE public.caught;
SELECT cleanup_inactive_carts() AS did \gset
SELECT is(:'did'::jsonb ->> 'deleted_items', '1', 'a condition may call a function of the owner''s');
SELECT is((SELECT array_agg(DISTINCT who) FROM public.caught), '{regress_retention_owner}', 'G8 which runs as the owner of the policy');
SET ROLE regress_retention_owner;
SELECT retention.alter_policy('inactive_carts', condition => '') \gset
RESET ROLE;

-- ---- Row security ----

SET ROLE regress_retention_owner;
ALTER TABLE cart_items ENABLE ROW LEVEL SECURITY;
RESET ROLE;
SELECT fill() \gset
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '1', 'row security that does not bind the owner hides nothing');
ALTER TABLE cart_items FORCE ROW LEVEL SECURITY;
SELECT fill() \gset
SELECT cleanup_inactive_carts() AS did \gset
SELECT is(:'did'::jsonb ->> 'sqlstate', '42501', 'G8 row security that would hide rows is an error');
SELECT is((SELECT count(*) FROM cart_items), 2::bigint, 'and nothing is changed');
SELECT throws_ok('SELECT get_inactive_carts_preview()', '42501', NULL, 'G8 nor does a preview show a silent 0');
ALTER TABLE cart_items NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
ALTER TABLE users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT is(cleanup_inactive_carts() ->> 'sqlstate', '42501', 'G8 on the subject too');
ALTER TABLE users NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
ALTER TABLE carts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT is(cleanup_inactive_carts() ->> 'sqlstate', '42501', 'G8 and between');
ALTER TABLE carts NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
ALTER TABLE bookings ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT is(expire_pending_bookings() ->> 'sqlstate', '42501', 'G8 and for an update');
ALTER TABLE bookings NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;

-- ---- Rights that went ----

ALTER TABLE cart_items OWNER TO CURRENT_USER;
SELECT fill() \gset
GRANT SELECT ON cart_items TO regress_retention_owner;
SELECT cleanup_inactive_carts() AS did \gset
SELECT is(:'did'::jsonb ->> 'sqlstate', '42501', 'G8 an owner who lost DELETE runs no more, though a superuser calls');
SELECT ok(:'did'::jsonb ->> 'message' LIKE '%cart_items%', 'the message names the table');
SELECT is((SELECT count(*) FROM cart_items), 2::bigint, 'and nothing is changed');
GRANT DELETE ON cart_items TO regress_retention_owner;
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '1', 'given it again, it runs');
ALTER TABLE users OWNER TO CURRENT_USER;
GRANT SELECT ON users TO regress_retention_owner;
SELECT is(cleanup_inactive_carts() ->> 'sqlstate', '42501', 'G8 rows that decide are locked, which needs UPDATE on a column');
GRANT UPDATE (last_active) ON users TO regress_retention_owner;
SELECT ok((cleanup_inactive_carts() -> 'success')::boolean, 'UPDATE on one column is enough');
REVOKE SELECT ON users FROM regress_retention_owner;
SELECT is(cleanup_inactive_carts() ->> 'sqlstate', '42501', 'G8 and they must be readable');
GRANT SELECT ON users TO regress_retention_owner;
SELECT is((SELECT count(*) FROM users), 2::bigint, 'G2 users stay through all of it');

-- ---- Row security that the owner may pass ----

CREATE ROLE regress_retention_passing BYPASSRLS;
GRANT USAGE ON SCHEMA theirs TO regress_retention_passing;
GRANT SELECT, DELETE ON bookings TO regress_retention_passing;
GRANT EXECUTE ON FUNCTION retention.add_policy TO regress_retention_passing;
ALTER TABLE bookings ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SET ROLE regress_retention_passing;
SELECT lives_ok($$ SELECT retention.add_policy('passing', 'bookings', '1 day', 'created_at') $$, 'a role with BYPASSRLS makes a policy on a table with row security');
RESET ROLE;
SELECT fill() \gset
SELECT is((SELECT affected FROM retention.apply('passing')), 1::bigint, 'G8 which sees every row');
ALTER ROLE regress_retention_passing NOBYPASSRLS;
SELECT fill() \gset
SELECT is((SELECT sqlstate FROM retention.apply('passing')), '42501', 'G8 until the role loses BYPASSRLS: an error, not a silent 0');
SELECT throws_ok($$ SELECT retention.preview('passing') $$, '42501', NULL, 'G8 for previews too');
ALTER TABLE bookings NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;

-- ---- An owner that is gone ----

REVOKE ALL ON bookings FROM regress_retention_passing;
REVOKE ALL ON SCHEMA theirs FROM regress_retention_passing;
REVOKE ALL ON FUNCTION retention.add_policy FROM regress_retention_passing;
DROP ROLE regress_retention_passing;
SELECT is((SELECT sqlstate || ' ' || message FROM retention.apply('passing')), '42704 the role that owns policy "passing" no longer exists', 'G8 a policy whose owner was dropped runs as nobody else: E75');
SELECT throws_ok($$ SELECT retention.preview('passing') $$, '42704', NULL, 'G8 nor is it previewed');
SELECT throws_ok($$ SELECT retention.alter_policy('passing', max_rows => 1) $$, '42704', NULL, 'G8 nor altered');
SELECT is((SELECT count(*) FROM bookings), 1::bigint, 'and its rows stay');
CREATE ROLE regress_retention_passing;
SELECT is((SELECT sqlstate FROM retention.apply('passing')), '42704', 'G8 a new role of that name is not the owner');
SELECT lives_ok($$ SELECT retention.remove_policy('passing') $$, 'a superuser may remove it');

-- ---- A role that was granted nothing calls everything ----

-- The SQLSTATE of a statement for a role; what it did is taken back.
CREATE FUNCTION public.outcome_for(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('role', role, true);
    EXECUTE statement;
    RAISE 'done' USING ERRCODE = 'P0003';
EXCEPTION WHEN OTHERS THEN
    RETURN CASE WHEN SQLSTATE = 'P0003' THEN 'done' ELSE SQLSTATE END;
END $$;
CREATE TEMP TABLE calls AS
    SELECT p.oid::regprocedure AS routine, p.proname, CASE p.prokind WHEN 'p' THEN 'CALL ' ELSE 'SELECT ' END || n.nspname || '.' || p.proname || '('
           || (SELECT COALESCE(string_agg(format(CASE p.prokind WHEN 'p' THEN 'NULL::%s' ELSE '(SELECT NULL::%s)' END, format_type(t, NULL)), ', '), '') FROM unnest(p.proargtypes::oid[]) t) || ')' AS statement
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
      JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_retention';
SELECT is((SELECT string_agg(routine::text, ', ') FROM calls WHERE proname <> 'library_version' AND public.outcome_for('regress_retention_nobody', statement) <> '42501'), NULL, 'G8 no function or procedure lets it in');
SELECT cmp_ok((SELECT count(*) FROM calls), '>=', 36::bigint, 'of all that there are');
CREATE TEMP TABLE touches AS
    SELECT c.oid::regclass AS relation, c.relname, what, replace(statement, '@', c.oid::regclass::text) AS statement FROM pg_class c,
           (VALUES ('read', 'SELECT FROM @'), ('insert', 'INSERT INTO @ DEFAULT VALUES'), ('delete', 'DELETE FROM @'), ('truncate', 'TRUNCATE @ CASCADE'), ('lock', 'LOCK TABLE @'), ('alter', 'ALTER TABLE @ RENAME TO mine'),
                   ('trigger', 'CREATE TRIGGER t AFTER INSERT ON @ EXECUTE FUNCTION theirs.hostile()'), ('drop', 'DROP TABLE @ CASCADE')) AS v (what, statement)
     WHERE c.relnamespace = 'retention'::regnamespace AND c.relkind IN ('r', 'v');
SELECT is_empty($$ SELECT relation, what FROM touches WHERE public.outcome_for('regress_retention_nobody', statement) = 'done'
                      AND NOT (what = 'read' AND relation = ANY (SELECT unnest(extconfig) FROM pg_extension WHERE extname = 'pg_retention')) $$,
    'G8 no table or view can be changed or altered, nor read, but what a dump takes along');
SELECT is(public.outcome_for('regress_retention_nobody', 'CREATE TABLE retention.mine (n int)'), '42501', 'G8 nothing can be made in the schema retention');
SELECT is_empty($$ SELECT relation, what FROM touches WHERE what NOT IN ('read', 'lock') AND public.outcome_for('regress_retention_owner', statement) = 'done' $$, 'G8 the owner of policies does not change the books either');

SELECT * FROM finish();
DROP SCHEMA theirs, planted CASCADE;
DROP TABLE public.caught;
DROP FUNCTION public.outcome_for;
DROP TABLE calls, touches;
DROP EXTENSION pg_retention;
DROP ROLE regress_retention_owner, regress_retention_caller, regress_retention_nobody, regress_retention_passing;
