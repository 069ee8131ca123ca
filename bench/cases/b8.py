"""B8: B1 while an old snapshot is open, so that nothing removed can be pruned away behind the run."""
from plan import Case, Entrant, shop, side_by_side
from results import Floor, slower
from situations import OldSnapshot


def case(scale):
    data = shop("carts", scale, users=200_000, items=4_000_000)
    return Case(
        name="b8", title="old snapshot", rule_name="carts", data=(data,),
        entrants=side_by_side(data, "ours", "plain") + tuple(Entrant(way, data, OldSnapshot) for way in ("ours", "plain")),
        reference=lambda entrant: Entrant(entrant.way, entrant.data).key,
        floors=(Floor("within 1.3 times of the time without the snapshot", slower("ours:carts:old_snapshot", "ours:carts"), at_most=1.3),
                Floor("the same for one DELETE, to compare", slower("plain:carts:old_snapshot", "plain:carts"))))
