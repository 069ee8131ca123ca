-- A shop of any size: psql -v users=20000 -v items=200000 -f shop.sql
--
-- Half of the users have been away for more than 90 days, 4 in 100 have no known last activity, 8 in 100 have no cart and
-- 10 in 100 carts are empty; most carts hold a few items, a few hold thousands (the share of the largest x of the carts is
-- the cube root of x). The same sizes give the same shop, relative to the present. Times are naive and in UTC.

CREATE TABLE users (
    id            serial PRIMARY KEY,
    username      text NOT NULL UNIQUE,
    registered_at timestamp NOT NULL,
    last_active   timestamp                     -- NULL: unknown
);
CREATE TABLE carts (
    id      serial PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users (id)
);
CREATE TABLE cart_items (
    id         serial PRIMARY KEY,
    cart_id    integer NOT NULL REFERENCES carts (id),
    product_id integer NOT NULL,
    quantity   integer NOT NULL CHECK (quantity > 0),
    note       text,
    created_at timestamp NOT NULL
);

BEGIN;
SELECT setseed(0.25) \g /dev/null

-- Nobody is within a day of the 90 days, so that a count made now holds some minutes later.
INSERT INTO users (username, registered_at, last_active)
SELECT 'user' || n, seen - random() * interval '900 days', CASE WHEN kind >= 0.04 THEN seen END
FROM (SELECT n, kind, (now() AT TIME ZONE 'UTC') - CASE WHEN kind < 0.52 THEN interval '91 days' + random() ^ 2 * interval '700 days'
                                                        ELSE random() ^ 2 * interval '89 days' END AS seen
      FROM (SELECT n, random() AS kind FROM generate_series(1, :users) AS n) AS drawn) AS dated;

INSERT INTO carts (user_id)
SELECT id FROM users WHERE random() < 0.92 ORDER BY id;

-- Items lie in the table in the order in which they were put into the carts.
INSERT INTO cart_items (cart_id, product_id, quantity, note, created_at)
WITH filled AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY random()) - 1 AS place, carts.id AS cart_id, registered_at,
           coalesce(last_active, now() AT TIME ZONE 'UTC') - registered_at AS span
    FROM carts JOIN users ON users.id = user_id
    WHERE random() < 0.9
), drawn AS MATERIALIZED (
    SELECT floor(random() ^ 3 * (SELECT count(*) FROM filled))::bigint AS place, random() AS moment,
           1 + floor(random() * 5000)::int AS product_id, 1 + floor(random() ^ 3 * 9)::int AS quantity, random() < 0.1 AS gift
    FROM generate_series(1, :items)
)
SELECT cart_id, product_id, quantity, CASE WHEN gift THEN 'gift' END, registered_at + moment * span AS created_at
FROM drawn JOIN filled USING (place)
ORDER BY created_at;
COMMIT;

VACUUM (ANALYZE) users, carts, cart_items;
