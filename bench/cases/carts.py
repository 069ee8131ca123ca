"""The items in the carts of inactive users, found through two foreign keys without an index."""
import os
import subprocess

NAME = "carts"
KEPT = "users and carts"
SHOP = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "demo", "shop.sql")

# What must go, and what a run may and may not change; plain SQL that knows nothing of the ways.
EXPECTED = """
    SELECT count(*) FROM cart_items
    WHERE cart_id IN (SELECT carts.id FROM carts JOIN users ON users.id = carts.user_id
                      WHERE users.last_active < (now() AT TIME ZONE 'UTC') - interval '90 days')"""
STATE = """
    SELECT jsonb_build_object('rows', (SELECT count(*) FROM cart_items),
        'kept', jsonb_build_array((SELECT count(*) FROM users), (SELECT sum(hashtextextended(users::text, 0)) FROM users),
                                  (SELECT count(*) FROM carts), (SELECT sum(hashtextextended(carts::text, 0)) FROM carts)))"""

# The job, as each kind of way says it.
FUNCTION = "SELECT (cleanup_inactive_carts() ->> 'deleted_items')::bigint"
ONE_DELETE = """
    DELETE FROM cart_items USING carts, users
    WHERE carts.id = cart_items.cart_id AND users.id = carts.user_id
      AND users.last_active < (now() AT TIME ZONE 'UTC') - interval '90 days'"""
ORM = "peers.orm_cleanup"


def describe(options):
    return f"{options.users:,} users, {options.items:,} items"


def load(database, options):
    psql = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database]
    subprocess.run(psql + ["-c", "CREATE EXTENSION pg_retention"], check=True)
    subprocess.run(psql + ["-v", f"users={options.users}", "-v", f"items={options.items}", "-f", SHOP], check=True)
