"""PL/pgSQL: the next n victims in the order of the primary key, so that no row is looked at twice, a commit each."""
from job import Statement
from ways.limit_loop import dependents_of

TITLE = "PL/pgSQL key-set loop"

LOOP = """
DO $$
DECLARE
    keys {rule.key_type}[];
    last {rule.key_type} := {first};
BEGIN
    LOOP
        keys := ARRAY(SELECT t.{rule.key} FROM {rule.rows} WHERE {rule.expired} AND t.{rule.key} > last
                      ORDER BY t.{rule.key} LIMIT {rule.batch});
        EXIT WHEN cardinality(keys) = 0;
        last := keys[cardinality(keys)];
        {dependents}
        {rule.change} WHERE {rule.key} = ANY (keys);
        COMMIT;
    END LOOP;
END $$"""


def prepare(rule, database):
    first = "0" if rule.key_type == "integer" else "''"
    return Statement(database, LOOP.format(rule=rule, first=first, dependents=dependents_of(rule)), says_rows=False)
