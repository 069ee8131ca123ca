"""A shop's load on the same users, carts and items, at a fixed rate (pgbench), and what the cleanup does to its latency."""
import os
import statistics
import subprocess
import tempfile
import time

from results import percentile
from rules.carts import INACTIVE
from server import HERE, RUN, Database, program
from situations import Quiet

CLIENTS, RATE = 8, 400

# Who was inactive before the load began; those who come back during it may keep their items or lose them, by when it was.
REMEMBER = f"CREATE TABLE was_inactive AS SELECT id FROM users WHERE {INACTIVE}"
KEPT = """
    SELECT jsonb_build_array(
        (SELECT jsonb_build_array(count(*), sum(hashtextextended(t::text, 0))) FROM cart_items AS t
         WHERE category_id <> 0 AND NOT EXISTS (SELECT FROM carts JOIN was_inactive ON was_inactive.id = carts.user_id WHERE carts.id = t.cart_id)),
        (SELECT jsonb_build_array(count(*), sum(hashtextextended(carts::text, 0))) FROM carts), (SELECT count(*) FROM users))"""
LEFT = f"""
    SELECT count(*) FROM cart_items AS t JOIN carts ON carts.id = t.cart_id JOIN users ON users.id = carts.user_id
    WHERE category_id <> 0 AND {INACTIVE}"""
ITEMS = "SELECT count(*) FROM cart_items WHERE category_id <> 0"


class Neighbours(Quiet):
    NAME, TITLE = "neighbours", "shop at work"
    HAS_WRITERS = True

    def begin(self):
        self.audit = Database(RUN)
        self.audit.execute(f"SET work_mem = '512MB'; SET jit = off; {REMEMBER}")
        self.folder = tempfile.TemporaryDirectory()
        self.log = os.path.join(self.folder.name, "load")
        sizes = self.audit.row("SELECT max(users.id), (SELECT max(id) FROM carts), (SELECT max(id) FROM cart_items) FROM users")
        self.kept, self.items = self.audit.value(KEPT), self.audit.value(ITEMS)
        variables = [word for name, size in zip(("users", "carts", "items"), sizes) for word in ("-D", f"{name}={size}")]
        self.audit.execute("CHECKPOINT")
        self.load = subprocess.Popen(
            [program("pgbench"), "-n", "-f", os.path.join(HERE, "neighbours.sql"), *variables, "-c", str(CLIENTS), "-R", str(RATE),
             "-T", "86400", "-l", f"--log-prefix={self.log}", RUN], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_for_a_second()

    def wait_for_a_second(self):
        """Until the load has put as many items into carts as it does in a second."""
        number = "SELECT last_value FROM cart_items_id_seq"
        wanted = self.audit.value(number) + RATE // 2
        while self.audit.value(number) < wanted:
            if self.load.poll() is not None:
                raise RuntimeError("pgbench ended by itself")
            time.sleep(0.01)

    def end(self, started, finished):
        # What was scheduled before the end is let finish; a killed pgbench would lose its log's last lines, one without a server not.
        self.wait_for_a_second()
        self.audit.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgbench'")
        self.load.wait()
        latency = sorted(self.latencies(started, finished))
        return {"rows": self.items - self.audit.value(ITEMS), "left": self.audit.value(LEFT),
                "nothing_else": self.audit.value(KEPT) == self.kept,
                "latency_ms": {"transactions": len(latency), "median": statistics.median(latency), "p99": percentile(latency, 99),
                               "worst": latency[-1]}}

    def latencies(self, started, finished):
        """Milliseconds from when a transaction was due until it was done, of those that overlap with the time between."""
        for name in os.listdir(self.folder.name):
            with open(os.path.join(self.folder.name, name)) as lines:
                for line in lines:
                    _, _, duration, _, seconds, microseconds = line.split()[:6]
                    done = int(seconds) + int(microseconds) / 1e6
                    if done >= started and done - int(duration) / 1e6 <= finished:
                        yield int(duration) / 1000

    def stop(self):
        if hasattr(self, "load") and self.load.poll() is None:
            self.load.kill()
            self.load.wait()
        if hasattr(self, "folder"):
            self.audit.close()
            self.folder.cleanup()

