"""The runs of a case, and the comparisons that are made of them."""
import statistics


def percentile(values, share):
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


class Results:
    """The runs by entrant and turn. Comparisons are made within a turn: what the machine did meanwhile, it did to both."""

    def __init__(self, case, entrants, expectations):
        self.case, self.entrants, self.expectations = case, entrants, expectations
        self.runs = {entrant.key: {} for entrant in entrants}

    def add(self, entrant, turn, run):
        self.runs[entrant.key][turn] = run

    def failure(self, key):
        """{"error"} or {"over"} of the first run that has it; None where all went well."""
        return next((run for run in self.runs[key].values() if "seconds" not in run), None)

    def good(self, key):
        """The complete runs, by turn."""
        return {turn: run for turn, run in self.runs.get(key, {}).items() if "seconds" in run}

    def series(self, key, measure):
        """One measure of every complete run: a name, or a function of the run."""
        take = measure if callable(measure) else lambda run: run[measure]
        return {turn: take(run) for turn, run in self.good(key).items()}

    def ratios(self, one, other, measure="seconds"):
        """One entrant's measure over the other's, turn by turn."""
        mine, theirs = self.series(one, measure), self.series(other, measure)
        return [mine[turn] / theirs[turn] for turn in sorted(mine) if turn in theirs and theirs[turn]]

    def median(self, key, measure="seconds"):
        values = self.series(key, measure).values()
        return statistics.median(values) if values else None


def faster(way, than):
    """How many times as fast as the other, turn by turn."""
    return lambda results: results.ratios(than, way)


def slower(way, than, measure="seconds"):
    """How many times the other's time (or another measure), turn by turn."""
    return lambda results: results.ratios(way, than, measure)


class Floor:
    """What a case must reach; without a bound, a comparison that is told beside the floors."""

    def __init__(self, text, values, at_least=None, at_most=None):
        self.text, self.values, self.at_least, self.at_most = text, values, at_least, at_most

    def verdict(self, results):
        """The median of the comparison, its least and most, and whether it is enough; without numbers where it was not measured."""
        values = self.values(results)
        verdict = {"floor": self.text, "is_bound": self.at_least is not None or self.at_most is not None, "reached": None}
        if values:
            middle = statistics.median(values)
            verdict.update(median=middle, min=min(values), max=max(values))
            if verdict["is_bound"]:
                verdict["reached"] = middle >= self.at_least if self.at_least is not None else middle <= self.at_most
        return verdict
