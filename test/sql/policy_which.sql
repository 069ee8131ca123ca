-- Which rows: conditions, several policies on one table, and the newest that stay whatever their age.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_which
\set begin :test '/begin.psql'
\i :begin
SET timezone = 'UTC';
SELECT plan(29);

\i :functions

-- ---- Conditions ----

CREATE TABLE users (id int PRIMARY KEY, seen timestamptz, plan text);
CREATE TABLE carts (id int PRIMARY KEY, user_id int REFERENCES users, seen timestamptz, note text);
CREATE TABLE items (id int PRIMARY KEY, cart_id int REFERENCES carts);
CREATE TABLE saved (cart_id int);
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE users, carts, items, saved;
    INSERT INTO users VALUES (1, ago(100), 'free'), (2, ago(100), 'paid'), (3, ago(1), 'free');
    INSERT INTO carts VALUES (1, 1, ago(100), 'gift'), (2, 2, ago(100), NULL), (3, 3, ago(100), ''), (4, NULL, ago(100), 'x'), (5, NULL, ago(40), 'x'), (6, NULL, ago(20), 'x'), (7, 3, ago(40), 'x'), (8, 3, ago(2), 'x');
    INSERT INTO items SELECT id, id FROM carts WHERE id NOT IN (3, 8);
    INSERT INTO saved VALUES (2); $$;
