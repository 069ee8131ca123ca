"""pg_retention: retention.apply, all of it in one transaction."""
from job import Statement
from ways.ours import composite, summed

TITLE = "retention.apply"


class Apply(Statement):
    def run(self):
        with self.connection.cursor() as cursor:
            cursor.execute(self.statements[0])
            self.answer = cursor.fetchone()[0]

    def report(self):
        return summed([composite(self.connection, self.answer)])


def prepare(rule, database):
    return Apply(database, f"SELECT retention.apply('{rule.policy}')")
