-- A shop: psql -v users=200000 -v items=4000000 -v expired=0.5 -v away='700 days' -v indexes=0 -v times_before=0 -f shop.sql
--
-- With `times_before`, it has been in business for so many times as long: as many times its users, carts and items come
-- before them, of customers who still come and never go. The shop after them is the same as without.
-- The share `expired` of the users has been away for more than 91 days, for up to `away` more; 4 in 100 of the others have no
-- known last activity; 95 in 100 have a cart. Items are put into carts in sittings of one to nine, at one instant each, and lie
-- in the table in the order in which they came; a few carts hold hundreds. The same sizes give the same shop, relative to the
-- present, and nobody is within a day of the 90 days, so that a count made now holds for hours. Times are naive and in UTC.

CREATE TABLE users (
    id                serial PRIMARY KEY,
    telegram_username varchar UNIQUE,
    telegram_id       integer NOT NULL UNIQUE,
    registered_at     timestamp DEFAULT now(),
    last_active       timestamp                     -- NULL: unknown
);
CREATE TABLE carts (
    id      serial PRIMARY KEY,
    user_id integer NOT NULL
);
CREATE TABLE cart_items (
    id             serial PRIMARY KEY,
    cart_id        integer NOT NULL,
    category_id    integer NOT NULL,
    subcategory_id integer NOT NULL,
    quantity       integer NOT NULL CONSTRAINT check_quantity_positive CHECK (quantity > 0),
    tier_breakdown text,
    created_at     timestamp DEFAULT now()
);

BEGIN;
SET LOCAL work_mem = '512MB';

INSERT INTO users (telegram_username, telegram_id, registered_at, last_active)
SELECT 'elder' || n, 500000000 + n, now() AT TIME ZONE 'UTC' - interval '2000 days', now() AT TIME ZONE 'UTC' - random() * interval '89 days'
FROM generate_series(1, :times_before * :users) AS n;
INSERT INTO carts (user_id)
SELECT id FROM users ORDER BY id;
INSERT INTO cart_items (cart_id, category_id, subcategory_id, quantity, tier_breakdown, created_at)
SELECT 1 + floor(random() * :times_before * :users)::int, 1 + n % 20, 1 + n % 200, 1 + n % 9, CASE WHEN n % 10 = 0 THEN '2x10 + 1x5' END,
       now() AT TIME ZONE 'UTC' - interval '1900 days' + n / (:times_before * :items::float8) * interval '1000 days'
FROM generate_series(1, :times_before * :items) AS n;
SELECT setseed(0.25) \g /dev/null

INSERT INTO users (telegram_username, telegram_id, registered_at, last_active)
SELECT 'user' || n, 100000000 + n, seen - random() * interval '900 days', CASE WHEN NOT is_unknown THEN seen END
FROM (SELECT n, kind >= :expired AND random() < 0.04 AS is_unknown,
             (now() AT TIME ZONE 'UTC') - CASE WHEN kind < :expired THEN interval '91 days' + random() ^ 2 * :'away'::interval
                                               ELSE random() ^ 2 * interval '89 days' END AS seen
      FROM (SELECT n, random() AS kind FROM generate_series(1, :users) AS n) AS drawn) AS dated;

INSERT INTO carts (user_id)
SELECT id FROM users WHERE telegram_id < 500000000 AND random() < 0.95 ORDER BY id;

INSERT INTO cart_items (cart_id, category_id, subcategory_id, quantity, tier_breakdown, created_at)
WITH cart AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY random()) - 1 AS place, carts.id, registered_at,
           coalesce(last_active, now() AT TIME ZONE 'UTC') - registered_at AS span
    FROM carts JOIN users ON users.id = user_id AND telegram_id < 500000000
), sitting AS MATERIALIZED (
    SELECT cart.id AS cart_id, registered_at + moment * span AS at, size
    FROM (SELECT floor(random() ^ 1.5 * (SELECT count(*) FROM cart))::bigint AS place, random() AS moment, 1 + n % 9 AS size
          FROM generate_series(1, :items / 5) AS n) AS drawn JOIN cart USING (place)
    ORDER BY at
)
SELECT cart_id, 1 + floor(random() * 20)::int, 1 + floor(random() * 200)::int, 1 + floor(random() ^ 3 * 9)::int,
       CASE WHEN random() < 0.1 THEN '2x10 + 1x5' END, at
FROM sitting, generate_series(1, size);

ALTER TABLE carts ADD FOREIGN KEY (user_id) REFERENCES users;
ALTER TABLE cart_items ADD FOREIGN KEY (cart_id) REFERENCES carts;
COMMIT;

\if :indexes
CREATE INDEX ON users (last_active);
CREATE INDEX ON carts (user_id);
CREATE INDEX ON cart_items (cart_id);
\endif
VACUUM (ANALYZE) users, carts, cart_items;
