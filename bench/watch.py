"""What is seen of a run from outside: memory while it lasts, its time on a processor, its commits afterwards."""
import threading

INTERVAL = 0.01


def anonymous_kb(pid):
    """Memory of a process in kB that it does not share with the server: shared_buffers and mapped files do not count."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("RssAnon"):
                return int(line.split()[1])
    return 0


def processor_seconds(pids):
    """Time that processes have been on a processor so far, those they started not counted."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/schedstat") as status:
            total += int(status.read().split()[0])
    return total / 1e9


class PeakMemory(threading.Thread):
    """The largest sum over some processes, looked at every 10 ms until stopped."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.peak, self.ended = pids, 0, threading.Event()
        self.start()

    def run(self):
        while not self.ended.is_set():
            try:
                self.peak = max(self.peak, sum(anonymous_kb(pid) for pid in self.pids))
            except (FileNotFoundError, ProcessLookupError):
                return
            self.ended.wait(INTERVAL)

    def stop(self):
        self.ended.set()
        self.join()
        return self.peak


class Commits:
    """The commits of a run, to the microsecond, from the server's commit timestamps (track_commit_timestamp).

    A batch lasts from one commit to the next. What comes before the first commit, which for some ways is more than a batch, for
    one statement everything, is told apart from the batches. Where a run keeps a ledger, a batch is what has its rows there, in the
    transaction that wrote them, and every slice is followed by itself; of other ways every transaction that changed something counts.
    """

    def __init__(self, database):
        self.database = database
        self.first_xid, self.started = self.now()

    def now(self):
        return self.database.row("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint, extract(epoch FROM clock_timestamp())::float8")

    def batches(self, has_neighbours):
        """Milliseconds to the first commit, and of each batch after it."""
        end_xid = self.now()[0]
        series = [times for (times,) in self.database.rows(
            "SELECT array_agg(DISTINCT extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8) FROM retention.batch GROUP BY run")]
        if not series and not has_neighbours:
            series = [[time for (time,) in self.database.rows(
                "SELECT extract(epoch FROM committed)::float8 FROM (SELECT DISTINCT pg_xact_commit_timestamp(number::text::xid) AS committed"
                " FROM generate_series(%s, %s - 1) AS number) AS each WHERE committed IS NOT NULL", [self.first_xid, end_xid])]]
        series = [sorted(times) for times in series if times]
        firsts = [1000 * (times[0] - self.started) for times in series]
        later = [1000 * (after - before) for times in series for before, after in zip(times, times[1:])]
        return {"first_ms": max(firsts) if firsts else None, "batch_ms": later, "batches": sum(map(len, series))}
