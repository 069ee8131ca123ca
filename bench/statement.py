"""A job that is one SQL statement."""
import psycopg2


class Job:
    def __init__(self, database, sql, deleted):
        self.connection = psycopg2.connect(dbname=database)
        self.connection.autocommit = True
        self.backend_pid = self.connection.get_backend_pid()
        self.sql, self.deleted = sql, deleted

    def run(self):
        with self.connection.cursor() as cursor:
            cursor.execute(self.sql)
            return self.deleted(cursor)
