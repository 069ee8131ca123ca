-- A shop at work: a customer's page, a cart, an item; half of the time something is put into the cart, and one time in five the
-- customer's last activity is noted. Items of this load have category 0.
\set user random(1, :users)
\set cart random(1, :carts)
\set item random(1, :items)
\set dice random(1, 10)
SELECT telegram_username, last_active FROM users WHERE id = :user;
SELECT carts.id, telegram_username FROM carts JOIN users ON users.id = carts.user_id WHERE carts.id = :cart;
SELECT quantity, created_at FROM cart_items WHERE id = :item;
\if :dice <= 5
INSERT INTO cart_items (cart_id, category_id, subcategory_id, quantity, created_at) VALUES (:cart, 0, 1, 1, now() AT TIME ZONE 'UTC');
\endif
\if :dice <= 2
UPDATE users SET last_active = now() AT TIME ZONE 'UTC' WHERE id = :user;
\endif
