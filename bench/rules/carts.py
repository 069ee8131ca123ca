"""The items in the carts of users who have been inactive for more than 90 days, two foreign keys away."""
from rule import Rule

INACTIVE = "users.last_active < (now() AT TIME ZONE 'UTC') - interval '90 days'"

RULE = Rule(
    policy="inactive_carts",
    target="cart_items",
    key="id",
    key_type="integer",
    rows="cart_items AS t JOIN carts ON carts.id = t.cart_id JOIN users ON users.id = carts.user_id",
    expired=INACTIVE,
    change="DELETE FROM cart_items",
    plain=(f"DELETE FROM cart_items USING carts, users WHERE carts.id = cart_items.cart_id AND users.id = carts.user_id AND {INACTIVE}",),
    plain_title="one DELETE ... USING",
    victims={
        "cart_items": f"EXISTS (SELECT FROM carts JOIN users ON users.id = carts.user_id WHERE carts.id = t.cart_id AND {INACTIVE})",
        "carts": None,
        "users": None,
    },
    orm="shop",
)
