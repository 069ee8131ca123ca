"""B1: the carts of half of the users are due, and no foreign key has an index."""
from limits import scan_and_wal
from plan import Case, against, shop, side_by_side
from results import Floor, faster


def case(scale):
    data = shop("carts", scale, users=200_000, items=4_000_000)
    return Case(
        name="b1", title="carts, backlog", rule_name="carts", data=(data,),
        entrants=side_by_side(data, "ours", "ours_jobs2", "ours_apply", "plain", "orm", "limit_loop", "keyset_loop", "skip_locked_loop", "ttl_index"),
        reference=against("plain"),
        floors=(Floor("strict, committed batches, one session: at least 1.2 times as fast as one DELETE", faster("ours:carts", "plain:carts"), at_least=1.2),
                Floor("two jobs: at least 2 times", faster("ours_jobs2:carts", "plain:carts"), at_least=2)),
        afterwards=(scan_and_wal,))
