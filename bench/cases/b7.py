"""B7: what a shop's customers feel of B1: the latency of a load at a fixed rate without a cleanup, during ours, during one DELETE."""
from neighbours import Neighbours
from plan import Case, Entrant, shop
from report import latency_table
from results import Floor, slower


def p99(run):
    return run["latency_ms"]["p99"]


def case(scale):
    data = shop("carts", scale, users=200_000, items=4_000_000)
    nothing, ours, plain = entrants = tuple(Entrant(way, data, Neighbours) for way in ("nothing", "ours", "plain"))
    return Case(
        name="b7", title="neighbours", rule_name="carts", data=(data,), entrants=entrants,
        reference=lambda entrant: nothing.key,
        floors=(Floor("p99 of the neighbours at most 1.5 times theirs without a cleanup", slower(ours.key, nothing.key, p99), at_most=1.5),
                Floor("the same during one DELETE, to compare", slower(plain.key, nothing.key, p99))),
        table=latency_table)
