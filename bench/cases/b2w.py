"""B2 again, in a shop with ten times as many customers at a time: as many victims, which lie among ten times as many others, on more pages.
By itself, because the machine's memory does not hold both large shops and a copy."""
from cases.b2 import DAILY, FEW, small_shop, tenfold
from plan import Case, against, shop, side_by_side


def case(scale):
    small = small_shop(scale)
    wide = shop("wide", scale, users=2_000_000, items=40_000_000, expired=0.001, kind="ten times as many customers", **DAILY)
    return Case(
        name="b2w", title="carts, daily, among more customers", rule_name="carts", data=(small, wide),
        entrants=side_by_side(small, *FEW) + side_by_side(wide, *FEW),
        reference=against("plain"), floors=tenfold("wide"))
