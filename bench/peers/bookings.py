"""The expiry of bookings as an application job writes it: the overdue ones are loaded, and the status of each is set."""
from datetime import datetime, timedelta

from sqlalchemy import select

from peers.session import SessionJob
from peers.stay import Booking

EXPIRATION_MINUTES = 15


def expire_pending_bookings(session):
    """Gives the number of bookings expired. One commit at the end: the kinder form for the application."""
    cutoff = datetime.utcnow() - timedelta(minutes=EXPIRATION_MINUTES)
    overdue = session.execute(select(Booking).where(Booking.status == "Pending", Booking.created_at < cutoff)).scalars().all()
    for booking in overdue:
        booking.status = "Expired"
        booking.updated_at = datetime.utcnow()
    session.commit()
    return len(overdue)


def Job(database):
    return SessionJob(database, expire_pending_bookings)
