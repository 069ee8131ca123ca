"""B2: the daily cleanup: foreign keys and activity are indexed, one user in a hundred is due; and as many in ten times the table: the same
shop, longer in business, whose victims lie as they do in the small one; and one with ten times as many customers at a time, among whom they
lie on more pages."""
from plan import Case, against, shop, side_by_side
from results import Floor, slower


def seconds_per_row(run):
    return run["seconds"] / run["rows"]


def processor_seconds_per_row(run):
    return run["processor_seconds"] / run["rows"]


def case(scale):
    daily = dict(away="1 day", indexes=True)
    small = shop("small", scale, users=200_000, items=4_000_000, expired=0.01, **daily)
    long = shop("long", scale, users=200_000, items=4_000_000, expired=0.01, times_before=9, kind="ten times as long in business", **daily)
    wide = shop("wide", scale, users=2_000_000, items=40_000_000, expired=0.001, kind="ten times as many customers", **daily)
    few = ("ours", "ours_apply", "plain")
    return Case(
        name="b2", title="carts, daily", rule_name="carts", data=(small, long, wide),
        entrants=side_by_side(small, *few, "orm", "limit_loop", "keyset_loop", "skip_locked_loop", "ttl_index") + side_by_side(long, *few) + side_by_side(wide, *few),
        reference=against("plain"),
        floors=(Floor("no slower than 1.2 times one DELETE", slower("ours:small", "plain:small"), at_most=1.2),
                Floor("a victim costs the same within 20 percent when the table is 10 times as large, the victims as they lie",
                      slower("ours:long", "ours:small", seconds_per_row), at_most=1.2),
                Floor("of processor time, which the disk does not disturb", slower("ours:long", "ours:small", processor_seconds_per_row), at_most=1.2),
                Floor("the same for one DELETE, to compare", slower("plain:long", "plain:small", seconds_per_row)),
                Floor("and where they lie among ten times as many others",
                      slower("ours:wide", "ours:small", seconds_per_row), at_most=1.2),
                Floor("of processor time", slower("ours:wide", "ours:small", processor_seconds_per_row), at_most=1.2),
                Floor("the same for one DELETE, to compare", slower("plain:wide", "plain:small", seconds_per_row))))
