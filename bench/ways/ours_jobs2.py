"""pg_retention: two sessions at once, each with half of the target's blocks, as the runner's --jobs 2 does."""
from ways.ours import Run

TITLE = "retention.run, two jobs"


def prepare(rule, database):
    return Run(database, rule.policy, slices=2)
