#include "extension/server/constraints.hpp"

#include "extension/boundary/spi.hpp"
#include "extension/core/failure.hpp"

namespace pg_retention::server {
namespace {

/// The deferrable constraints whose triggers stand on a table or on one of its partitions.
void add_deferrable(Oid table, Deferrable& found) {
  const auto rows = boundary::query(
      R"(SELECT DISTINCT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.conname), t.tginitdeferred,
               EXISTS (SELECT 1 FROM pg_catalog.pg_constraint o WHERE o.connamespace = c.connamespace AND o.conname = c.conname
                        AND NOT o.condeferrable)
          FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_constraint c ON c.oid = t.tgconstraint
          JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
         WHERE t.tgdeferrable AND (t.tgrelid = $1 OR t.tgrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree($1) p)))",
      {boundary::Arg::oid(table)});
  for (const boundary::Row& row : rows) {
    if (row[2] == "t")
      throw core::Failure(
          core::sqlstate::not_in_prerequisite_state,
          "constraint " + *row[0] + " is deferrable, and another of that name in its schema is not",
          "A run has deferrable constraints checked at once, and SET CONSTRAINTS knows them by name only.",
          "Rename one of the two with ALTER TABLE ... RENAME CONSTRAINT.");
    found.all.push_back(*row[0]);
    if (row[1] == "t")
      found.deferred_at_first.push_back(*row[0]);
  }
}

} // namespace

Deferrable check_at_once(const Resolved& resolved) {
  std::vector<Oid> tables{resolved.rule.target.oid};
  for (const Edge& edge : resolved.edges)
    if (edge.action != EdgeAction::refuse)
      tables.push_back(edge.bond.child.oid);
  if (resolved.archive.oid != InvalidOid)
    tables.push_back(resolved.archive.oid);
  return check_at_once(tables);
}

Deferrable check_at_once(const std::vector<Oid>& tables) {
  Deferrable found;
  for (const Oid table : tables)
    add_deferrable(table, found);
  if (!found.all.empty())
    boundary::execute("SET CONSTRAINTS " + core::join(found.all, ", ") + " IMMEDIATE");
  return found;
}

void defer_again(const Deferrable& constraints) {
  if (!constraints.deferred_at_first.empty())
    boundary::execute("SET CONSTRAINTS " + core::join(constraints.deferred_at_first, ", ") + " DEFERRED");
}

} // namespace pg_retention::server
