-- The carts of inactive users: cleanup_inactive_carts, cleanup_old_cart_items, their previews and get_user_activity.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema shop
\set begin :test '/begin.psql'
\i :begin
SELECT plan(61);

CREATE TABLE users (
    id                serial PRIMARY KEY,
    telegram_username varchar UNIQUE,
    telegram_id       integer NOT NULL UNIQUE,
    registered_at     timestamp DEFAULT now(),
    last_active       timestamp
);
CREATE TABLE carts (
    id      serial PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users (id)
);
CREATE TABLE cart_items (
    id             serial PRIMARY KEY,
    cart_id        integer NOT NULL REFERENCES carts (id),
    category_id    integer NOT NULL,
    subcategory_id integer NOT NULL,
    quantity       integer NOT NULL CONSTRAINT check_quantity_positive CHECK (quantity > 0),
    tier_breakdown text,
    created_at     timestamp DEFAULT now()
);

-- A moment so many days ago, as the application writes it: naive UTC.
CREATE FUNCTION days_ago(days numeric) RETURNS timestamp LANGUAGE sql STABLE AS
    $$ SELECT timezone('UTC', now()) - days * interval '1 day' $$;

-- User, last activity, items in the cart (NULL: no cart).
CREATE FUNCTION fill() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE users, carts, cart_items RESTART IDENTITY;
    INSERT INTO users (telegram_id, last_active) VALUES
        (1, days_ago(1)), (2, days_ago(100)), (3, days_ago(200)), (4, days_ago(300)),
        (5, NULL), (6, '-infinity'), (7, 'infinity'), (8, days_ago(91)), (9, days_ago(89));
    INSERT INTO carts (user_id) SELECT id FROM users WHERE id <> 4;
    INSERT INTO carts (user_id) VALUES (8);
    INSERT INTO cart_items (cart_id, category_id, subcategory_id, quantity, created_at)
        SELECT c.id, 1, 1, 1, '2020-01-01' FROM carts c, generate_series(1, 2) WHERE c.user_id <> 3;
END $$;
SELECT fill() \gset

-- What an administrator would count by hand.
CREATE VIEW by_hand AS
    SELECT i.id FROM cart_items i JOIN carts c ON c.id = i.cart_id JOIN users u ON u.id = c.user_id
     WHERE u.last_active < days_ago(90) AND u.last_active > '-infinity';
CREATE TABLE carts_before AS TABLE carts;
CREATE TABLE users_before AS TABLE users;
CREATE TABLE staying AS SELECT * FROM cart_items WHERE id NOT IN (SELECT id FROM by_hand);
SELECT count(*) AS expected FROM by_hand \gset

-- Looking first.
SELECT get_inactive_carts_preview() AS seen \gset
SELECT is((SELECT count(*) FROM cart_items), 16::bigint, 'the preview changes nothing');
SELECT is((:'seen'::jsonb ->> 'deleted_items')::bigint, :expected::bigint, 'G9 the preview counts what plain SQL counts');
SELECT is(:'seen'::jsonb ->> 'affected_carts', '3', 'the preview counts the carts');
SELECT is(:'seen'::jsonb ->> 'inactive_users', '4', 'the preview counts the inactive users');
SELECT is(jsonb_path_query_array(:'seen', '$.inactive_carts[*].cart_id'), '[2, 7, 9]', 'the preview lists the carts, longest inactive first');
SELECT is(jsonb_path_query_array(:'seen', '$.inactive_carts[*].items'), '[2, 2, 2]', 'the preview lists the items of each cart');
SELECT is(jsonb_path_query_array(:'seen', '$.inactive_carts[*].user_id'), '[2, 8, 8]', 'the preview lists the user of each cart');
BEGIN READ ONLY;
SELECT get_inactive_carts_preview() ->> 'deleted_items' AS in_read_only \gset
COMMIT;
SELECT is(:'in_read_only'::text, '6', 'the preview works in a READ ONLY transaction');

-- The run.
BEGIN;
SELECT cleanup_inactive_carts() AS did, now() - interval '90 days' AS cutoff \gset
SELECT is((:'did'::jsonb ->> 'cutoff_time')::timestamptz, (timezone('UTC', now()) - interval '90 days') AT TIME ZONE 'UTC', 'the cutoff is 90 days before now');
COMMIT;
SELECT ok((:'did'::jsonb -> 'success')::boolean, 'the run says success');
SELECT is(:'did'::jsonb ->> 'message', 'Deleted 6 cart items from 4 inactive users', 'the message tells items and users');
SELECT ok(:'did'::jsonb ?& '{success,message,deleted_items,affected_carts,inactive_users,cutoff_time}', 'the dictionary has the keys of the paper');
SELECT is((:'did'::jsonb ->> 'deleted_items')::bigint, :expected::bigint, 'an independent count equals deleted_items');
SELECT is(:'did'::jsonb ->> 'affected_carts', '3', 'affected_carts counts the carts that lost items');
SELECT is(:'did'::jsonb ->> 'inactive_users', '4', 'inactive_users counts users without cart and with an empty cart too');
SELECT is(:'did'::jsonb ->> 'deleted_items', :'seen'::jsonb ->> 'deleted_items', 'G9 the run does what the preview said');
SELECT set_eq('TABLE carts', 'TABLE carts_before', 'G2 carts stay');
SELECT set_eq('TABLE users', 'TABLE users_before', 'G2 users stay');
SELECT set_eq('TABLE cart_items', 'TABLE staying', 'G1 exactly the other items stay');
SELECT is((SELECT count(*) FROM cart_items WHERE cart_id IN (SELECT id FROM carts WHERE user_id IN (1, 9))), 4::bigint, 'recently active users keep everything');
SELECT is((SELECT count(*) FROM cart_items WHERE cart_id IN (SELECT id FROM carts WHERE user_id = 5)), 2::bigint, 'an unknown last_active is not inactive');
SELECT is((SELECT count(*) FROM cart_items WHERE cart_id IN (SELECT id FROM carts WHERE user_id = 6)), 2::bigint, '-infinity is no time of activity and keeps the cart');
SELECT is((SELECT count(*) FROM cart_items WHERE cart_id IN (SELECT id FROM carts WHERE user_id = 7)), 2::bigint, 'infinity keeps the cart');

