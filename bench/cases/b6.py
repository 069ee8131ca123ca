"""B6: B1 at three sizes: does the time stay linear, and the memory the same?

A run remembers the keys of the expired users, so that its memory follows them: B1's share of users to items tells the time, and the
same users with more and more items what the table itself costs in memory."""
import statistics

from curve import draw_growth
from plan import Case, against, shop, side_by_side
from results import Floor

MILLIONS = (1, 4, 16)


def cost(run):
    return run["seconds"] / run["rows"]


def nonlinearity(results):
    """The dearest row of the three sizes over the cheapest, by the medians of what a row costs in each."""
    runs = [list(results.series(f"ours:m{size}", cost).values()) for size in MILLIONS]
    costs = [statistics.median(each) for each in runs if each]
    return [max(costs) / min(costs)] if len(costs) == len(MILLIONS) else []


def nonlinearity_by_turn(results):
    """The same turn by turn. What slows one of three runs down for a while makes it larger, whichever of them it is."""
    costs = [results.series(f"ours:m{size}", cost) for size in MILLIONS]
    turns = sorted(set.intersection(*map(set, costs)))
    return [max(each[turn] for each in costs) / min(each[turn] for each in costs) for turn in turns]


def case(scale):
    data = tuple(shop(f"m{size}", scale, users=50_000 * size, items=1_000_000 * size) for size in MILLIONS)
    same_users = tuple(shop(f"l{size}", scale, users=50_000, items=1_000_000 * size, kind="always 50,000 users") for size in MILLIONS[1:])
    memory = lambda results, of="l16": results.ratios(f"ours:{of}", "ours:m1", "backend_kb")
    return Case(
        name="b6", title="growth", rule_name="carts", data=data + same_users,
        entrants=tuple(entrant for each in data + same_users for entrant in side_by_side(each, "ours", "plain")),
        reference=against("plain"),
        floors=(Floor("linear within 15 percent: a row's cost at the three sizes, dearest over cheapest", nonlinearity, at_most=1.15),
                Floor("the same turn by turn", nonlinearity_by_turn),
                Floor("memory does not grow with the table: 16 times the items of the same users over 1, within 15 percent", memory, at_most=1.15),
                Floor("memory with 16 times the users too", lambda results: memory(results, "m16"))),
        afterwards=(draw_growth,))
