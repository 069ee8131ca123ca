"""The statement that one would write by hand, or the statements, in one transaction."""
from job import Statement

TITLE = None                    # the rule has the better name for it


def prepare(rule, database):
    return Statement(database, *rule.plain)
