"""What is printed of a case: one table, and the floors."""
import statistics

from results import percentile


def spread(values, form):
    """Median, and from least to most where there is more than one."""
    values = list(values)
    middle = form(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({form(min(values))}-{form(max(values))})"


def seconds(value):
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def milliseconds(value):
    return "-" if value is None else f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def number(value):
    return f"{value:,.0f}"


def aligned(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths)))
            for row in rows]


def failed_row(title, failure, columns):
    """A way that was over its limit, or did wrong, has no numbers."""
    return [title, f">{failure['over']:g} s" if "over" in failure else "failed"] + ["-"] * (columns - 2)


def batches(runs):
    """How many, p99 and worst of the batches of all runs; of what commits once, that once is the worst."""
    later = [duration for run in runs for duration in run["batch_ms"]]
    firsts = [run["first_ms"] for run in runs if run["first_ms"] is not None]
    count = statistics.median(run["batches"] for run in runs)
    if not count:
        return ["-"] * 4
    once = not later
    return [number(count), milliseconds(statistics.median(firsts)), milliseconds(percentile(later, 99)) if later else "-",
            milliseconds(max(firsts if once else later))]


def timing_table(results):
    rows = [["way", "seconds (min-max)", "ratio (min-max)", "rows/s", "CPU s", "WAL B/row", "batches", "first ms", "p99 ms", "worst ms", "backend MB", "client MB"]]
    for entrant in results.entrants:
        title, runs = results.case.title_of(entrant), list(results.good(entrant.key).values())
        if results.failure(entrant.key) or not runs:
            rows.append(failed_row(title, results.failure(entrant.key) or {"error": "not run"}, len(rows[0])))
            continue
        ratios = results.ratios(entrant.key, results.case.reference(entrant))
        changed = statistics.median(run["rows"] for run in runs)
        rows.append([title, spread((run["seconds"] for run in runs), seconds), spread(ratios, lambda ratio: f"{ratio:.2f}") if ratios else "-",
                     number(changed / results.median(entrant.key)), seconds(results.median(entrant.key, "processor_seconds")),
                     number(results.median(entrant.key, "wal_bytes") / max(changed, 1)), *batches(runs),
                     number(max(run["backend_kb"] for run in runs) / 1024), number(max(run["client_kb"] for run in runs) / 1024)])
    return aligned(rows)


def latency_table(results):
    rows = [["situation", "cleanup s (min-max)", "rows gone", "transactions", "median ms", "p99 ms (min-max)", "ratio of p99 (min-max)", "worst ms",
             "longest batch ms"]]
    for entrant in results.entrants:
        title, runs = results.case.title_of(entrant), list(results.good(entrant.key).values())
        if results.failure(entrant.key) or not runs:
            rows.append(failed_row(title, results.failure(entrant.key) or {"error": "not run"}, len(rows[0])))
            continue
        latency = [run["latency_ms"] for run in runs]
        ratios = results.ratios(entrant.key, results.case.reference(entrant), lambda run: run["latency_ms"]["p99"])
        gone = statistics.median(run["rows"] for run in runs)
        rows.append([title, spread((run["seconds"] for run in runs), seconds) if gone else "-", number(gone),
                     number(sum(each["transactions"] for each in latency)), milliseconds(statistics.median(each["median"] for each in latency)),
                     spread((each["p99"] for each in latency), milliseconds), spread(ratios, lambda ratio: f"{ratio:.2f}") if ratios else "-",
                     milliseconds(max(each["worst"] for each in latency)), batches(runs)[3]])
    return aligned(rows)


def failure_lines(results):
    """Why a row says "failed"."""
    failures = [(entrant, results.failure(entrant.key) or {}) for entrant in results.entrants]
    return [f"failed: {results.case.title_of(entrant)}: {failure['error']}" for entrant, failure in failures if "error" in failure]


def floor_lines(verdicts):
    lines = []
    for verdict in verdicts:
        said = "not measured, see the table"
        if "median" in verdict:
            said = f"{verdict['median']:.2f} ({verdict['min']:.2f}-{verdict['max']:.2f})"
            said += {True: ", reached", False: ", NOT REACHED", None: ""}[verdict["reached"]]
        lines.append(f"{'floor' if verdict['is_bound'] else 'also'}: {verdict['floor']}: {said}")
    return lines
