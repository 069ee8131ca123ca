"""What the application jobs share: one SQLAlchemy session, whose backend is known before the job begins."""
from sqlalchemy import create_engine
from sqlalchemy.orm import Session


class SessionJob:
    """A job over an open session; `work` gives the rows it believes it changed."""

    def __init__(self, database, work):
        self.session = Session(create_engine(f"postgresql+psycopg2:///{database}"))
        self.backends = [self.session.connection().connection.get_backend_pid()]
        self.work = work

    def run(self):
        return self.work(self.session)