-- Nothing to do.
SELECT cleanup_inactive_carts() AS did \gset
SELECT is(:'did'::jsonb ->> 'message', 'No cart items from inactive users', 'inactive users without items are told as such');
SELECT ok((:'did'::jsonb -> 'success')::boolean, 'nothing to do is a success');
SELECT is(:'did'::jsonb - '{success,message,cutoff_time,stop_reason}'::text[],
          '{"deleted_items": 0, "affected_carts": 0, "inactive_users": 4, "skipped": 0}', 'with counts of zero');
SELECT is(cleanup_inactive_carts(1000) ->> 'message', 'No inactive users (> 1000 days)', 'no inactive users are told with the days of the argument');
UPDATE users SET last_active = days_ago(1) WHERE last_active < days_ago(50);
SELECT is(cleanup_inactive_carts() ->> 'message', 'No inactive users (> 90 days)', 'no inactive users are told with the days of the policy');
SELECT is(cleanup_inactive_carts() ->> 'inactive_users', '0', 'and counted as zero');
SELECT is(get_inactive_carts_preview() -> 'inactive_carts', '[]', 'the preview of nothing is an empty list');

-- Arguments.
SELECT fill() \gset
SELECT is(cleanup_inactive_carts(150) ->> 'inactive_users', '2', 'the argument is a number of days');
SELECT is(cleanup_inactive_carts(80) ->> 'deleted_items', '8', 'a smaller argument reaches more users');
SELECT fill() \gset
SELECT is(cleanup_inactive_carts(NULL) ->> 'deleted_items', '6', 'NULL means the policy''s own 90 days');
SELECT fill() \gset
SELECT is(cleanup_inactive_user_carts() - '{cutoff_time}'::text[],
          '{"success": true, "message": "Deleted 6 cart items from 4 inactive users", "deleted_items": 6, "affected_carts": 3, "inactive_users": 4, "skipped": 0, "stop_reason": "done"}',
          'cleanup_inactive_user_carts is the same function');
SELECT fill() \gset
SELECT is(cleanup_inactive_user_carts(inactive_days => 250) ->> 'message', 'No cart items from inactive users', 'the argument has the name of the setting');

-- The boundary is strict: in one transaction now() stands still.
BEGIN;
SELECT fill() \gset
UPDATE users SET last_active = days_ago(90) WHERE id = 2;
UPDATE users SET last_active = days_ago(90) - interval '1 microsecond' WHERE id = 8;
SELECT cleanup_inactive_carts() AS did \gset
SELECT is((SELECT count(*) FROM cart_items WHERE cart_id = 2), 2::bigint, 'G1 active exactly at the cutoff is not inactive');
SELECT is((SELECT count(*) FROM cart_items WHERE cart_id IN (7, 9)), 0::bigint, 'a microsecond earlier is');
SELECT is(:'did'::jsonb ->> 'inactive_users', '3', 'and the count of users has the same boundary');
ROLLBACK;

-- Both hands.
SELECT fill() \gset
SET retention.direct = off;
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '6', 'the SQL hand deletes the same number');
RESET retention.direct;
SELECT set_eq('TABLE cart_items', 'TABLE staying', 'and leaves the same items');
CREATE FUNCTION untouchable() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF old.quantity = 7 THEN RETURN NULL; END IF; RETURN old; END $$;
CREATE TRIGGER untouchable BEFORE DELETE ON cart_items FOR EACH ROW EXECUTE FUNCTION untouchable();
SELECT fill() \gset
UPDATE cart_items SET quantity = 7 WHERE id = (SELECT min(id) FROM by_hand);
SELECT cleanup_inactive_carts() AS did \gset
SELECT is((:'did'::jsonb ->> 'deleted_items')::int, 5, 'a trigger that keeps a row keeps it: the others go');
SELECT is((:'did'::jsonb ->> 'skipped')::int, 1, 'and the kept row is counted as skipped');
SELECT is(:'did'::jsonb ->> 'message', 'Deleted 5 cart items from 4 inactive users; skipped 1 (1 blocked)', 'and told');
DROP TRIGGER untouchable ON cart_items;

