"""What no way of B1 can be faster than: reading the target once, and writing the WAL of the removals."""
import statistics
import time

from report import number, seconds
from server import RUN, Database, restore

TIMES = 3
PIECE = 8000


def timed(database, sql, arguments=None):
    started = time.monotonic()
    database.execute(sql, arguments)
    return time.monotonic() - started


def scan_and_wal(admin, results, folder):
    """Both measured alone, on a fresh copy: one sequential scan in one process, and as many bytes of WAL as the thriftiest way wrote."""
    case, data = results.case, results.case.data[0]
    written = [median for median in (results.median(entrant.key, "wal_bytes") for entrant in results.entrants) if median]
    if not written:
        return []
    scans, writes = [], []
    for _ in range(TIMES):
        restore(admin, case, data)
        admin.execute("CHECKPOINT")
        with Database(RUN) as database:
            database.execute("SET max_parallel_workers_per_gather = 0; SET jit = off; SET enable_indexonlyscan = off; SET enable_indexscan = off")
            scans.append(timed(database, f"SELECT count(*) FROM {case.rule.target}"))
            writes.append(timed(database, "SELECT count(pg_logical_emit_message(true, 'bench', repeat('x', %s))) FROM generate_series(1, %s)",
                                [PIECE, int(min(written)) // PIECE]))
    results.limit = {"scan_seconds": scans, "wal_seconds": writes, "wal_bytes": min(written)}
    scan, write = statistics.median(scans), statistics.median(writes)
    return [f"limit: one scan of {case.rule.target} {seconds(scan)} s; {number(min(written) / 2 ** 20)} MB of WAL, the least that a way wrote, "
            f"{seconds(write)} s; together {seconds(scan + write)} s"]
