"""The job in the application, through its object-relational mapper."""
import importlib

NAME, TITLE = "orm", "ORM (SQLAlchemy)"


def prepare(case, database):
    return importlib.import_module(case.ORM).Job(database)
