-- Cart items alone, in the order in which they came, the first half older than 91 days: psql -v items=4000000 -f items.sql
-- Nothing but the primary key is indexed.

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
SELECT setseed(0.25) \g /dev/null
INSERT INTO cart_items (cart_id, category_id, subcategory_id, quantity, tier_breakdown, created_at)
SELECT 1 + floor(random() * 200000)::int, 1 + floor(random() * 20)::int, 1 + floor(random() * 200)::int, 1 + floor(random() ^ 3 * 9)::int,
       CASE WHEN random() < 0.1 THEN '2x10 + 1x5' END,
       (now() AT TIME ZONE 'UTC') - (1 - n / :items::float8) * interval '178 days'
           - CASE WHEN n <= :items / 2 THEN interval '2 days' ELSE interval '0' END
FROM generate_series(1, :items) AS n;
COMMIT;
VACUUM (ANALYZE) cart_items;
