"""pg_ttl_index's form: ctid = ANY (ARRAY(SELECT ... LIMIT 10000)), 10 ms of sleep after each, all of it in one transaction.

It makes an index on the time column where there is none; a rule about another table it cannot express: there, its statement is
given our join.
"""
from job import Statement
from ways import skip_locked_loop

TITLE = "pg_ttl_index's form"

setup = skip_locked_loop.setup

LOOP = """
DO $$
DECLARE
    changed bigint;
BEGIN
    LOOP
        {rule.change} WHERE ctid = ANY (ARRAY(SELECT t.ctid FROM {rule.rows} WHERE {rule.expired} LIMIT {rule.batch}));
        GET DIAGNOSTICS changed = ROW_COUNT;
        EXIT WHEN changed = 0;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$"""


def prepare(rule, database):
    return Statement(database, LOOP.format(rule=rule), says_rows=False)
