-- The same rule on other schemas: hostile names, other kinds of keys and tables, several paths, and what is missing.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema shapes
\set begin :test '/begin.psql'
\i :begin
SELECT plan(67);

-- ---- Names ----

-- A shop whose schema, tables, columns and constraints have the given name (ending differently where two would collide),
-- adopted and cleaned. Returns the items deleted, left, carts and users left.
CREATE FUNCTION shop_named(items text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    stem text := left(items, -1);
    users text := stem || 'u';
    carts text := stem || 'v';
    did jsonb;
    counts text;
BEGIN
    EXECUTE format('CREATE SCHEMA %I', items);
    EXECUTE format('CREATE TABLE %1$I.%2$I (%1$I int CONSTRAINT %4$I PRIMARY KEY, %3$I timestamp)', items, users, carts, stem || 'x');
    EXECUTE format('CREATE TABLE %1$I.%3$I (%1$I int CONSTRAINT %4$I PRIMARY KEY, %2$I int CONSTRAINT %2$I REFERENCES %1$I.%2$I (%1$I))',
                   items, users, carts, stem || 'y');
    EXECUTE format('CREATE TABLE %1$I.%1$I (%1$I serial CONSTRAINT %3$I PRIMARY KEY, %2$I int CONSTRAINT %2$I REFERENCES %1$I.%2$I (%1$I))',
                   items, carts, stem || 'z');
    EXECUTE format('INSERT INTO %I.%I VALUES (1, timezone(''UTC'', now()) - interval ''100 days''), (2, timezone(''UTC'', now()))', items, users);
    EXECUTE format('INSERT INTO %I.%I VALUES (10, 1), (20, 2)', items, carts);
    EXECUTE format('INSERT INTO %1$I.%1$I (%2$I) VALUES (10), (10), (20)', items, carts);
    PERFORM retention.adopt_preset('inactive_carts', target => format('%1$I.%1$I', items)::regclass,
                                   subject => format('%I.%I', items, users)::regclass, time_column => carts::name);
    IF (get_inactive_carts_preview() ->> 'deleted_items')::int <> 2 THEN RAISE 'the preview differs: %', get_inactive_carts_preview(); END IF;
    PERFORM * FROM get_user_activity();
    PERFORM * FROM retention.preview('inactive_carts');
    did := cleanup_inactive_carts();
    IF NOT (did ->> 'success')::boolean THEN RAISE '%', did; END IF;
    EXECUTE format('SELECT concat_ws('' '', (SELECT count(*) FROM %1$I.%1$I), (SELECT count(*) FROM %1$I.%2$I), (SELECT count(*) FROM %1$I.%3$I))',
                   items, carts, users) INTO counts;
    PERFORM retention.remove_policy('inactive_carts');
    EXECUTE format('DROP SCHEMA %I CASCADE', items);
    RETURN did ->> 'deleted_items' || ' gone, left ' || counts;
END $$;
CREATE FUNCTION names_work(base text, title text) RETURNS text LANGUAGE sql AS
    $$ SELECT is(shop_named(base), '2 gone, left 1 2 2', 'the rule works on ' || title) $$;

SELECT names_work('select', 'reserved words');
SELECT names_work('Mixed Case', 'names in mixed case with spaces');
SELECT names_work('a.b.c', 'names with dots');
SELECT names_work('a"b""c', 'names with double quotes');
SELECT names_work('it''s', 'names with single quotes');
SELECT names_work('back\slash\', 'names with backslashes');
SELECT names_work('$1$$x$$', 'names with dollars');
SELECT names_work('x; DROP TABLE users; --', 'names that read like statements');
SELECT names_work('Größe·数量·🛒', 'names in Unicode');
SELECT names_work('{a,b}', 'names that read like arrays');
SELECT names_work('%s %I %%', 'names that read like formats');
SELECT names_work(E'line\nfeed\ttab', 'names with control characters');
SELECT names_work('target', 'the name of an alias of the engine');
SELECT names_work('subject', 'the name of another alias of the engine');
SELECT names_work('step_1', 'the name of an alias of a step');
SELECT names_work('ctid_', 'a name like a system column');
SELECT names_work(repeat('n', 62) || 'i', 'names of 63 bytes');
SELECT names_work(repeat('ü', 31) || 'i', 'names of 63 bytes in Unicode');
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SELECT names_work('old', 'a server without standard_conforming_strings');
SELECT names_work('back\\slash''s', 'and backslashes there');
RESET standard_conforming_strings;

-- ---- Keys and tables ----

-- Runs the adopted policy once by each hand on what `prepare` makes; the keys left are what is compared.
CREATE FUNCTION ago(days int) RETURNS timestamp LANGUAGE sql STABLE AS $$ SELECT timezone('UTC', now()) - days * interval '1 day' $$;

CREATE SCHEMA big; SET search_path = big, shapes, public;
CREATE TABLE users (id bigint PRIMARY KEY, last_active timestamp);
CREATE TABLE carts (id bigint PRIMARY KEY, user_id bigint REFERENCES users);
CREATE TABLE cart_items (id bigint PRIMARY KEY, cart_id bigint REFERENCES carts);
INSERT INTO users VALUES (9223372036854775807, ago(100)), (-9223372036854775808, ago(1)), (0, ago(100)), (-1, ago(1));
INSERT INTO carts SELECT id, id FROM users;
INSERT INTO carts VALUES (5, NULL);
INSERT INTO cart_items SELECT id, id FROM carts;
INSERT INTO cart_items VALUES (6, NULL);
SELECT cleanup_inactive_carts() AS did \gset
SELECT is(:'did'::jsonb ->> 'deleted_items', '2', 'bigint keys lead to the user');
SELECT set_eq('SELECT id FROM cart_items', ARRAY[-9223372036854775808, -1, 5, 6], 'a cart of nobody and an item of no cart stay');

CREATE SCHEMA small; SET search_path = small, shapes, public;
CREATE TABLE users (id int PRIMARY KEY, last_active timestamp);
CREATE TABLE carts (id int PRIMARY KEY, user_id int REFERENCES users);
CREATE TABLE cart_items (id int PRIMARY KEY, cart_id bigint REFERENCES carts);
INSERT INTO users VALUES (-1, ago(100)), (2, ago(1));
INSERT INTO carts VALUES (-7, -1), (8, 2);
INSERT INTO cart_items VALUES (1, -7), (2, 8);
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '1', 'a bigint that refers to an int leads to it');
SELECT set_eq('SELECT id FROM cart_items', ARRAY[2], 'and to no other');

CREATE SCHEMA uuids; SET search_path = uuids, shapes, public;
CREATE TABLE users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text, last_active timestamp);
CREATE TABLE carts (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid REFERENCES users);
CREATE TABLE cart_items (id int PRIMARY KEY, cart_id uuid REFERENCES carts);
INSERT INTO users (name, last_active) VALUES ('gone', ago(100)), ('here', ago(1));
INSERT INTO carts (user_id) SELECT id FROM users;
INSERT INTO cart_items SELECT CASE name WHEN 'here' THEN 1 ELSE 2 END, c.id FROM carts c JOIN users u ON u.id = c.user_id;
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '1', 'uuid keys lead to the user');
SELECT set_eq('SELECT id FROM cart_items', ARRAY[1], 'and to no other');

