"""The job in the application, through its object-relational mapper."""
import importlib

TITLE = "ORM (SQLAlchemy)"


def prepare(rule, database):
    return importlib.import_module(f"peers.{rule.orm}").Job(database)
