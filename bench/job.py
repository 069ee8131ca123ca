"""The measured process: one way does one rule's job in one database.

It connects, prints its backends' numbers, waits for a line, does the job and prints {"seconds", "rows"}; rows is null where a way
does not say how many. The job's time begins with the connection made and everything imported.
"""
import importlib
import json
import sys
import time

import psycopg2


def connect(database):
    connection = psycopg2.connect(dbname=database)
    connection.autocommit = True
    return connection


class Statement:
    """A job that is one statement, or several in one transaction; the rows are what the server says of them."""

    def __init__(self, database, *statements, says_rows=True):
        self.connection = connect(database)
        self.connection.autocommit = len(statements) == 1
        self.backends = [self.connection.get_backend_pid()]
        self.statements, self.says_rows = statements, says_rows

    def run(self):
        rows = 0
        with self.connection.cursor() as cursor:
            for statement in self.statements:
                cursor.execute(statement)
                rows += cursor.rowcount
        if not self.connection.autocommit:
            self.connection.commit()
        return rows if self.says_rows else None


class Value(Statement):
    """A statement whose one value is the number of rows."""

    def run(self):
        with self.connection.cursor() as cursor:
            cursor.execute(self.statements[0])
            return cursor.fetchone()[0]


def main():
    rule, way, database = sys.argv[1:4]
    job = importlib.import_module(f"ways.{way}").prepare(importlib.import_module(f"rules.{rule}").RULE, database)
    print(json.dumps(job.backends), flush=True)
    sys.stdin.readline()
    try:
        started = time.monotonic()
        rows = job.run()
        answer = {"seconds": time.monotonic() - started, "rows": rows}
        # What a job did may be in its database, not in its answer: it is asked for when the clock has stopped.
        if hasattr(job, "report"):
            answer.update(job.report())
    except psycopg2.Error as error:
        answer = {"error": str(error).strip().splitlines()[0]}
    print(json.dumps(answer), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