CREATE SCHEMA texts; SET search_path = texts, shapes, public;
CREATE TABLE users (id text PRIMARY KEY, last_active timestamp);
CREATE TABLE carts (id varchar(40) PRIMARY KEY, user_id text REFERENCES users);
CREATE TABLE cart_items (id int PRIMARY KEY, cart_id varchar(40) REFERENCES carts);
INSERT INTO users VALUES ('it''s "me"\', ago(100)), ('', ago(1));
INSERT INTO carts SELECT id || 'c', id FROM users;
INSERT INTO cart_items SELECT row_number() OVER (ORDER BY id), id FROM carts;
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '1', 'text keys lead to the user');
SELECT set_eq('SELECT cart_id FROM cart_items', ARRAY['c'::varchar], 'and to no other');

CREATE SCHEMA composite; SET search_path = composite, shapes, public;
CREATE TABLE users (tenant int, id int, last_active timestamp, PRIMARY KEY (tenant, id));
CREATE TABLE carts (id int, user_id int, tenant int, PRIMARY KEY (id, tenant), FOREIGN KEY (tenant, user_id) REFERENCES users);
CREATE TABLE cart_items (id int, tenant int, cart_id int, PRIMARY KEY (tenant, id), FOREIGN KEY (cart_id, tenant) REFERENCES carts);
INSERT INTO users VALUES (1, 2, ago(100)), (2, 1, ago(1)), (1, 1, ago(1)), (2, 2, ago(100));
INSERT INTO carts SELECT id, id, tenant FROM users;
INSERT INTO cart_items SELECT id, tenant, id FROM carts;
INSERT INTO cart_items VALUES (9, 1, NULL);
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '2', 'composite foreign keys lead to the user');
SELECT results_eq('SELECT tenant, cart_id FROM cart_items ORDER BY 1, 2', 'VALUES (1, 1), (1, NULL), (2, 1)', 'in the order of their columns');

