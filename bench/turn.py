"""One measured run: a fresh copy of the data, the way as a process of its own, its measures, and the check of what it did."""
import importlib
import json
import os
import select
import subprocess
import sys
import time

import rule as rules
from server import HERE, RUN, Database, auditor, restore, template_of
from watch import Commits, PeakMemory, processor_seconds


class Expectation:
    """What must be true after a run on some data: counted and hashed once, on the template, by plain SQL."""

    def __init__(self, case, data):
        with auditor(template_of(case, data)) as database:
            self.rows = database.value(rules.expected_rows(case.rule))
            self.kept = database.value(rules.before(case.rule))
            self.all = database.value(rules.untouched(case.rule))
            self.bytes = database.value("SELECT pg_database_size(current_database())")


class Process:
    """The measured process. It is told when to begin, and is ended when its time is over."""

    def __init__(self, rule_name, way):
        self.child = subprocess.Popen([sys.executable, os.path.join(HERE, "job.py"), rule_name, way, RUN],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        first = self.child.stdout.readline()
        if not first:
            raise RuntimeError(f"{way} did not begin")
        self.backends = json.loads(first)
        self.pid = self.child.pid

    def do(self, limit):
        """The job's answer; None when the limit in seconds was over first."""
        self.child.stdin.write(b"go\n")
        self.child.stdin.flush()
        if not select.select([self.child.stdout], [], [], limit)[0]:
            return None
        answer = self.child.stdout.readline()
        return json.loads(answer) if answer else {"error": "the process died"}

    def end(self, admin):
        self.child.kill()
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()
        for pid in self.backends:
            admin.execute("SELECT pg_terminate_backend(%s, 60000)", [pid])


def prepare(admin, case, entrant):
    """A fresh copy, with what the way brings along, everything of it on disk."""
    restore(admin, case, entrant.data)
    way = importlib.import_module(f"ways.{entrant.way}")
    setup = way.setup(case.rule) if hasattr(way, "setup") else None
    if setup:
        with Database(RUN) as database:
            database.execute(setup)
    return way


def measure(admin, case, entrant, expectation, limit):
    """One run; gives its measures, or how it failed under "error", or the limit it reached under "over"."""
    way = prepare(admin, case, entrant)
    situation = entrant.situation(entrant.data)
    process = None
    try:
        situation.begin()
        process = Process(case.rule_name, entrant.way)
        with Database(RUN) as watcher:
            admin.execute("CHECKPOINT")
            lsn = admin.value("SELECT pg_current_wal_insert_lsn()")
            commits = Commits(watcher)
            memory = [PeakMemory(process.backends), PeakMemory([process.pid])]
            busy = processor_seconds(process.backends)
            started = time.time()
            answer = process.do(limit)
            finished = time.time()
            backend_kb, client_kb = [watched.stop() for watched in memory]
            if answer is None:
                return {"over": limit}
            if "error" in answer:
                return {"error": answer["error"]}
            busy = processor_seconds(process.backends) - busy
            wal = int(admin.value("SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", [lsn]))
            run = {"seconds": answer["seconds"], "rows": expectation.rows, "processor_seconds": busy, "wal_bytes": wal, "backend_kb": backend_kb, "client_kb": client_kb}
            run.update(commits.batches(situation.HAS_WRITERS))
            seen = situation.end(started, finished)
        # Its connections end before the tables are read: what it still held would be waited for.
        process.end(admin)
        run.update(seen)
        wrong = check_shared(way, answer, seen) if situation.HAS_WRITERS else check(case, way, answer, expectation)
        return {"error": wrong} if wrong else run
    finally:
        situation.stop()
        if process:
            process.end(admin)


def check(case, way, answer, expectation):
    """What is wrong with the outcome, or None."""
    changes = getattr(way, "CHANGES", True)
    said = answer["rows"]
    if said is not None and said != expectation.rows:
        return f"says {said} rows, plain SQL counted {expectation.rows} before"
    with auditor(RUN) as database:
        left = database.value(rules.expected_rows(case.rule))
        if changes and left:
            return f"{left} of {expectation.rows} rows are left"
        if changes and database.value(rules.after(case.rule)) != expectation.kept:
            return "something else was changed"
        if not changes and database.value(rules.untouched(case.rule)) != expectation.all:
            return "something was changed"
    return None


def check_shared(way, answer, seen):
    """The same where neighbours write: rows of people who come back meanwhile may stay or go, all others are certain."""
    if not seen["nothing_else"]:
        return "rows of people who were active before are gone, or a cart was changed"
    if getattr(way, "CHANGES", True):
        if seen["left"] > answer.get("skipped", 0):
            return f"{seen['left']} rows are left, {answer.get('skipped', 0)} skipped"
    elif seen["rows"]:
        return f"{seen['rows']} rows are gone"
    return None
