"""What a case is made of: a rule, data, and the entrants that are measured side by side."""
from dataclasses import dataclass
import importlib

import report
from situations import Quiet


@dataclass(frozen=True)
class Data:
    name: str
    script: str                 # in data/
    variables: dict
    title: str
    kind: str = ""              # what tells it from others of a size, where a picture has both


@dataclass(frozen=True)
class Entrant:
    """One row of a case's table: a way, on some data, in some situation."""
    way: str
    data: Data
    situation: type = Quiet

    @property
    def key(self):
        return ":".join(part for part in (self.way, self.data.name, self.situation.NAME) if part)


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    rule_name: str
    data: tuple
    entrants: tuple
    reference: object           # entrant -> key of the one it is compared with, or None
    floors: tuple
    table: object = report.timing_table
    afterwards: tuple = ()      # functions of (admin, results, folder) that measure or draw more; each gives lines to print

    @property
    def rule(self):
        return importlib.import_module(f"rules.{self.rule_name}").RULE

    def way_title(self, entrant):
        return importlib.import_module(f"ways.{entrant.way}").TITLE or self.rule.plain_title

    def title_of(self, entrant):
        """The way, and where that does not say it all, the data and the situation."""
        size = entrant.data.title if len(self.data) > 1 else ""
        return ", ".join(part for part in (self.way_title(entrant), size, entrant.situation.TITLE) if part)


def scaled(scale, number):
    return max(1, round(number * scale))


def shop(name, scale, users, items, expired=0.5, away="700 days", indexes=False, title=None, kind="", times_before=0):
    """A shop's data; see data/shop.sql."""
    items = scaled(scale, items)
    return Data(name, "shop.sql", {"users": scaled(scale, users), "items": items, "expired": expired, "away": away, "indexes": int(indexes), "times_before": times_before},
                title or f"{items * (1 + times_before):,} items" + (kind and f", {kind}"), kind)


def side_by_side(data, *ways):
    return tuple(Entrant(way, data) for way in ways)


def against(way):
    """Compares every entrant with one way on the same data and in no particular situation."""
    return lambda entrant: Entrant(way, entrant.data).key