CREATE SCHEMA parted; SET search_path = parted, shapes, public;
CREATE TABLE users (id int PRIMARY KEY, last_active timestamp);
CREATE TABLE carts (id int PRIMARY KEY, user_id int REFERENCES users);
CREATE TABLE cart_items (id int, cart_id int REFERENCES carts, created_at timestamp NOT NULL) PARTITION BY RANGE (created_at);
CREATE TABLE items_1 PARTITION OF cart_items FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE items_2 (filler text, created_at timestamp NOT NULL, cart_id int, id int);
ALTER TABLE items_2 DROP COLUMN filler;
ALTER TABLE cart_items ATTACH PARTITION items_2 FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE TABLE items_rest PARTITION OF cart_items DEFAULT PARTITION BY LIST (id);
CREATE TABLE items_rest_all PARTITION OF items_rest DEFAULT;
INSERT INTO users VALUES (1, ago(100)), (2, ago(1));
INSERT INTO carts VALUES (1, 1), (2, 2);
CREATE FUNCTION refill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE cart_items;
    INSERT INTO cart_items SELECT n, 1 + n % 2, date '2020-06-01' + n % 3 * interval '1 year' FROM generate_series(0, 599) n $$;
SELECT refill() \gset
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '300', 'items go from every partition, a nested one too');
SELECT is((SELECT count(*) FROM cart_items WHERE cart_id = 2), 300::bigint, 'and no other items');
SELECT refill() \gset
SET retention.direct = off;
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '300', 'the SQL hand does the same');
RESET retention.direct;
SELECT is((SELECT count(*) FROM cart_items WHERE cart_id = 2), 300::bigint, 'and leaves the same');
SELECT refill() \gset
SELECT is(cleanup_old_cart_items() ->> 'deleted_items', '600', 'the rule of age reaches every partition');

CREATE SCHEMA keyless; SET search_path = keyless, shapes, public;
CREATE TABLE users (id int PRIMARY KEY, last_active timestamp);
CREATE TABLE carts (id int PRIMARY KEY, user_id int REFERENCES users);
CREATE TABLE cart_items (cart_id int REFERENCES carts, what text);
INSERT INTO users VALUES (1, ago(100)), (2, ago(1));
INSERT INTO carts VALUES (1, 1), (2, 2);
INSERT INTO cart_items VALUES (1, 'same'), (1, 'same'), (2, 'same'), (2, 'same');
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '2', 'items without a primary key go, twins too');
SELECT set_eq('SELECT DISTINCT cart_id FROM cart_items', ARRAY[2], 'and no other');
SELECT lives_ok('SELECT * FROM retention.preview(''inactive_carts'')', 'retention.preview works without a primary key');

CREATE SCHEMA inherited; SET search_path = inherited, shapes, public;
CREATE TABLE users (id int PRIMARY KEY, last_active timestamp);
CREATE TABLE carts (id int PRIMARY KEY, user_id int REFERENCES users);
CREATE TABLE cart_items (id int PRIMARY KEY, cart_id int REFERENCES carts);
CREATE TABLE gift_items (wrapping text) INHERITS (cart_items);
CREATE TABLE guests () INHERITS (users);
INSERT INTO users VALUES (1, ago(100)), (2, ago(1));
INSERT INTO guests VALUES (2, ago(100));
INSERT INTO carts VALUES (1, 1), (2, 2);
INSERT INTO cart_items VALUES (1, 1), (2, 2);
INSERT INTO gift_items VALUES (3, 1, 'red'), (4, 2, 'blue');
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '2', 'rows of tables that inherit from the target are its rows');
SELECT set_eq('SELECT id FROM cart_items', ARRAY[2, 4], 'G1 a row of a table that inherits from users is not the user a foreign key means');

