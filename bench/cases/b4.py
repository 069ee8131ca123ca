"""B4: sessions of silent users, with the image and video rows that refer to them."""
from plan import Case, Data, against, scaled, side_by_side
from results import Floor, faster


def case(scale):
    sizes = {"sessions": scaled(scale, 500_000), "messages": scaled(scale, 3_000_000), "media": scaled(scale, 1_500_000)}
    data = Data("stay", "stay.sql", sizes, ", ".join(f"{size:,} {name}" for name, size in sizes.items()))
    return Case(
        name="b4", title="sessions with two referring tables", rule_name="sessions", data=(data,),
        entrants=side_by_side(data, "ours", "ours_jobs2", "ours_apply", "plain", "orm", "limit_loop", "keyset_loop"),
        reference=against("plain"),
        floors=(Floor("at least 3 times as fast as the three DELETEs", faster("ours:stay", "plain:stay"), at_least=3),))
