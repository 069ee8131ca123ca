"""What else happens on the server while a way does its job."""
from server import RUN, Database


class Quiet:
    """Nothing else."""

    NAME, TITLE = "", ""
    HAS_WRITERS = False         # others change the tables, and commit

    def __init__(self, data):
        self.data = data

    def begin(self):
        pass

    def end(self, started, finished):
        """What was seen between the two instants (seconds since 1970), to be kept with the run."""
        return {}

    def stop(self):
        """Also after a failure."""


class OldSnapshot(Quiet):
    """A REPEATABLE READ transaction that has looked once and stays open: nothing removed since can be pruned."""

    NAME, TITLE = "old_snapshot", "old snapshot open"

    def begin(self):
        self.reader = Database(RUN)
        self.reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        self.seen = self.count()

    def count(self):
        return self.reader.value("SELECT count(*) FROM users")

    def end(self, started, finished):
        assert self.count() == self.seen, "the old snapshot is gone"
        return {}

    def stop(self):
        if hasattr(self, "reader"):
            self.reader.close()
