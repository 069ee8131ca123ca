"""What is to be done, in the words that each kind of way needs, and how to tell that it was done."""
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rule:
    policy: str                 # as retention.run knows it
    target: str                 # the table whose rows go, or change
    key: str                    # its primary key
    key_type: str
    rows: str                   # FROM clause with the target under the alias t
    expired: str                # WHERE clause over it
    change: str                 # 'DELETE FROM target' or 'UPDATE target SET ...'
    plain: tuple                # the statements one would write by hand, for one transaction
    plain_title: str
    victims: dict               # table: what makes a row of it one that goes, over the alias t and never NULL; None: nothing of it goes
    dependents: tuple = ()      # (table, column that holds the target's key)
    batch: int = 10_000         # rows of the target in a batch of the loops
    time_column: str = None     # of the target, where the rule is about the target's own age
    orm: str = None             # the module in peers that does it
    changed: dict = field(default_factory=dict)   # column of the target that an update changes: what it must hold afterwards


def is_update(rule):
    return bool(rule.changed)


def expected_rows(rule):
    """How many rows go, counted by plain SQL that knows nothing of the ways."""
    return "SELECT " + " + ".join(f"(SELECT count(*) FROM {table} AS t WHERE {victim})" for table, victim in rule.victims.items() if victim)


def _rows_of(table, condition, row):
    return f"(SELECT jsonb_build_array(count(*), sum(hashtextextended({row}::text, 0))) FROM {table} AS t WHERE {condition})"


def _settled(rule):
    """A changed row without the changed columns."""
    return "(to_jsonb(t)" + "".join(f" - '{column}'" for column in rule.changed) + ")"


def before(rule):
    """The rows that must stay as they are, counted and hashed, and of changed rows that which must not change."""
    parts = [_rows_of(table, f"NOT ({victim})" if victim else "true", "t") for table, victim in rule.victims.items()]
    if is_update(rule):
        parts.append(_rows_of(rule.target, rule.victims[rule.target], _settled(rule)))
    return f"SELECT jsonb_build_array({', '.join(parts)})"


def after(rule):
    """The same of what is there now; equal to `before` if and only if the victims went and nothing else happened."""
    done = " AND ".join(f"t.{column} {what}" for column, what in rule.changed.items())
    parts = [_rows_of(table, f"NOT ({done})" if table == rule.target and done else "true", "t") for table in rule.victims]
    if is_update(rule):
        parts.append(_rows_of(rule.target, done, _settled(rule)))
    return f"SELECT jsonb_build_array({', '.join(parts)})"


def untouched(rule):
    """All rows, counted and hashed."""
    return f"SELECT jsonb_build_array({', '.join(_rows_of(table, 'true', 't') for table in rule.victims)})"
