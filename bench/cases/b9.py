"""B9: a preview of B1 against counting the same rows by hand."""
from plan import Case, against, shop, side_by_side
from results import Floor, slower


def case(scale):
    data = shop("carts", scale, users=200_000, items=4_000_000)
    return Case(
        name="b9", title="preview", rule_name="carts", data=(data,),
        entrants=side_by_side(data, "preview", "count", "preview_list", "list"),
        reference=against("count"),
        floors=(Floor("retention.preview: no slower than 1.2 times SELECT count(*)", slower("preview:carts", "count:carts"), at_most=1.2),
                Floor("get_inactive_carts_preview(): no slower than 1.2 times the SELECTs of what it shows", slower("preview_list:carts", "list:carts"), at_most=1.2)))