-- Who is active.
SELECT fill() \gset
SELECT results_eq('SELECT user_id, status, days_inactive, cart_items FROM get_user_activity() WHERE user_id <> ''6'' ORDER BY user_id',
    $$ VALUES ('1', 'active', 1, 2::bigint), ('2', 'inactive', 100, 2), ('3', 'inactive', 200, 0), ('4', 'inactive', 300, 0),
              ('5', 'unknown', NULL, 2), ('7', 'active', NULL, 2), ('8', 'inactive', 91, 4), ('9', 'active', 89, 2) $$,
    'get_user_activity tells every user: status, days and items');
SELECT is((SELECT last_active FROM get_user_activity() WHERE user_id = '2'), (SELECT last_active AT TIME ZONE 'UTC' FROM users WHERE id = 2),
    'get_user_activity reads naive times in the policy''s zone');

-- The alternative rule: the age of the item itself.
UPDATE cart_items SET created_at = days_ago(10) WHERE id > 6;
UPDATE cart_items SET created_at = NULL WHERE id = 1;
UPDATE cart_items SET created_at = '-infinity' WHERE id = 2;
SELECT get_old_cart_items_preview() AS seen \gset
SELECT is(:'seen'::jsonb ->> 'deleted_items', '4', 'the preview of old items counts them');
SELECT is(jsonb_path_query_array(:'seen', '$.old_cart_items[*].id'), '[3, 4, 5, 6]', 'and lists them');
BEGIN READ ONLY;
SELECT get_old_cart_items_preview() ->> 'deleted_items' AS in_read_only \gset
COMMIT;
SELECT is(:'in_read_only'::text, '4', 'the preview of old items works in a READ ONLY transaction');
SELECT cleanup_old_cart_items() AS did \gset
SELECT is(:'did'::jsonb - '{cutoff_time}'::text[],
          '{"success": true, "message": "Deleted 4 cart items older than 90 days", "deleted_items": 4, "skipped": 0, "stop_reason": "done"}',
          'old items go whoever they belong to');
SELECT ok(:'did'::jsonb ? 'cutoff_time', 'the dictionary of old items has the cutoff');
SELECT is((SELECT count(*) FROM cart_items WHERE id IN (1, 2)), 2::bigint, 'items of unknown age stay');
SELECT is(cleanup_old_cart_items() ->> 'message', 'No cart items older than 90 days', 'nothing old says so');
SELECT is(cleanup_old_cart_items(5) ->> 'deleted_items', '10', 'the age of items is an argument in days');
SELECT set_eq('TABLE carts', 'TABLE carts_before', 'G2 carts stay under the rule of age too');
BEGIN;
UPDATE cart_items SET created_at = days_ago(90) WHERE id = 1;
UPDATE cart_items SET created_at = days_ago(90) - interval '1 microsecond' WHERE id = 2;
SELECT cleanup_old_cart_items() AS did \gset
SELECT results_eq('SELECT id FROM cart_items', 'SELECT 1', 'G1 an item exactly at the cutoff stays, a microsecond older goes');
ROLLBACK;

-- Many rows, chosen by a walk over the whole table, and few, by the index.
TRUNCATE users, carts, cart_items RESTART IDENTITY;
INSERT INTO users (telegram_id, last_active) SELECT n, CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN days_ago(n) ELSE days_ago(n % 90) END FROM generate_series(1, 2000) n;
INSERT INTO carts (user_id) SELECT id FROM users;
INSERT INTO cart_items (cart_id, category_id, subcategory_id, quantity) SELECT n % 2000 + 1, 1, 1, 1 FROM generate_series(1, 20000) n;
ANALYZE;
CREATE TABLE staying_of_many AS SELECT * FROM cart_items WHERE id NOT IN (SELECT id FROM by_hand);
SELECT count(*) AS expected FROM by_hand \gset
SELECT is((cleanup_inactive_carts() ->> 'deleted_items')::int, :expected, 'of many items an independent count equals deleted_items');
SELECT set_eq('TABLE cart_items', 'TABLE staying_of_many', 'and exactly the others stay');
SELECT is((SELECT count(*) FROM carts), 2000::bigint, 'and every cart');
CREATE INDEX ON cart_items (cart_id);
UPDATE users SET last_active = days_ago(100) WHERE id = 2;
ANALYZE;
SELECT is(cleanup_inactive_carts() ->> 'deleted_items', '10', 'a single user''s items are found through the index');
SELECT is((SELECT count(*) FROM staying_of_many) - (SELECT count(*) FROM cart_items), 10::bigint, 'and only they go');

BEGIN;
UPDATE users SET last_active = days_ago(100) WHERE id = 3;
SELECT cleanup_inactive_carts() ->> 'deleted_items' AS deleted \gset
ROLLBACK;
SELECT is((SELECT count(*) FROM cart_items WHERE cart_id = 3), 10::bigint, 'a run that its caller rolls back has done nothing');

SELECT * FROM finish();
DROP SCHEMA shop CASCADE;
DROP EXTENSION pg_retention;
