"""pg_retention: CALL retention.run, strict, batch by batch, one session."""
import threading

from job import connect

TITLE = "retention.run"


class Run:
    """One session for each slice, all at once; with one slice, the whole target."""

    def __init__(self, database, policy, slices=1):
        self.connections = [connect(database) for _ in range(slices)]
        self.backends = [connection.get_backend_pid() for connection in self.connections]
        self.calls = [f"CALL retention.run('{policy}'" + (f", slice => {number + 1}, slices => {slices})" if slices > 1 else ")")
                      for number in range(slices)]
        self.answers, self.errors = [], []

    def call(self, connection, statement):
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                self.answers.append(cursor.fetchone()[0])
        except Exception as error:  # re-raised in the thread that waits
            self.errors.append(error)

    def run(self):
        threads = [threading.Thread(target=self.call, args=pair) for pair in zip(self.connections, self.calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def report(self):
        return summed([composite(self.connections[0], answer) for answer in self.answers])


def composite(connection, text):
    """A retention.result, taken apart."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(%s::retention.result)", [text])
        return cursor.fetchone()[0]


def summed(results):
    bad = [result["message"] for result in results if not result["success"] or result["stop_reason"] != "done"]
    if bad:
        return {"error": "; ".join(bad)}
    return {"rows": sum(result["affected"] + sum((result["dependents"] or {}).values()) for result in results),
            "skipped": sum(result["skipped_locked"] for result in results)}


def prepare(rule, database):
    return Run(database, rule.policy)