CREATE SCHEMA parted_sessions; SET search_path = parted_sessions, shapes, public;
CREATE TABLE users (id int PRIMARY KEY);
CREATE TABLE sessions (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users) PARTITION BY RANGE (id);
CREATE TABLE sessions_1 PARTITION OF sessions FOR VALUES FROM (0) TO (100);
CREATE TABLE sessions_2 PARTITION OF sessions FOR VALUES FROM (100) TO (200);
CREATE TABLE messages (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users, sender text, "timestamp" timestamp);
CREATE TABLE image_sent (id serial, session_id int NOT NULL REFERENCES sessions) PARTITION BY HASH (session_id);
CREATE TABLE image_sent_1 PARTITION OF image_sent FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE image_sent_2 PARTITION OF image_sent FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE video_sent (id serial PRIMARY KEY, session_id int NOT NULL REFERENCES sessions);
INSERT INTO users SELECT generate_series(1, 4);
INSERT INTO sessions SELECT n, 1 + n % 4 FROM generate_series(1, 199) n;
INSERT INTO image_sent (session_id) SELECT 1 + n % 199 FROM generate_series(1, 1000) n;
INSERT INTO video_sent (session_id) SELECT 1 + n % 199 FROM generate_series(1, 300) n;
INSERT INTO messages (user_id, sender, "timestamp") VALUES (1, 'user', timezone('UTC', now()));
SELECT (SELECT count(*) FROM sessions WHERE user_id <> 1) AS sessions_by_hand,
       (SELECT count(*) FROM image_sent i JOIN sessions s ON s.id = i.session_id WHERE user_id <> 1) AS images_by_hand,
       (SELECT count(*) FROM video_sent v JOIN sessions s ON s.id = v.session_id WHERE user_id <> 1) AS videos_by_hand \gset
SELECT cleanup_inactive_sessions() AS did \gset
SELECT is(row(:'did'::jsonb -> 'deleted_sessions', :'did'::jsonb -> 'deleted_image_records', :'did'::jsonb -> 'deleted_video_records')::text,
          row(:sessions_by_hand, :images_by_hand, :videos_by_hand)::text, 'partitioned sessions go with their partitioned images, as many as counted by hand');
SELECT is(row((SELECT count(*) FROM sessions), (SELECT count(*) FROM sessions WHERE user_id = 1))::text, '(49,49)', 'G1 and exactly the others stay');

-- ---- Kinds of time ----

CREATE SCHEMA times; SET search_path = times, shapes, public;
CREATE TABLE users (id int PRIMARY KEY, last_active timestamptz);
CREATE TABLE carts (id int PRIMARY KEY, user_id int REFERENCES users);
CREATE TABLE cart_items (id int PRIMARY KEY, cart_id int REFERENCES carts);
INSERT INTO users VALUES (1, now() - interval '2161 hours'), (2, now() - interval '2159 hours'), (3, '-infinity'), (4, 'infinity'), (5, NULL);
INSERT INTO carts SELECT id, id FROM users;
INSERT INTO cart_items SELECT id, id FROM users;
SET TimeZone = 'Asia/Karachi';
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '1', 'timestamptz needs no zone');
SELECT set_eq('SELECT id FROM cart_items', ARRAY[2, 3, 4, 5], 'and infinities and NULL stay');
RESET TimeZone;
TRUNCATE cart_items;
INSERT INTO cart_items SELECT id, id FROM users;
ALTER TABLE users ALTER last_active TYPE date USING CASE WHEN isfinite(last_active) THEN timezone('UTC', last_active)::date ELSE last_active::date END;
UPDATE users SET last_active = timezone('UTC', now())::date - 90 WHERE id = 1;
UPDATE users SET last_active = timezone('UTC', now())::date - 91 WHERE id = 2;
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '1', 'a date is older when its day is before the cutoff''s');
SELECT set_eq('SELECT id FROM cart_items', ARRAY[1, 3, 4, 5], 'G1 the day of the cutoff itself stays');
CREATE DOMAIN moment AS timestamp;
ALTER TABLE users ALTER last_active TYPE moment USING last_active::timestamp;
SELECT is(cleanup_inactive_carts(89) ->> 'deleted_items', '1', 'a domain over a time is that time');
ALTER TABLE users ALTER last_active TYPE text;
SELECT is(cleanup_inactive_carts() ->> 'sqlstate', '42804', 'G11 a column that holds no time is an error');

-- ---- Paths ----

