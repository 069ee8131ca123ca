-- The shop in one table, by plain SQL that knows nothing of pg_retention.
SELECT count(*) AS users,
       count(*) FILTER (WHERE inactive) AS "inactive (> 90 days)",
       count(*) FILTER (WHERE NOT inactive) AS active,
       count(*) FILTER (WHERE inactive IS NULL) AS unknown,
       sum(carts) AS carts,
       sum(items) AS items,
       sum(items) FILTER (WHERE inactive) AS "items that must go",
       max(items) AS "largest cart"
FROM (SELECT u.last_active < (now() AT TIME ZONE 'UTC') - interval '90 days' AS inactive,
             count(DISTINCT c.id) AS carts, count(i.id) AS items
      FROM users u LEFT JOIN carts c ON c.user_id = u.id LEFT JOIN cart_items i ON i.cart_id = c.id
      GROUP BY u.id) AS each_user
