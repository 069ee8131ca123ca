"""Cart items older than 90 days: one table, its own column."""
from rule import Rule

OLD = "created_at < (now() AT TIME ZONE 'UTC') - interval '90 days'"

RULE = Rule(
    policy="old_cart_items",
    target="cart_items",
    key="id",
    key_type="integer",
    rows="cart_items AS t",
    expired=f"t.{OLD}",
    change="DELETE FROM cart_items",
    plain=(f"DELETE FROM cart_items WHERE {OLD}",),
    plain_title="one DELETE",
    victims={"cart_items": f"coalesce(t.{OLD}, false)"},
    time_column="created_at",
    orm="items",
)
