"""The extension's function, as an application calls it."""
from statement import Job

NAME, TITLE = "ours", "pg_retention"


def prepare(case, database):
    return Job(database, case.FUNCTION, lambda cursor: cursor.fetchone()[0])
