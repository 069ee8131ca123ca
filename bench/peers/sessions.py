"""The session cleanup as an application job writes it: the silent sessions are loaded, and each goes with its images and videos."""
from datetime import datetime, timedelta

from sqlalchemy import select

from peers.session import SessionJob
from peers.stay import ChatSession, ImageSent, Message, VideoSent

INACTIVE_HOURS = 24


def cleanup_inactive_sessions(session):
    """Gives the number of sessions, images and videos deleted. One commit at the end: the kinder form for the application."""
    cutoff = datetime.utcnow() - timedelta(hours=INACTIVE_HOURS)
    alive = select(Message.id).where(Message.user_id == ChatSession.user_id, Message.sender == "user", Message.timestamp >= cutoff)
    rows = 0
    for silent in session.execute(select(ChatSession).where(~alive.exists())).scalars().all():
        for media in (ImageSent, VideoSent):
            rows += session.query(media).filter(media.session_id == silent.id).delete(synchronize_session=False)
        session.delete(silent)
        rows += 1
    session.commit()
    return rows


def Job(database):
    return SessionJob(database, cleanup_inactive_sessions)
