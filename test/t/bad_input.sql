-- The ground of 040_bad_input.pl: tables of many shapes with a few rows each, policies of all kinds, a table x that
-- injections try to drop, and what says whether anything was changed. Runs as a superuser; the cases run as "shop".
SET client_min_messages = error;
CREATE EXTENSION pg_retention;
CREATE SCHEMA bad AUTHORIZATION shop;
GRANT CREATE, USAGE ON SCHEMA public TO shop;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA retention, public TO shop;
GRANT SELECT ON ALL TABLES IN SCHEMA retention TO shop;

SET ROLE shop;
CREATE TABLE x (id int PRIMARY KEY);
CREATE TABLE users (id serial PRIMARY KEY, name text, last_active timestamp);
CREATE TABLE carts (id serial PRIMARY KEY, user_id int NOT NULL REFERENCES users);
CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id int NOT NULL REFERENCES carts, created_at timestamp, label text);
CREATE TABLE sessions (id text PRIMARY KEY, user_id int NOT NULL REFERENCES users, created_at timestamp);
CREATE TABLE messages (id serial PRIMARY KEY, user_id int NOT NULL REFERENCES users, sender text, "timestamp" timestamp);
CREATE TABLE image_sent (id serial PRIMARY KEY, session_id text NOT NULL REFERENCES sessions);
CREATE TABLE video_sent (id serial PRIMARY KEY, session_id text NOT NULL REFERENCES sessions);
CREATE TABLE bookings (id serial PRIMARY KEY, status text, created_at timestamp, updated_at timestamptz, total_cost numeric);
CREATE TABLE "Ev'il""; DROP TABLE x; --" (id int PRIMARY KEY, "at"";--" timestamptz, " target SET " text, " AS pg_retention_expression FROM" int, user_id int REFERENCES users);
CREATE TABLE "select" ("from" timestamptz, "where" text, "order" int);
CREATE TABLE events (id bigint, tenant int, at timestamptz, at_ms bigint, day date, key uuid, ttl interval, tags text[], body jsonb, raw bytea, note text, ok boolean, amount numeric) PARTITION BY RANGE (id);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (100);
CREATE TABLE events_2 PARTITION OF events DEFAULT;
CREATE TABLE node (id int PRIMARY KEY, parent int REFERENCES node, at timestamptz, note text);
CREATE TABLE leaf (node int REFERENCES node ON DELETE SET NULL, other int, at date);
CREATE TABLE stubborn (id text[] PRIMARY KEY, at timestamptz);
CREATE FUNCTION bad.object() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'it stays'; END $$;
CREATE TRIGGER object BEFORE DELETE ON stubborn FOR EACH ROW EXECUTE FUNCTION bad.object();
CREATE VIEW seen AS TABLE events;
CREATE MATERIALIZED VIEW kept AS TABLE events WITH NO DATA;
CREATE SEQUENCE counter;

CREATE PROCEDURE bad.fill() LANGUAGE plpgsql AS $$ BEGIN
	TRUNCATE x, users, carts, cart_items, sessions, messages, image_sent, video_sent, bookings, "Ev'il""; DROP TABLE x; --", "select", events, node, leaf, stubborn RESTART IDENTITY CASCADE;
	INSERT INTO x SELECT generate_series(1, 3);
	INSERT INTO users (name, last_active) SELECT 'u' || g, CASE g WHEN 1 THEN NULL WHEN 2 THEN 'infinity' WHEN 3 THEN '-infinity' ELSE now() AT TIME ZONE 'UTC' - g * interval '30 days' END FROM generate_series(1, 6) AS g;
	INSERT INTO carts (user_id) SELECT id FROM users;
	INSERT INTO cart_items (cart_id, created_at, label) SELECT id, now() - id * interval '40 days', 'it''s; ' || id FROM carts;
	INSERT INTO sessions SELECT 's' || id, id, now() - id * interval '10 hours' FROM users;
	INSERT INTO messages (user_id, sender, "timestamp") SELECT id, 'user', now() AT TIME ZONE 'UTC' - id * interval '10 hours' FROM users;
	INSERT INTO image_sent (session_id) SELECT id FROM sessions;
	INSERT INTO video_sent (session_id) SELECT id FROM sessions;
	INSERT INTO bookings (status, created_at) SELECT 'Pending', now() - g * interval '7 minutes' FROM generate_series(1, 5) AS g;
	INSERT INTO "Ev'il""; DROP TABLE x; --" SELECT g, now() - g * interval '1 year', ';', 1, g FROM generate_series(1, 4) AS g;
	INSERT INTO "select" SELECT now() - g * interval '1 year', 'w', g FROM generate_series(0, 3) AS g;
	INSERT INTO events SELECT g * 40, g % 2, now() - g * interval '100 days', extract(epoch FROM now() - g * interval '100 days') * 1000, now() - g * interval '100 days', gen_random_uuid(), g * interval '1 day', '{a,b}', '{"a": 1}', '\x00ff', 'n', g > 2, g FROM generate_series(1, 5) AS g;
	INSERT INTO node SELECT g, nullif(g / 2, 0), now() - g * interval '1 year', 'n' FROM generate_series(1, 6) AS g;
	INSERT INTO stubborn SELECT ARRAY['it''s', g::text], now() - g * interval '1 year' FROM generate_series(1, 2) AS g;
	INSERT INTO leaf SELECT g, g, now() - g * interval '1 year' FROM generate_series(1, 3) AS g;
