"""PL/pgSQL: the first n victims that a look from the start finds, again and again, a commit each."""
from job import Statement

TITLE = "PL/pgSQL LIMIT loop"

ALONE = """
DO $$
DECLARE
    changed bigint;
BEGIN
    LOOP
        {rule.change} WHERE {rule.key} IN (SELECT t.{rule.key} FROM {rule.rows} WHERE {rule.expired} LIMIT {rule.batch});
        GET DIAGNOSTICS changed = ROW_COUNT;
        EXIT WHEN changed = 0;
        COMMIT;
    END LOOP;
END $$"""

WITH_DEPENDENTS = """
DO $$
DECLARE
    keys {rule.key_type}[];
BEGIN
    LOOP
        keys := ARRAY(SELECT t.{rule.key} FROM {rule.rows} WHERE {rule.expired} LIMIT {rule.batch});
        EXIT WHEN cardinality(keys) = 0;
        {dependents}
        {rule.change} WHERE {rule.key} = ANY (keys);
        COMMIT;
    END LOOP;
END $$"""


def dependents_of(rule):
    return " ".join(f"DELETE FROM {table} WHERE {column} = ANY (keys);" for table, column in rule.dependents)


def prepare(rule, database):
    loop = WITH_DEPENDENTS if rule.dependents else ALONE
    return Statement(database, loop.format(rule=rule, dependents=dependents_of(rule)), says_rows=False)
