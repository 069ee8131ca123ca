"""B2: the daily cleanup: foreign keys and activity are indexed, one user in a hundred is due; and the same in ten times the table: the same
shop, ten times as long in business, whose victims lie as they do in the small one."""
from plan import Case, against, shop, side_by_side
from results import Floor, slower

DAILY = dict(away="1 day", indexes=True)
FEW = ("ours", "ours_apply", "plain")


def seconds_per_row(run):
    return run["seconds"] / run["rows"]


def processor_seconds_per_row(run):
    return run["processor_seconds"] / run["rows"]


def small_shop(scale):
    return shop("small", scale, users=200_000, items=4_000_000, expired=0.01, **DAILY)


def tenfold(large):
    """What a victim costs in a table ten times as large."""
    return (Floor("a victim costs the same within 20 percent when the table is 10 times as large",
                  slower(f"ours:{large}", "ours:small", seconds_per_row), at_most=1.2),
            Floor("in processor time", slower(f"ours:{large}", "ours:small", processor_seconds_per_row)),
            Floor("the same for one DELETE, to compare", slower(f"plain:{large}", "plain:small", seconds_per_row)))


def case(scale):
    small = small_shop(scale)
    long = shop("long", scale, users=200_000, items=4_000_000, expired=0.01, times_before=9, kind="ten times as long in business", **DAILY)
    return Case(
        name="b2", title="carts, daily", rule_name="carts", data=(small, long),
        entrants=side_by_side(small, *FEW, "orm", "limit_loop", "keyset_loop", "skip_locked_loop", "ttl_index") + side_by_side(long, *FEW),
        reference=against("plain"),
        floors=(Floor("no slower than 1.2 times one DELETE", slower("ours:small", "plain:small"), at_most=1.2), *tenfold("long")))
