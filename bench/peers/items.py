"""The same application's job without user activity: the items are loaded to be counted, then deleted by their age."""
from datetime import datetime, timedelta

from sqlalchemy import delete, select

from peers.session import SessionJob
from peers.shop import INACTIVE_DAYS, CartItem


def cleanup_old_cart_items(session):
    """Gives the number of items deleted."""
    cutoff = datetime.utcnow() - timedelta(days=INACTIVE_DAYS)
    count = len(session.execute(select(CartItem).where(CartItem.created_at < cutoff)).scalars().all())
    if count == 0:
        return 0
    statement = delete(CartItem).where(CartItem.created_at < cutoff)
    session.execute(statement.execution_options(synchronize_session=False))
    session.commit()
    return count


def Job(database):
    return SessionJob(database, cleanup_old_cart_items)
