"""The tables of the booking assistant, as its jobs map them."""
from sqlalchemy import Column, DateTime, Enum, ForeignKey, Integer, Numeric, String, Text
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.orm import declarative_base

Base = declarative_base()


class ChatSession(Base):
    __tablename__ = "sessions"
    id = Column(String(64), primary_key=True)
    user_id = Column(UUID)
    created_at = Column(DateTime)
    property_id = Column(UUID)


class Message(Base):
    __tablename__ = "messages"
    id = Column(Integer, primary_key=True)
    user_id = Column(UUID)
    sender = Column(String(10))
    content = Column(Text)
    timestamp = Column(DateTime)


class ImageSent(Base):
    __tablename__ = "imageSent"
    id = Column(Integer, primary_key=True)
    session_id = Column(String(64), ForeignKey("sessions.id"))
    property_id = Column(UUID)


class VideoSent(Base):
    __tablename__ = "videoSent"
    id = Column(Integer, primary_key=True)
    session_id = Column(String(64), ForeignKey("sessions.id"))
    property_id = Column(UUID)


class Booking(Base):
    __tablename__ = "bookings"
    booking_id = Column(Text, primary_key=True)
    user_id = Column(UUID)
    property_id = Column(UUID)
    booking_date = Column(DateTime)
    total_cost = Column(Numeric(10, 2))
    status = Column(Enum("Pending", "Waiting", "Confirmed", "Cancelled", "Completed", "Expired", name="booking_status_enum"))
    created_at = Column(DateTime)
    updated_at = Column(DateTime)