-- A policy of 90 days on carts with a condition: what is left.
CREATE FUNCTION with_condition(condition text, options text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    did text;
BEGIN
    PERFORM fill();
    EXECUTE format('SELECT retention.add_policy(''p'', ''carts'', ''90 days'', ''seen'', dependents => ''cascade'', condition => %L %s)', condition, options);
    did := run('p');
    PERFORM retention.remove_policy('p');
    RETURN ids('carts');
END $$;
SELECT is(with_condition('target.user_id IS NULL'), '1 2 3 5 6 7 8', 'a condition narrows the victims');
SELECT is(with_condition($$ target.note = 'gift' $$), '2 3 4 5 6 7 8', 'a condition that is NULL keeps the row');
SELECT is(with_condition($$ target.note = 'gift' OR true $$), '5 6 7 8', 'a condition with OR stays one condition');
SELECT is(with_condition($$ subject.plan = 'free' $$, $$, subject => 'users' $$), '2 3 4 5 6 7 8', 'it may speak of the subject');
SELECT is(with_condition($$ subject.plan = 'free' AND target.note <> '' $$, $$, subject => 'users' $$), '2 3 4 5 6 7 8', 'and of both');
SELECT is(with_condition($$ subject.note = 'gift' $$), '2 3 4 5 6 7 8', 'where there is no other subject, it is the target''s own row');
SELECT is(with_condition('NOT EXISTS (SELECT FROM policy_which.items i WHERE i.cart_id = target.id)'), '1 2 4 5 6 7 8', 'it may hold a sub-query');
SELECT is(with_condition('target.id NOT IN (SELECT cart_id FROM saved)'), '2 5 6 7 8', 'whose tables are found on the search_path of the one who says it');
SELECT is(with_condition('(SELECT count(*) FROM items i JOIN carts c ON c.id = i.cart_id WHERE c.user_id = target.user_id) = 1'), '4 5 6 7 8', 'a sub-query may be any, over the target itself too');
SELECT is(with_condition($$ target.id = 1 AND target.note <> '$1 -- '' /* ' -- a comment $$), '2 3 4 5 6 7 8', 'quotes, dollars and comments are read as SQL reads them');
SELECT is(with_condition('target.id IN (1, 2) AND random() >= 0'), '3 4 5 6 7 8', 'a volatile function is allowed');
SET search_path = policy_which, public;
SELECT fill() \gset
SELECT retention.add_policy('p', 'carts', '90 days', 'seen', dependents => 'cascade', condition => 'target.id NOT IN (SELECT cart_id FROM saved)') \gset
SET search_path = public;
SET search_path = public;
SELECT is((retention.apply('p')).affected, 3::bigint, 'names in a condition mean later what they meant when it was said');
SET search_path = policy_which, public;
SELECT retention.remove_policy('p') \gset

-- ---- Several policies ----

SELECT fill() \gset
SELECT retention.add_policy('anonymous', 'carts', '30 days', 'seen', dependents => 'cascade', condition => 'target.user_id IS NULL') \gset
SELECT retention.add_policy('of_users', 'carts', '90 days', 'seen', dependents => 'cascade', condition => 'target.user_id IS NOT NULL') \gset
SELECT retention.add_policy('empty', 'carts', '6 hours', 'seen', condition => 'NOT EXISTS (SELECT FROM items i WHERE i.cart_id = target.id)') \gset
SELECT is(run('anonymous') || ': ' || ids('carts'), '2 {"policy_which.items": 2}: 1 2 3 6 7 8', '30 days for anonymous carts');
SELECT is(run('of_users') || ': ' || ids('carts'), '3 {"policy_which.items": 2}: 6 7 8', '90 days for those of users');
SELECT is(run('empty') || ': ' || ids('carts'), '1: 6 7', '6 hours for empty ones');
SELECT is(ids('items'), '6 7', 'G3 the items of the carts that went are gone, the others not');
SELECT retention.remove_policy(name) FROM retention.policies WHERE name = 'empty' \gset

-- ---- The newest stay ----

CREATE TABLE versions (id int PRIMARY KEY, doc text, lang text, at timestamptz, good boolean DEFAULT true);
CREATE FUNCTION versions() RETURNS void LANGUAGE sql AS $$
    TRUNCATE versions;
    INSERT INTO versions (id, doc, lang, at) SELECT 10 + n, 'a', 'de', ago(200 - n) FROM generate_series(1, 5) n;
    INSERT INTO versions (id, doc, lang, at) SELECT 20 + n, 'b', 'de', ago(200 - n) FROM generate_series(1, 2) n;
    INSERT INTO versions (id, doc, lang, at) SELECT 30 + n, 'a', 'en', ago(4 - n) FROM generate_series(1, 3) n;
    INSERT INTO versions (id, doc, lang, at) VALUES (40, 'c', 'de', NULL), (41, NULL, 'de', ago(200)), (42, NULL, 'de', ago(201)); $$;
CREATE FUNCTION keeping(options text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    did text;
    survivors text[];
    direct text;
BEGIN
    FOREACH direct IN ARRAY '{on,off}'::text[] LOOP
        PERFORM versions(), set_config('retention.direct', direct, false);
        EXECUTE format('SELECT retention.add_policy(''p'', ''versions'', ''90 days'', ''at'', %s)', options);
        did := run('p');
        PERFORM retention.remove_policy('p');
        survivors := survivors || ids('versions');
    END LOOP;
    RESET retention.direct;
    IF survivors[1] <> survivors[2] THEN RAISE 'the hands differ: %', survivors; END IF;
    RETURN survivors[1];
END $$;
SELECT is(keeping('keep_latest => 2'), '31 32 33 40', 'keep_latest: the newest two of the table stay, which here are young anyway');
SELECT is(keeping('keep_latest => 5'), '14 15 31 32 33 40', 'the newest five stay whatever their age');
SELECT is(keeping('keep_latest => 2, keep_per => ''{doc}'''), '21 22 31 32 33 40 41 42', 'per group: two of each doc; NULLs are a group');
SELECT is(keeping('keep_latest => 2, keep_per => ''{doc,lang}'''), '14 15 21 22 31 32 33 40 41 42', 'a group may have several columns');
SELECT is(keeping('keep_latest => 1, keep_per => ''{doc,lang}'''), '15 22 31 32 33 40 41', 'the newest one of each');
SELECT is(keeping('keep_latest => 1000'), '11 12 13 14 15 21 22 31 32 33 40 41 42', 'more than there are keeps all');
SELECT is(keeping($$ keep_latest => 1, keep_per => '{doc,lang}', condition => 'target.id <> 15' $$), '14 15 22 31 32 33 40 41', 'the newest are those that the condition chooses from');
CREATE TABLE same (id int, at timestamptz);
INSERT INTO same SELECT n, '2020-01-01' FROM generate_series(1, 5) n;
SELECT retention.add_policy('same', 'same', '90 days', 'at', keep_latest => 2) \gset
SELECT is(run('same'), '3', 'of rows of one instant exactly as many stay');
SELECT is(run('same'), '0', 'and stay the next time');
SELECT retention.remove_policy('same') \gset
SELECT retention.add_policy('same', 'same', keep_latest => 1, expiry_expression => $$ target.at + interval '1 day' $$) \gset
SELECT is(run('same'), '1', 'keep_latest goes by an expiry_expression too');
SELECT retention.remove_policy('same') \gset
SELECT throws_ok($$ SELECT retention.add_policy('same', 'same', '90 days', 'at', keep_per => '{id}') $$, '22023', 'keep_per needs keep_latest', 'G11 keep_per alone is an error');
SELECT throws_ok($$ SELECT retention.add_policy('same', 'same', '90 days', 'at', keep_latest => 0) $$, '22023', 'keep_latest must be greater than zero', 'G11 keep_latest 0 is an error');
SELECT throws_ok($$ SELECT retention.add_policy('same', 'same', '90 days', 'at', keep_latest => 1, keep_per => '{nobody}') $$, '42703', NULL, 'G11 a group of a column that does not exist is an error');

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA policy_which CASCADE;
DROP EXTENSION pg_retention;
