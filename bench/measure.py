"""Runs the ways of a case in turn, each on a fresh copy of the same database, and compares them.

Called by bench/run, which provides the server. A case (bench/cases/NAME.py) loads the data and says what must be true
afterwards; a way (bench/ways/NAME.py) does the job and says how it is called.
"""
import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))


def connect(database):
    connection = psycopg2.connect(dbname=database)
    connection.autocommit = True
    return connection


def value(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def execute(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


def memory_of(pid):
    """Resident memory of a process in kB without what it shares with the server (shared_buffers)."""
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status if line.startswith(("VmRSS", "RssAnon")))
    return int((fields.get("RssAnon") or fields["VmRSS"]).split()[0])


class PeakMemory(threading.Thread):
    """Watches one process, every 10 ms, until it is told to stop."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.ended = pid, 0, threading.Event()

    def run(self):
        while not self.ended.is_set():
            try:
                self.peak = max(self.peak, memory_of(self.pid))
            except (FileNotFoundError, ProcessLookupError):
                return
            self.ended.wait(0.01)

    def stop(self):
        self.ended.set()
        self.join()
        return self.peak


def one_run(admin, case, way):
    """Copies the database, lets the way do the job, checks the outcome; gives the measures."""
    execute(admin, "DROP DATABASE IF EXISTS bench_run")
    execute(admin, "CREATE DATABASE bench_run TEMPLATE bench_template STRATEGY file_copy")
    connection = connect("bench_run")
    expected = value(connection, case.EXPECTED)
    before = value(connection, case.STATE)
    execute(admin, "CHECKPOINT")
    start_lsn = value(admin, "SELECT pg_current_wal_insert_lsn()")

    # The way is a process of its own: it connects, says its backend's number, waits for a line, does the job, says how many.
    program = subprocess.Popen([sys.executable, __file__, "--do", case.NAME, way.NAME, "--database", "bench_run"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    backend = PeakMemory(int(program.stdout.readline()))
    client = PeakMemory(program.pid)
    backend.start()
    client.start()
    program.stdin.write("go\n")
    program.stdin.flush()
    answer = program.stdout.readline()
    client_peak, backend_peak = client.stop(), backend.stop()
    program.stdin.close()
    if program.wait() != 0 or not answer:
        raise SystemExit(f"{way.NAME} failed")
    deleted, seconds = json.loads(answer)

    wal = int(value(admin, f"SELECT pg_current_wal_insert_lsn() - '{start_lsn}'::pg_lsn"))
    after, left = value(connection, case.STATE), value(connection, case.EXPECTED)
    connection.close()
    if deleted != expected or left != 0 or after["kept"] != before["kept"] or before["rows"] - after["rows"] != expected:
        raise SystemExit(f"{way.NAME}: expected {expected} rows, deleted {deleted}, {left} left; before {before}, after {after}")
    return {"way": way.NAME, "seconds": seconds, "rows": deleted, "wal_bytes": wal,
            "backend_kb": backend_peak, "client_kb": client_peak}


def do_job(case, way, database):
    """The measured process. The job's time begins with a connection made and everything imported."""
    job = way.prepare(case, database)
    print(job.backend_pid, flush=True)
    sys.stdin.readline()
    started = time.monotonic()
    deleted = job.run()
    seconds = time.monotonic() - started
    print(json.dumps([deleted, seconds]), flush=True)
    sys.stdin.readline()


def spread(values, form):
    return f"{form(statistics.median(values))} ({form(min(values))}-{form(max(values))})"


def table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                        for column, (cell, width) in enumerate(zip(row, widths))))


def report(case, ways, runs):
    by_way = {way.NAME: [run for run in runs if run["way"] == way.NAME] for way in ways}
    basis = by_way.get("one_delete")
    base = statistics.median(run["seconds"] for run in basis) if basis else None
    rows = [["way", "seconds (min-max)", "ratio", "rows/s", "WAL bytes/row", "backend MB", "client MB"]]
    for way in ways:
        mine = by_way[way.NAME]
        seconds = [run["seconds"] for run in mine]
        middle = statistics.median(seconds)
        deleted = mine[0]["rows"]
        rows.append([way.TITLE, spread(seconds, lambda s: f"{s:.2f}"), f"{middle / base:.2f}" if base else "-",
                     f"{deleted / middle:,.0f}", f"{statistics.median(run['wal_bytes'] for run in mine) / max(deleted, 1):.0f}",
                     f"{max(run['backend_kb'] for run in mine) / 1024:.0f}", f"{max(run['client_kb'] for run in mine) / 1024:.0f}"])
    table(rows)


def main():
    parser = argparse.ArgumentParser(prog="bench/run")
    parser.add_argument("--case", default="carts")
    parser.add_argument("--ways", default="ours,one_delete,orm")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=4_000_000)
    parser.add_argument("--results", default=os.path.join(HERE, "results"))
    parser.add_argument("--do", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--database", help=argparse.SUPPRESS)
    options = parser.parse_args()
    load = lambda room, name: importlib.import_module(f"{room}.{name}")
    if options.do:
        return do_job(load("cases", options.do[0]), load("ways", options.do[1]), options.database)

    case = load("cases", options.case)
    ways = [load("ways", name) for name in options.ways.split(",")]
    admin = connect("postgres")
    execute(admin, "CREATE DATABASE bench_template")
    print(f"Loading the case {case.NAME}: {case.describe(options)}", flush=True)
    case.load("bench_template", options)
    runs = []
    for turn in range(options.runs):
        # Another one goes first each time: the place in the row must not be what is measured.
        for way in ways[turn % len(ways):] + ways[:turn % len(ways)]:
            run = one_run(admin, case, way)
            runs.append(run)
            print(f"  run {turn + 1} {way.NAME}: {run['seconds']:.2f} s, {run['rows']} rows", flush=True)
    print(f"\n{case.describe(options)}; {runs[0]['rows']:,} rows deleted by every way, as plain SQL counted before; "
          f"{case.KEPT} unchanged.\nMedians of {options.runs} alternating runs; {value(admin, 'SHOW server_version')}, "
          f"{os.cpu_count()} cores, shared_buffers {value(admin, 'SHOW shared_buffers')}; memory without shared_buffers, the largest of all runs.\n")
    report(case, ways, runs)
    os.makedirs(options.results, exist_ok=True)
    with open(os.path.join(options.results, f"{case.NAME}.json"), "w") as out:
        json.dump({"case": case.NAME, "users": options.users, "items": options.items, "machine": platform.platform(),
                   "server": value(admin, "SELECT version()"), "runs": runs}, out, indent=2)


if __name__ == "__main__":
    main()
