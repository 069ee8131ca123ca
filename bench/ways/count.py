"""SELECT count(*) of the victims."""
from job import Value

TITLE = "SELECT count(*)"
CHANGES = False


def prepare(rule, database):
    return Value(database, f"SELECT count(*) FROM {rule.rows} WHERE {rule.expired}")
