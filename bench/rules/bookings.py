"""Bookings that have been pending for more than 15 minutes become Expired."""
from rule import Rule

PENDING = "status = 'Pending' AND created_at < (now() AT TIME ZONE 'UTC') - interval '15 minutes'"
CHANGE = "UPDATE bookings SET status = 'Expired', updated_at = now() AT TIME ZONE 'UTC'"

RULE = Rule(
    policy="pending_bookings",
    target="bookings",
    key="booking_id",
    key_type="text",
    rows="bookings AS t",
    expired=PENDING,
    change=CHANGE,
    plain=(f"{CHANGE} WHERE {PENDING}",),
    plain_title="one UPDATE",
    victims={"bookings": f"coalesce({PENDING}, false)", "users": None, "properties": None},
    orm="bookings",
    # No booking was touched within the last day when the data were made.
    changed={"status": "= 'Expired'", "updated_at": "> (now() AT TIME ZONE 'UTC') - interval '20 hours'"},
)
