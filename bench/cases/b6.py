"""B6: B1 at three sizes: does the time stay linear, and the memory the same?

A run remembers the keys of the expired users, so that its memory follows them: B1's share of users to items tells the time, and the
same users with more and more items what the table itself costs in memory."""
from curve import draw_growth
from plan import Case, against, shop, side_by_side
from results import Floor

MILLIONS = (1, 4, 16)


def nonlinearity(results):
    """Turn by turn, the dearest row of the three sizes over the cheapest."""
    cost = [results.series(f"ours:m{size}", lambda run: run["seconds"] / run["rows"]) for size in MILLIONS]
    turns = sorted(set.intersection(*map(set, cost)))
    return [max(each[turn] for each in cost) / min(each[turn] for each in cost) for turn in turns]


def case(scale):
    data = tuple(shop(f"m{size}", scale, users=50_000 * size, items=1_000_000 * size) for size in MILLIONS)
    same_users = tuple(shop(f"l{size}", scale, users=50_000, items=1_000_000 * size, kind="always 50,000 users") for size in MILLIONS[1:])
    memory = lambda results, of="l16": results.ratios(f"ours:{of}", "ours:m1", "backend_kb")
    return Case(
        name="b6", title="growth", rule_name="carts", data=data + same_users,
        entrants=tuple(entrant for each in data + same_users for entrant in side_by_side(each, "ours", "plain")),
        reference=against("plain"),
        floors=(Floor("linear within 15 percent: a row's cost at the three sizes, dearest over cheapest", nonlinearity, at_most=1.15),
                Floor("memory does not grow with the table: 16 times the items of the same users over 1, within 15 percent", memory, at_most=1.15),
                Floor("memory with 16 times the users too", lambda results: memory(results, "m16"))),
        afterwards=(draw_growth,))