END $$;
CALL bad.fill();

SELECT retention.add_policy('stored', 'events', '90 days', 'at', dependents => 'cascade');
SELECT retention.add_policy('update', 'node', '90 days', 'at', action => 'update', set_clause => 'note = '';''', condition => 'note <> '';''');
SELECT retention.add_policy('archive', '"select"', '90 days', 'from', action => 'archive');
SELECT retention.add_policy('waiting', 'carts', '1 day', subject => 'users');
SELECT retention.add_policy('alive', 'carts', '1 day', subject => 'users', dependents => 'cascade');
SELECT retention.add_activity('alive', 'messages', 'timestamp', 'activity.user_id = subject.id');
SELECT retention.add_policy('latest', 'node', '1 year', 'at', keep_latest => 1, keep_per => '{parent}', dependents => 'cascade');
SELECT retention.add_dependent('latest', 'leaf', 'dependent.other = target.id', 'keep');
SELECT retention.add_policy('$$o''clock"; DROP TABLE x; --', '"Ev''il""; DROP TABLE x; --"', '1 day', 'at";--', subject => NULL, condition => '" target SET " = '';''');
SELECT retention.adopt_preset('inactive_carts');
SELECT retention.add_hold('public.node', 'target.id = 6', 'asked for');
SELECT retention.add_policy('fused', 'bookings', '1 minute', 'created_at', max_rows => 1);
SELECT retention.add_policy('failing', 'stubborn', '1 day', 'at');
-- A run whose rows can be restored, one that its fuse stopped, and one with rows that fail.
SELECT retention.apply('archive');
SELECT retention.apply('fused');
CALL retention.run('failing');
RESET ROLE;

-- What a case must leave as it was: the rows of the users' tables, the definitions, the catalog; then the rest of
-- what the extension keeps, and locks of policies.
DO $do$
DECLARE
	part text;
BEGIN
	SELECT string_agg(format('SELECT %L AS kind, count(*) || %L || coalesce(md5(string_agg(md5(t::text), %L ORDER BY md5(t::text))), %L) AS said FROM %s AS t', kind, relation, '', 'empty', relation), E'\nUNION ALL ' ORDER BY relation) INTO part
	  FROM (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS relation,
			CASE WHEN n.nspname = 'public' THEN 'tables' WHEN starts_with(c.relname, 'policy') THEN 'definitions' ELSE 'history' END AS kind
		  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('public', 'retention') AND c.relkind IN ('r', 'p') AND NOT c.relispartition) AS r;
	EXECUTE format($f$
		CREATE FUNCTION bad.digest() RETURNS text[] LANGUAGE plpgsql SET search_path = pg_catalog SET DateStyle = 'ISO' SET IntervalStyle = 'postgres' SET TimeZone = 'UTC'
			SET bytea_output = 'hex' SET extra_float_digits = 1 SET quote_all_identifiers = off SET standard_conforming_strings = on SET plan_cache_mode = force_generic_plan AS %L $f$,
		format($b$
BEGIN
	RETURN (SELECT ARRAY[string_agg(said, ' ' ORDER BY said) FILTER (WHERE kind = 'tables'), string_agg(said, ' ' ORDER BY said) FILTER (WHERE kind = 'definitions'),
			concat_ws(' ', (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_type),
				(SELECT count(*) FROM pg_constraint), (SELECT count(*) FROM pg_trigger), (SELECT count(*) FROM pg_largeobject_metadata), (SELECT md5(string_agg(r::text, '' ORDER BY r.oid)) FROM pg_roles r)),
			string_agg(said, ' ' ORDER BY said) FILTER (WHERE kind = 'history'), (SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())]
		FROM (%s) AS t);
END $b$, part));
END $do$;
-- What a call must give back of the session.
CREATE FUNCTION bad.session() RETURNS text LANGUAGE sql AS $$
	SELECT pg_catalog.concat_ws(' ', session_user, current_user, pg_catalog.string_agg(s.name || '=' || s.setting, ' ' ORDER BY s.name)) FROM pg_catalog.pg_settings AS s
	WHERE s.name IN ('search_path', 'row_security', 'TimeZone', 'DateStyle', 'IntervalStyle', 'lock_timeout', 'role', 'standard_conforming_strings', 'quote_all_identifiers',
		'transform_null_equals', 'array_nulls', 'bytea_output', 'extra_float_digits', 'backslash_quote', 'check_function_bodies') $$;

