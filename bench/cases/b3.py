"""B3: one table, half of it too old, in the order of age."""
from plan import Case, Data, against, scaled, side_by_side
from results import Floor, faster


def case(scale):
    items = scaled(scale, 4_000_000)
    data = Data("items", "items.sql", {"items": items}, f"{items:,} items")
    return Case(
        name="b3", title="old items, backlog", rule_name="old_items", data=(data,),
        entrants=side_by_side(data, "ours", "ours_jobs2", "ours_apply", "plain", "orm", "limit_loop", "keyset_loop", "skip_locked_loop", "ttl_index"),
        reference=against("plain"),
        floors=(Floor("one session: at least 1.2 times as fast as one DELETE", faster("ours:items", "plain:items"), at_least=1.2),
                Floor("two jobs: at least 1.8 times", faster("ours_jobs2:items", "plain:items"), at_least=1.8)))
