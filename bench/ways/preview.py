"""pg_retention: retention.preview, the counts, the oldest and newest instant, and sample keys."""
from job import Value

TITLE = "retention.preview"
CHANGES = False


def prepare(rule, database):
    return Value(database, f"SELECT sum(expected_rows)::bigint FROM retention.preview('{rule.policy}')")
