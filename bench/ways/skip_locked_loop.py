"""DocumentDB's form: ctid IN (SELECT ... FOR UPDATE SKIP LOCKED), 10,000 rows at a time, a commit each.

It forces an index on the time column where the rule is about one, and leaves off where its minute's budget is spent; here it
has that index, and goes on until nothing is left.
"""
from job import Statement

TITLE = "ctid IN (... SKIP LOCKED) loop"

LOOP = """
DO $$
DECLARE
    changed bigint;
BEGIN
    LOOP
        {rule.change} WHERE ctid IN (SELECT t.ctid FROM {rule.rows} WHERE {rule.expired} LIMIT {rule.batch} FOR UPDATE OF t SKIP LOCKED);
        GET DIAGNOSTICS changed = ROW_COUNT;
        EXIT WHEN changed = 0;
        COMMIT;
    END LOOP;
END $$"""


def setup(rule):
    return f"CREATE INDEX ON {rule.target} ({rule.time_column})" if rule.time_column else None


def prepare(rule, database):
    return Statement(database, LOOP.format(rule=rule), says_rows=False)
