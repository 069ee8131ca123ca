"""Runs the ways of each case in turn, each on a fresh copy of the same database, and compares them. Called by bench/run."""
import argparse
import importlib
import json
import os
import platform
import sys

import report
from results import Results
from server import HERE, Database, make_template, remove
from turn import Expectation, measure


def names_in(folder):
    return sorted(file[:-3] for file in os.listdir(os.path.join(HERE, folder)) if file.endswith(".py") and not file.startswith("_"))


def options_from(arguments):
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--case", nargs="+", metavar="NAME", choices=names_in("cases"), default=names_in("cases"), help="default: all of them, %(choices)s")
    parser.add_argument("--ways", nargs="+", metavar="NAME", choices=names_in("ways"), help="only these of a case's ways: %(choices)s")
    parser.add_argument("--runs", type=int, default=5, help="of each way (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the data (default: %(default)s)")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS", help="longer runs are ended, and not repeated (default: %(default)g)")
    parser.add_argument("--results", default=os.path.join(HERE, "results"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.runs < 1 or options.scale <= 0 or options.limit <= 0:
        parser.error("--runs, --scale and --limit must be positive")
    return options


def outcome(run):
    if "error" in run:
        return f"FAILED: {run['error']}"
    return f"over {run['over']:g} s" if "over" in run else f"{run['seconds']:.3f} s, {run['rows']:,} rows"


def take_turns(admin, case, results, options):
    """Every way once a turn. Another one goes first each time: the place in the row must not be what is measured."""
    for turn in range(options.runs):
        first = turn % len(results.entrants)
        for entrant in results.entrants[first:] + results.entrants[:first]:
            if results.failure(entrant.key):
                continue
            run = measure(admin, case, entrant, results.expectations[entrant.data.name], options.limit)
            results.add(entrant, turn, run)
            print(f"  {turn + 1} {entrant.key}: {outcome(run)}", flush=True)


def measured(admin, case, options):
    """Makes the data of a case, measures its ways, prints what came of it; true when nothing failed."""
    entrants = [entrant for entrant in case.entrants if not options.ways or entrant.way in options.ways]
    if not entrants:
        print(f"\n{case.name}: none of these ways is part of it")
        return True
    used = [data for data in case.data if any(entrant.data == data for entrant in entrants)]
    print(f"\n== {case.name}: {case.title} ==", flush=True)
    for data in used:
        print(f"  making the data: {data.title}", flush=True)
        make_template(admin, case, data)
    results = Results(case, entrants, {data.name: Expectation(case, data) for data in used})
    take_turns(admin, case, results, options)
    tell(admin, case, results, options)
    remove(admin, case)
    return not any("error" in (results.failure(entrant.key) or {}) for entrant in entrants)


def tell(admin, case, results, options):
    print()
    for data in case.data:
        if data.name in results.expectations:
            seen = results.expectations[data.name]
            print(f"{data.title}: {seen.rows:,} rows to go, as plain SQL counts them; {seen.bytes / 2 ** 20:,.0f} MB")
    print(f"Medians of {options.runs} alternating runs, each on a fresh copy; every outcome checked. PostgreSQL {admin.value('SHOW server_version')}, "
          f"{os.cpu_count()} cores, shared_buffers {admin.value('SHOW shared_buffers')}.\n")
    print("\n".join(case.table(results)), "\n")
    lines = [line for step in case.afterwards for line in step(admin, results, options.results)]
    verdicts = [floor.verdict(results) for floor in case.floors]
    print("\n".join(report.failure_lines(results) + report.floor_lines(verdicts) + lines), flush=True)
    with open(os.path.join(options.results, f"{case.name}.json"), "w") as out:
        json.dump({"case": case.name, "title": case.title, "scale": options.scale, "runs": options.runs, "machine": platform.platform(),
                   "cores": os.cpu_count(), "server": admin.value("SELECT version()"), "limit": getattr(results, "limit", None),
                   "data": {name: {"rows": seen.rows, "bytes": seen.bytes} for name, seen in results.expectations.items()},
                   "floors": verdicts, "entrants": {entrant.key: {"title": case.title_of(entrant), "runs": list(results.runs[entrant.key].values())}
                                                    for entrant in results.entrants}}, out, indent=1)


def main():
    options = options_from(sys.argv[1:])
    os.makedirs(options.results, exist_ok=True)
    cases = [importlib.import_module(f"cases.{name}").case(options.scale) for name in options.case]
    with Database("postgres") as admin:
        went_well = [measured(admin, case, options) for case in cases]
    sys.exit(0 if all(went_well) else 1)


if __name__ == "__main__":
    main()
