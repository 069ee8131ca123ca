-- G8 what a table's owner could gain: code of theirs at every place that a policy reaches, tried by a superuser's definitions, looks and runs.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set begin :test '/begin.psql'
\i :begin
SET client_min_messages = error;
CREATE ROLE regress_gain_owner;
CREATE ROLE regress_gain_caller;
CREATE SCHEMA gain AUTHORIZATION regress_gain_owner;
GRANT USAGE ON SCHEMA gain TO PUBLIC;
SELECT plan(39);

-- Who ran which code of theirs, and what it achieved.
CREATE TABLE public.gained (who text, place text, attempt text, outcome text);
GRANT INSERT, SELECT, DELETE ON public.gained TO PUBLIC;
-- Settings that a session may lose to a hostile function without a word.
CREATE VIEW public.gain_session AS SELECT session_user::text || ' ' || current_user::text || ' ' || string_agg(name || '=' || setting, ' ' ORDER BY name) AS is
  FROM pg_settings WHERE name IN ('role', 'search_path', 'row_security', 'session_replication_role', 'statement_timeout', 'lock_timeout', 'TimeZone', 'DateStyle', 'standard_conforming_strings', 'default_transaction_isolation');

SET ROLE regress_gain_owner;
CREATE FUNCTION gain.definer() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN EXECUTE 'ALTER ROLE regress_gain_owner SUPERUSER'; END $$;
CREATE FUNCTION gain.chain() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN PERFORM gain.definer(); EXECUTE 'SET ROLE NONE'; EXECUTE 'ALTER ROLE regress_gain_owner SUPERUSER'; END $$;
CREATE FUNCTION gain.strike(place text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    attempt text;
BEGIN
    IF current_setting('gain.is_armed', true) IS DISTINCT FROM 'on' OR EXISTS (SELECT FROM public.gained g WHERE g.place = strike.place AND g.who = current_user) THEN RETURN true; END IF;
    INSERT INTO public.gained VALUES (current_user, place, 'be there', 'there');
    FOREACH attempt IN ARRAY ARRAY['SET ROLE NONE', 'SET ROLE postgres', 'RESET ROLE', 'SET LOCAL ROLE postgres', 'SET SESSION AUTHORIZATION postgres', 'SET SESSION AUTHORIZATION DEFAULT', 'RESET SESSION AUTHORIZATION',
        format('SELECT set_config(''role'', %L, false)', session_user), 'SELECT set_config(''session_authorization'', ''postgres'', false)', 'SELECT gain.definer()', 'SELECT gain.chain()',
        'ALTER ROLE regress_gain_owner SUPERUSER', 'ALTER ROLE regress_gain_owner BYPASSRLS', 'CREATE ROLE regress_gain_evil', 'GRANT pg_read_server_files TO regress_gain_owner',
        'ALTER SYSTEM SET log_statement = none', 'CREATE TEMP TABLE evil (n int)', 'COPY (SELECT 1) TO PROGRAM ''true''', 'SELECT pg_catalog.pg_read_file(''PG_VERSION'')', 'SET session_replication_role = replica',
        'LISTEN evil', 'DECLARE evil CURSOR WITH HOLD FOR SELECT 1', 'PREPARE evil AS SELECT 1', 'DISCARD ALL', 'CREATE FUNCTION pg_catalog.now(int) RETURNS int LANGUAGE sql AS ''SELECT 1''',
        'UPDATE retention.policy SET condition = NULL', 'DELETE FROM retention.run', 'DELETE FROM retention.batch', 'TRUNCATE retention.policy_change', 'ALTER EXTENSION pg_retention UPDATE', 'ALTER TABLE public.gained OWNER TO regress_gain_owner']
    LOOP
        BEGIN
            EXECUTE attempt;
            INSERT INTO public.gained VALUES (current_user, place, attempt, 'done');
        EXCEPTION WHEN OTHERS THEN
            INSERT INTO public.gained VALUES (current_user, place, attempt, SQLSTATE);
        END;
    END LOOP;
    -- Legal, and to be undone when the run gives the session back.
    PERFORM set_config('search_path', 'gain', false), set_config('statement_timeout', '54321', false), set_config('row_security', 'on', false), set_config('TimeZone', 'Asia/Kathmandu', false);
    RETURN true;
END $$;
-- The same where the server wants a function that changes nothing.
CREATE FUNCTION gain.quiet(place text, n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM gain.strike(place); RETURN n; END $$;
CREATE FUNCTION gain.is_quiet(place text, value text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM gain.strike(place); RETURN true; END $$;
CREATE FUNCTION gain.at_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM gain.strike(TG_ARGV[0]); IF TG_OP = 'DELETE' THEN RETURN old; END IF; RETURN new; END $$;
CREATE DOMAIN gain.label AS text CHECK (VALUE IS NULL OR gain.is_quiet('domain', VALUE));
CREATE TYPE gain.mood AS ENUM ('good', 'bad');
CREATE FUNCTION gain.mood_text(gain.mood) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM gain.strike('cast'); RETURN 'mood'; END $$;
CREATE CAST (gain.mood AS text) WITH FUNCTION gain.mood_text(gain.mood) AS ASSIGNMENT;
CREATE FUNCTION gain.is_same(gain.mood, gain.mood) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM gain.strike('comparison'); RETURN true; END $$;
CREATE OPERATOR gain.= (LEFTARG = gain.mood, RIGHTARG = gain.mood, FUNCTION = gain.is_same, COMMUTATOR = OPERATOR(gain.=));
CREATE OPERATOR gain.< (LEFTARG = gain.mood, RIGHTARG = gain.mood, FUNCTION = gain.is_same);
CREATE TABLE gain.victim (id int, mood gain.mood, at timestamptz, n int CHECK (gain.quiet('check', n) = n), label gain.label, made int GENERATED ALWAYS AS (gain.quiet('generated column', n)) STORED,
    stamp boolean DEFAULT gain.strike('default'), PRIMARY KEY (id, mood));
CREATE TABLE gain.child (id int PRIMARY KEY, victim int, mood gain.mood, FOREIGN KEY (victim, mood) REFERENCES gain.victim);
CREATE TABLE gain.sign (victim int, at timestamptz);
CREATE INDEX ON gain.victim (gain.quiet('index expression', n));
CREATE INDEX ON gain.victim (id) WHERE gain.quiet('index predicate', n) > 0;
CREATE STATISTICS gain.guess ON n, (gain.quiet('statistics', n)) FROM gain.victim;
CREATE TRIGGER b BEFORE DELETE OR UPDATE ON gain.victim FOR EACH ROW EXECUTE FUNCTION gain.at_row('row trigger');
CREATE TRIGGER s AFTER DELETE OR UPDATE ON gain.victim FOR EACH STATEMENT EXECUTE FUNCTION gain.at_row('statement trigger');
CREATE CONSTRAINT TRIGGER d AFTER DELETE OR UPDATE ON gain.victim DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION gain.at_row('deferred trigger');
CREATE CONSTRAINT TRIGGER d AFTER DELETE ON gain.child DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION gain.at_row('deferred trigger of a dependent');
CREATE POLICY p ON gain.victim USING (gain.strike('row security'));
ALTER TABLE gain.victim ENABLE ROW LEVEL SECURITY;
-- Makes the rows anew, at peace.
CREATE FUNCTION gain.fill() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('gain.is_armed', 'off', false);
    TRUNCATE gain.victim, gain.child, gain.sign;
    INSERT INTO gain.victim (id, mood, at, n, label, stamp) SELECT g, 'good', '2020-01-01', g, 'x', true FROM generate_series(1, 20) g;
    INSERT INTO gain.child SELECT g, g, 'good' FROM generate_series(1, 5) g;
    INSERT INTO gain.sign SELECT 1, now() + interval '1 day';
    DELETE FROM public.gained;
    SET CONSTRAINTS ALL IMMEDIATE;
    PERFORM set_config('gain.is_armed', 'on', false);
END $$;

RESET ROLE;

-- What was caught since the last fill: nobody but the owner, and nothing achieved.
CREATE FUNCTION pg_temp.caught() RETURNS text LANGUAGE sql AS $$ SELECT COALESCE(string_agg(DISTINCT who, ' '), 'nobody') || ': ' || COALESCE(string_agg(DISTINCT attempt, ', ') FILTER (WHERE outcome = 'done'), 'nothing') FROM public.gained $$;
CREATE FUNCTION pg_temp.places() RETURNS text LANGUAGE sql AS $$ SELECT string_agg(DISTINCT place, ', ' ORDER BY place) FROM public.gained $$;
SELECT "is" AS session FROM public.gain_session \gset

-- ---- Defining ----

SELECT gain.fill() \gset
SELECT retention.add_policy('gain_delete', 'gain.victim', '1 day', 'at', condition => 'gain.strike(''condition'') AND gain.quiet(''folded'', 1) = 1 AND mood = ''good''', dependents => 'cascade', max_rows => 1000, max_fraction => 1) \gset
SELECT retention.add_policy('gain_update', 'gain.victim', '1 day', 'at', action => 'update', set_clause => 'n = gain.quiet(''set clause'', n) + 100, label = ''y'', stamp = DEFAULT', condition => 'n < 100') \gset
SELECT retention.add_policy('gain_archive', 'gain.victim', '1 day', 'at', action => 'archive', dependents => 'cascade') \gset
SELECT retention.add_policy('gain_expiry', 'gain.victim', expiry_expression => 'target.at + gain.quiet(''expiry expression'', 1) * interval ''1 day''', keep_latest => 1, keep_per => '{mood}') \gset
SELECT retention.add_activity('gain_expiry', 'gain.sign', 'at', 'activity.victim = subject.id AND gain.strike(''join condition'')', 'gain.strike(''condition of an activity'')') \gset
SELECT retention.add_dependent('gain_expiry', 'gain.child', 'dependent.victim = target.id AND gain.strike(''join condition of a dependent'')') \gset
SELECT retention.alter_policy('gain_delete', run_order => 1) \gset
SELECT count(*) AS differences FROM retention.import_policies(retention.export_policies()) \gset
SELECT ok(pg_temp.caught() IN ('nobody: nothing', 'regress_gain_owner: nothing'), 'G8 a superuser who defines policies runs no code of the owner''s as a superuser');
SELECT is((SELECT "is" FROM public.gain_session), :'session'::text, 'G8 and the session is as it was');
SELECT is((SELECT string_agg(DISTINCT owner::text, ' ') FROM retention.policies WHERE name LIKE 'gain%'), 'regress_gain_owner', 'G8 what a superuser defines belongs to the owner of the target');

-- ---- Looking ----

DELETE FROM public.gained;
SELECT count(*) AS steps FROM retention.policies, retention.explain(name) WHERE name LIKE 'gain%' \gset
SELECT is(pg_temp.caught(), 'regress_gain_owner: nothing', 'G8 explain: what the planner runs, it runs as the owner');
SELECT ok(pg_temp.places() LIKE '%folded%', 'and it does run some');
DELETE FROM public.gained;
SELECT count(*) AS findings FROM retention.policies, retention.check(name) WHERE name LIKE 'gain%' \gset
SELECT ok(pg_temp.caught() IN ('nobody: nothing', 'regress_gain_owner: nothing'), 'G8 check: the same');
DELETE FROM public.gained;
SELECT count(*) AS rows FROM retention.policies, retention.preview(name) WHERE name LIKE 'gain%' \gset
SELECT is(pg_temp.caught(), 'regress_gain_owner: nothing', 'G8 preview: conditions and expressions run as the owner and achieve nothing');
SELECT is(pg_temp.places(), 'condition, condition of an activity, expiry expression, folded, join condition, join condition of a dependent', 'and all of them do run');
SELECT is((SELECT "is" FROM public.gain_session), :'session'::text, 'G8 and the session is as it was');

-- ---- Running ----

SELECT gain.fill() \gset
SELECT success AS went, affected FROM retention.apply('gain_delete') \gset
SELECT is(:'affected'::text, '20', 'a run of the SQL hand goes through');
SELECT is(pg_temp.caught(), 'regress_gain_owner: nothing', 'G8 its conditions and triggers run as the owner and achieve nothing');
SELECT is(pg_temp.places(), 'condition, deferred trigger, deferred trigger of a dependent, folded, row trigger, statement trigger', 'and all of them ran, deferred ones within the run');
SELECT is((SELECT "is" FROM public.gain_session), :'session'::text, 'G8 and the session is as it was');

SELECT gain.fill() \gset
SELECT success AS went, affected FROM retention.apply('gain_update') \gset
SELECT is(:'affected'::text, '20', 'an update goes through');
SELECT is(pg_temp.caught(), 'regress_gain_owner: nothing', 'G8 checks, domains, defaults, generated columns, index expressions run as the owner and achieve nothing');
SELECT is(pg_temp.places(), 'check, default, deferred trigger, domain, generated column, index expression, index predicate, row trigger, set clause, statement trigger', 'and all of them ran');

CREATE FUNCTION gain.at_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.gained VALUES (current_user, 'event trigger', 'be there', 'there'); END $$;
CREATE EVENT TRIGGER regress_gain ON ddl_command_end EXECUTE FUNCTION gain.at_ddl();
DROP TABLE gain.victim_archive, gain.child_archive;
SELECT gain.fill() \gset
SELECT retention.alter_policy('gain_archive', reset => '{archive_to}') \gset
SELECT is((SELECT string_agg(DISTINCT who, ' ') FROM public.gained WHERE place = 'event trigger'), 'regress_gain_owner', 'G8 an archive is made as the owner, and so an event trigger sees it');
DROP EVENT TRIGGER regress_gain;
SET ROLE regress_gain_owner;
ALTER TABLE gain.victim_archive ALTER label SET DEFAULT 'z', ADD CHECK (gain.quiet('check of the archive', n) = n);
CREATE TRIGGER a BEFORE INSERT ON gain.victim_archive FOR EACH ROW EXECUTE FUNCTION gain.at_row('trigger of the archive');
RESET ROLE;
DELETE FROM public.gained;
SELECT affected FROM retention.apply('gain_archive') \gset
SELECT is(:'affected'::text || ' ' || (SELECT count(*) FROM gain.victim_archive), '20 20', 'an archive goes through');
SELECT is(pg_temp.caught(), 'regress_gain_owner: nothing', 'G8 checks and triggers of the archive run as the owner and achieve nothing');
SELECT ok(pg_temp.places() LIKE '%check of the archive%trigger of the archive', 'and they ran');

SELECT gain.fill() \gset
SELECT affected FROM retention.apply('gain_expiry') \gset
SELECT is(:'affected'::text, '18', 'a run by expression, activity and declared dependents goes through');
SELECT is(pg_temp.caught(), 'regress_gain_owner: nothing', 'G8 expressions and join conditions run as the owner and achieve nothing');
SELECT ok(pg_temp.places() LIKE '%expiry expression%join condition, join condition of a dependent%', 'and they ran');

-- Committed batches, where each ends in a commit of the caller's.
SELECT gain.fill() \gset
CALL retention.run('gain_delete', batch_rows => 3) \gset
SELECT is((SELECT row(success, affected)::text FROM retention.runs WHERE policy = 'gain_delete' ORDER BY id DESC LIMIT 1), '(t,20)', 'a run in batches goes through');
SELECT is(pg_temp.caught(), 'regress_gain_owner: nothing', 'G8 nothing of the owner''s runs at the commits of a superuser');
SELECT ok(pg_temp.places() LIKE '%deferred trigger, deferred trigger of a dependent%', 'though deferred triggers ran');
SELECT is((SELECT "is" FROM public.gain_session), :'session'::text, 'G8 and the session is as it was');

-- A deferred trigger of a table that the policy does not know, set off by one that it does.
SET ROLE regress_gain_owner;
CREATE TABLE gain.trap (n int);
CREATE FUNCTION gain.set_trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO gain.trap VALUES (1); RETURN old; END $$;
CREATE CONSTRAINT TRIGGER d AFTER INSERT ON gain.trap DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION gain.at_row('trap');
CREATE TRIGGER t BEFORE DELETE ON gain.victim FOR EACH ROW EXECUTE FUNCTION gain.set_trap();
RESET ROLE;
SELECT gain.fill() \gset
CALL retention.run('gain_delete', batch_rows => 3) \gset
SELECT ok(pg_temp.caught() = 'regress_gain_owner: nothing' AND (SELECT count(*) FROM public.gained WHERE place = 'trap' AND who <> 'regress_gain_owner') = 0, 'G8 nor do deferred triggers of other tables, which triggers of the target set off');
DELETE FROM public.gained;
BEGIN;
SELECT success AS went FROM retention.apply('gain_delete') \gset
COMMIT;
SELECT is((SELECT count(*) FROM public.gained WHERE who <> 'regress_gain_owner'), 0::bigint, 'G8 nor at the commit of a transaction of the caller''s own');
DROP TRIGGER t ON gain.victim;

-- The session after an error.
SET ROLE regress_gain_owner;
CREATE FUNCTION gain.fail() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM gain.strike('failing'); RAISE 'no'; END $$;
RESET ROLE;
SELECT retention.alter_policy('gain_delete', condition => 'gain.fail()') \gset
SELECT gain.fill() \gset
SELECT success AS went FROM retention.apply('gain_delete') \gset
SELECT is(:'went'::text, 'f', 'a condition that raises fails the run');
SELECT is((SELECT "is" FROM public.gain_session), :'session'::text, 'G8 which leaves the session as it was');
SELECT throws_ok($$ SELECT retention.preview('gain_delete') $$, 'P0001', NULL, 'a preview raises its error');
SELECT is((SELECT "is" FROM public.gain_session), :'session'::text, 'G8 and leaves the session as it was');

-- A caller who may run but not define.
GRANT EXECUTE ON FUNCTION retention.apply(text), retention.preview(text, timestamptz, int) TO regress_gain_caller;
SELECT retention.alter_policy('gain_delete', condition => 'gain.strike(''condition'')') \gset
SELECT gain.fill() \gset
SET ROLE regress_gain_caller;
SELECT affected FROM retention.apply('gain_delete') \gset
RESET ROLE;
SELECT is(:'affected'::text, '20', 'who may run a policy needs no right on its tables');
SELECT is(pg_temp.caught(), 'regress_gain_owner: nothing', 'G8 and lends it none of their own');

-- Settings of the caller's that read text otherwise do not change what a policy means.
SELECT retention.add_policy('gain_style', 'gain.sign', '1 day', 'at', condition => $$ E'a\\b' = concat('a', chr(92), 'b') AND '\' = chr(92) AND '{NULL}'::text[] = ARRAY[NULL]::text[] AND 0.1::float8::text = '0.1' AND '\x61'::bytea::text = '\x61' $$) \gset
SELECT gain.fill() \gset
SET gain.is_armed = off;
UPDATE gain.sign SET at = '2020-01-01';
SET standard_conforming_strings = off;
SET array_nulls = off;
SET extra_float_digits = -15;
SET bytea_output = escape;
SET quote_all_identifiers = on;
SELECT affected FROM retention.apply('gain_style') \gset
SELECT is(:'affected'::text, '1', 'G9 a stored condition means the same under every style of strings, arrays and numbers');
SELECT lives_ok('SELECT retention.alter_policy(''gain_style'', condition => ''victim IS NOT NULL'')', 'and is written out under all of them');
RESET ALL;
SET client_min_messages = error;
SELECT is((SELECT condition FROM retention.policies WHERE name = 'gain_style'), '(target.victim IS NOT NULL)', 'without quotes that nobody asked for');
SELECT is((SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolname LIKE 'regress_gain%' AND (rolsuper OR rolbypassrls OR rolcreaterole)), NULL, 'G8 at the end nobody is more than they were');

SELECT * FROM finish();
SELECT count(retention.remove_policy(name)) AS removed FROM retention.policies WHERE name LIKE 'gain%' \gset
DROP SCHEMA gain CASCADE;
DROP VIEW public.gain_session;
DROP TABLE public.gained;
REVOKE ALL ON FUNCTION retention.apply(text), retention.preview(text, timestamptz, int) FROM regress_gain_caller;
DROP ROLE regress_gain_owner, regress_gain_caller;
