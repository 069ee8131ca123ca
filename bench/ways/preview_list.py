"""pg_retention: the application's preview function, counts and a list."""
from job import Value

TITLE = "get_inactive_carts_preview()"
CHANGES = False


def prepare(rule, database):
    return Value(database, "SELECT (get_inactive_carts_preview() ->> 'deleted_items')::bigint")
