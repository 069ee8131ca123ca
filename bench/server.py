"""The private server: template databases, fresh copies of them, and questions to them. Who connects where is in PGHOST and PGPORT."""
import os
import subprocess

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
RUN = "bench_run"


def program(name):
    """A program of the server's own version."""
    return os.path.join(os.environ.get("BENCH_BINDIR", ""), name)


class Database:
    """One connection, each statement a transaction of its own."""

    def __init__(self, name, application="bench"):
        self.connection = psycopg2.connect(dbname=name, application_name=application)
        self.connection.autocommit = True

    def value(self, sql, arguments=None):
        return self.row(sql, arguments)[0]

    def row(self, sql, arguments=None):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, arguments)
            return cursor.fetchone()

    def rows(self, sql, arguments=None):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, arguments)
            return cursor.fetchall()

    def execute(self, sql, arguments=None):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, arguments)

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def auditor(name):
    """A connection for counting and hashing whole tables: sets of victims stay in memory."""
    database = Database(name)
    database.execute("SET work_mem = '512MB'; SET jit = off")
    return database


def template_of(case, data):
    return f"bench_{case.name}_{data.name}"


def make_template(admin, case, data):
    """Makes the data once; every run begins with a copy of it."""
    name = template_of(case, data)
    admin.execute(f"DROP DATABASE IF EXISTS {name}")
    admin.execute(f"CREATE DATABASE {name}")
    psql = [program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", name]
    variables = [word for pair in data.variables.items() for word in ("-v", "{}={}".format(*pair))]
    subprocess.run(psql + ["-c", "CREATE EXTENSION pg_retention"], check=True)
    subprocess.run(psql + variables + ["-f", os.path.join(HERE, "data", data.script)], check=True)


def restore(admin, case, data):
    admin.execute(f"DROP DATABASE IF EXISTS {RUN}")
    admin.execute(f"CREATE DATABASE {RUN} TEMPLATE {template_of(case, data)} STRATEGY file_copy")


def remove(admin, case):
    admin.execute(f"DROP DATABASE IF EXISTS {RUN}")
    for data in case.data:
        admin.execute(f"DROP DATABASE IF EXISTS {template_of(case, data)}")