CREATE SCHEMA paths; SET search_path = paths, shapes, public;
CREATE TABLE users (id int PRIMARY KEY, last_active timestamp);
CREATE TABLE carts (id int PRIMARY KEY, user_id int CONSTRAINT "cart's user" REFERENCES users);
CREATE TABLE cart_items (id int PRIMARY KEY, cart_id int CONSTRAINT item_cart REFERENCES carts, added_by int CONSTRAINT item_adder REFERENCES users);
INSERT INTO users VALUES (1, ago(100)), (2, ago(1));
INSERT INTO carts VALUES (1, 1), (2, 2);
INSERT INTO cart_items VALUES (1, 1, 2), (2, 2, 1), (3, 1, 1), (4, 2, 2);
SELECT cleanup_inactive_carts() AS did \gset
SELECT is(:'did'::jsonb ->> 'sqlstate', '42P08', 'G11 two paths from target to subject are an error');
SELECT ok(:'did'::jsonb ->> 'detail' LIKE '%item_cart%item_adder%' OR :'did'::jsonb ->> 'detail' LIKE '%item_adder%item_cart%', 'that lists both');
SELECT ok(:'did'::jsonb ->> 'hint' LIKE '%path%', 'and says how to choose');
SELECT is((SELECT count(*) FROM cart_items), 4::bigint, 'G11 and nothing is changed');
SELECT throws_ok($$ SELECT retention.adopt_preset('inactive_carts') $$, '42P08', NULL, 'adopt_preset refuses it too');
SELECT throws_ok($$ SELECT retention.adopt_preset('inactive_carts', path => ARRAY['item_cart']) $$, '42704', NULL, 'a path that ends early is refused');
SELECT throws_ok($$ SELECT retention.adopt_preset('inactive_carts', path => ARRAY[NULL::name]) $$, '22004', NULL, 'a path of NULL is refused');
SELECT retention.adopt_preset('inactive_carts', path => ARRAY['item_cart', 'cart''s user']) \gset
BEGIN;
SELECT cleanup_inactive_carts() AS did \gset
SELECT set_eq('SELECT id FROM cart_items', ARRAY[2, 4], 'the chosen path decides');
ROLLBACK;
SELECT retention.remove_policy('inactive_carts') \gset
SELECT retention.adopt_preset('inactive_carts', path => ARRAY['item_adder']) \gset
SELECT cleanup_inactive_carts() AS did \gset
SELECT set_eq('SELECT id FROM cart_items', ARRAY[1, 4], 'and so does the other');
SELECT retention.remove_policy('inactive_carts') \gset

-- ---- What is missing ----

CREATE SCHEMA missing; SET search_path = missing, shapes, public;
SELECT cleanup_inactive_carts() AS did \gset
SELECT is(:'did'::jsonb ->> 'sqlstate', '42P01', 'G11 a missing table is an error');
SELECT ok(:'did'::jsonb ->> 'hint' LIKE '%adopt_preset%', 'whose hint names adopt_preset');
SELECT throws_ok('SELECT get_inactive_carts_preview()', '42P01', NULL, 'the preview says the same');
CREATE TABLE users (id int PRIMARY KEY, seen timestamp);
CREATE TABLE carts (id int PRIMARY KEY, user_id int);
CREATE TABLE cart_items (id int PRIMARY KEY, cart_id int REFERENCES carts);
SELECT cleanup_inactive_carts() AS did \gset
SELECT is(:'did'::jsonb ->> 'sqlstate', '42703', 'G11 a missing column is an error');
SELECT ok(:'did'::jsonb ->> 'message' LIKE '%"last_active"%missing.users%' AND :'did'::jsonb ->> 'hint' LIKE '%adopt_preset%', 'that names it, with a hint of adopt_preset');
SELECT throws_ok($$ SELECT retention.adopt_preset('inactive_carts', time_column => 'nothing') $$, '42703', NULL, 'adopt_preset refuses a column that is not there');
ALTER TABLE users RENAME seen TO last_active;
SELECT is(cleanup_inactive_carts() ->> 'sqlstate', '42704', 'G11 no path to the users is an error');
CREATE VIEW items_view AS TABLE cart_items;
SELECT throws_ok($$ SELECT retention.adopt_preset('old_cart_items', target => 'items_view', time_column => 'id') $$, '0A000', NULL, 'G12 a view is refused by name');
SELECT throws_ok($$ SELECT retention.adopt_preset('old_cart_items', target => 'pg_catalog.pg_class', time_column => 'relname') $$, '0A000', NULL, 'G12 a system catalog is refused');
SELECT is((SELECT count(*) FROM retention.policies), 0::bigint, 'G11 nothing of all that was stored');

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA shapes, big, small, uuids, texts, composite, parted, parted_sessions, keyless, inherited, times, paths, missing CASCADE;
DROP EXTENSION pg_retention;
