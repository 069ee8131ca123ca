"""The cart cleanup as an application job writes it: the users are loaded, the items are loaded to be counted, then deleted.

The job's own steps, in its order, with a synchronous session.
"""
from datetime import datetime, timedelta

from sqlalchemy import Column, DateTime, ForeignKey, Integer, String, Text, delete, select
from sqlalchemy.orm import declarative_base

from peers.session import SessionJob

INACTIVE_DAYS = 90
Base = declarative_base()


class User(Base):
    __tablename__ = "users"
    id = Column(Integer, primary_key=True)
    telegram_username = Column(String)
    telegram_id = Column(Integer)
    registered_at = Column(DateTime)
    last_active = Column(DateTime)


class Cart(Base):
    __tablename__ = "carts"
    id = Column(Integer, primary_key=True)
    user_id = Column(Integer, ForeignKey("users.id"))


class CartItem(Base):
    __tablename__ = "cart_items"
    id = Column(Integer, primary_key=True)
    cart_id = Column(Integer, ForeignKey("carts.id"))
    category_id = Column(Integer)
    subcategory_id = Column(Integer)
    quantity = Column(Integer)
    tier_breakdown = Column(Text)
    created_at = Column(DateTime)


def cleanup_inactive_user_carts(session):
    """Gives the number of items deleted."""
    cutoff = datetime.utcnow() - timedelta(days=INACTIVE_DAYS)
    inactive_users = session.execute(select(User).where(User.last_active < cutoff)).scalars().all()
    if not inactive_users:
        return 0
    ids = [user.id for user in inactive_users]
    items = session.execute(select(CartItem).join(Cart).where(Cart.user_id.in_(ids))).scalars().all()
    if not items:
        return 0
    statement = delete(CartItem).where(CartItem.cart_id.in_(select(Cart.id).where(Cart.user_id.in_(ids))))
    # SQLAlchemy 1.4 cannot evaluate the sub-query for the loaded objects; not asking it to is also the fastest.
    session.execute(statement.execution_options(synchronize_session=False))
    session.commit()
    return len(items)


def Job(database):
    return SessionJob(database, cleanup_inactive_user_carts)
