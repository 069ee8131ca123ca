"""What get_inactive_carts_preview() shows, by hand: how many items and carts, and the first carts."""
from job import Value

TITLE = "SELECT count(*), and the list"
CHANGES = False


def prepare(rule, database):
    source = f"FROM {rule.rows} WHERE {rule.expired}"
    carts = f"SELECT users.id, carts.id, last_active, count(*) AS items {source} GROUP BY users.id, carts.id ORDER BY last_active, carts.id"
    return Value(database, f"SELECT n, (SELECT count(*) FROM ({carts} LIMIT 1000) AS list), (SELECT count(DISTINCT carts.id) {source}) FROM (SELECT count(*) AS n {source}) AS counted")