-- The state before the first case, which the session remembers; and the policies that there are.
CREATE FUNCTION bad.remember() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_catalog.set_config('bad.state', bad.digest()::text, false);
	PERFORM pg_catalog.set_config('bad.session', bad.session(), false);
	PERFORM pg_catalog.set_config('bad.known', (SELECT pg_catalog.array_agg(pg_catalog.concat(name, ' ', version))::text FROM retention.policy), false);
END $$;
CREATE FUNCTION bad.settle() RETURNS void LANGUAGE sql AS $$ SELECT pg_catalog.set_config('bad.session', bad.session(), true) $$;
-- What differs from it, of the first `parts` parts.
CREATE FUNCTION bad.compare(number int, parts int DEFAULT 5) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	now_is text[] := bad.digest();
	was text[] := pg_catalog.current_setting('bad.state');
BEGIN
	IF now_is[1:parts] <> was[1:parts] THEN RAISE INFO '@@ % changed % BUT WAS %', number, now_is, was; END IF;
	IF bad.session() <> pg_catalog.current_setting('bad.session') THEN
		RAISE INFO '@@ % session % BUT WAS %', number, bad.session(), pg_catalog.current_setting('bad.session');
	END IF;
END $$;
-- The same where the case ran in transactions of its own: a call that went through may have removed rows, which are made anew.
CREATE FUNCTION bad.after_call(number int, failed boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF failed THEN PERFORM bad.compare(number); END IF;
	IF (bad.digest())[2] <> (pg_catalog.current_setting('bad.state')::text[])[2] THEN RAISE INFO '@@ % changed by a call', number; END IF;
	CALL bad.fill();
	PERFORM bad.remember();
END $$;

-- What a call returned: a failure within is told by the result, and has changed nothing.
CREATE FUNCTION bad.said(number int, result jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	part jsonb;
	parts int := 0;
BEGIN
	IF pg_catalog.jsonb_typeof(result) IS DISTINCT FROM 'object' THEN RETURN; END IF;
	FOR part IN SELECT value FROM pg_catalog.jsonb_each(result) WHERE pg_catalog.jsonb_typeof(value) = 'object' LOOP
		PERFORM bad.said(number, part);
		parts := parts + 1;
	END LOOP;
	IF result ->> 'success' = 'false' AND result ->> 'sqlstate' IS NOT NULL THEN
		RAISE INFO '@@ % told % %', number, result ->> 'sqlstate', pg_catalog.replace(pg_catalog.left(result ->> 'message', 4000), E'
', ' ');
		IF parts = 0 THEN PERFORM bad.compare(number, 3); END IF;
	END IF;
END $$;

-- What is held against every definition that was accepted: it can be explained, previewed, run, exported, imported unchanged and removed.
CREATE FUNCTION bad.attempt(number int, what text, statement text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	result jsonb;
BEGIN
	EXECUTE statement INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RAISE INFO '@@ % % % %', number, what, SQLSTATE, pg_catalog.replace(pg_catalog.left(SQLERRM, 4000), E'
', ' ');
	RETURN NULL;
END $$;
CREATE FUNCTION bad.follow(number int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	one text;
	differences jsonb;
	definitions jsonb;
	result jsonb;
BEGIN
	IF (bad.digest())[2] = (pg_catalog.current_setting('bad.state')::text[])[2] THEN RETURN; END IF;
	RAISE INFO '@@ % defined', number;
	definitions := bad.attempt(number, 'export', 'SELECT retention.export_policies()');
	FOR one IN SELECT name FROM retention.policy WHERE pg_catalog.concat(name, ' ', version) <> ALL (pg_catalog.current_setting('bad.known')::text[]) LOOP
		differences := bad.attempt(number, 'import', pg_catalog.format('SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(i)) FROM retention.import_policies(%L) AS i',
			(SELECT pg_catalog.jsonb_agg(d) FROM pg_catalog.jsonb_array_elements(definitions) AS d WHERE d ->> 'name' = one)));
		IF differences IS NOT NULL THEN RAISE INFO '@@ % differs %', number, differences; END IF;
		PERFORM bad.attempt(number, 'explain', pg_catalog.format('SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(e)) FROM retention.explain(%L) AS e', one));
		PERFORM bad.attempt(number, 'preview', pg_catalog.format('SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(p)) FROM retention.preview(%L) AS p', one));
		result := bad.attempt(number, 'apply', pg_catalog.format('SELECT pg_catalog.to_jsonb(a) FROM retention.apply(%L) AS a', one));
		IF result ->> 'sqlstate' IS NOT NULL THEN RAISE INFO '@@ % run % %', number, result ->> 'sqlstate', pg_catalog.left(result ->> 'message', 4000); END IF;
		PERFORM bad.attempt(number, 'remove', pg_catalog.format('SELECT pg_catalog.to_jsonb(retention.remove_policy(%L) IS NULL)', one));
		IF EXISTS (SELECT FROM retention.policy WHERE name = one) THEN RAISE INFO '@@ % remains', number; END IF;
	END LOOP;
END $$;
