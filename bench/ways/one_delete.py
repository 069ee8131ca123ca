"""The single DELETE that one would write by hand."""
from statement import Job

NAME, TITLE = "one_delete", "one DELETE ... USING"


def prepare(case, database):
    return Job(database, case.ONE_DELETE, lambda cursor: cursor.rowcount)
