"""B5: a million bookings change from Pending to Expired."""
from plan import Case, Data, against, scaled, side_by_side
from results import Floor, slower


def case(scale):
    pending = scaled(scale, 1_000_000)
    data = Data("bookings", "bookings.sql", {"pending": pending}, f"{pending:,} pending bookings")
    return Case(
        name="b5", title="bookings", rule_name="bookings", data=(data,),
        entrants=side_by_side(data, "ours", "ours_jobs2", "ours_apply", "plain", "orm", "limit_loop", "keyset_loop", "skip_locked_loop"),
        reference=against("plain"),
        floors=(Floor("no slower than one UPDATE", slower("ours:bookings", "plain:bookings"), at_most=1.0),))
