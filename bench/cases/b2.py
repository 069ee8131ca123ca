"""B2: the daily cleanup: foreign keys and activity are indexed, one user in a hundred is due; and as many in ten times the table."""
from plan import Case, against, shop, side_by_side
from results import Floor, slower


def seconds_per_row(run):
    return run["seconds"] / run["rows"]


def case(scale):
    daily = dict(away="1 day", indexes=True)
    small = shop("small", scale, users=200_000, items=4_000_000, expired=0.01, **daily)
    large = shop("large", scale, users=2_000_000, items=40_000_000, expired=0.001, **daily)
    few = ("ours", "ours_apply", "plain")
    return Case(
        name="b2", title="carts, daily", rule_name="carts", data=(small, large),
        entrants=side_by_side(small, *few, "orm", "limit_loop", "keyset_loop", "skip_locked_loop", "ttl_index") + side_by_side(large, *few),
        reference=against("plain"),
        floors=(Floor("no slower than 1.2 times one DELETE", slower("ours:small", "plain:small"), at_most=1.2),
                Floor("a victim costs the same within 20 percent when the table is 10 times as large",
                      slower("ours:large", "ours:small", seconds_per_row), at_most=1.2),
                Floor("the same for one DELETE, to compare", slower("plain:large", "plain:small", seconds_per_row))))
