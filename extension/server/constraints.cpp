#include "extension/server/constraints.hpp"

#include "extension/boundary/spi.hpp"

namespace pg_retention::server {
namespace {

/// The deferred constraints whose triggers stand on a table or on one of its partitions.
void add_deferred(Oid table, std::vector<std::string>& names) {
  const auto rows =
      boundary::query("SELECT DISTINCT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.conname) "
                      "FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_constraint c ON c.oid = t.tgconstraint "
                      "JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace "
                      "WHERE t.tginitdeferred AND (t.tgrelid = $1 OR t.tgrelid IN (SELECT p.relid FROM "
                      "pg_catalog.pg_partition_tree($1) p))",
                      {boundary::Arg::oid(table)});
  for (const boundary::Row& row : rows)
    names.push_back(*row[0]);
}

} // namespace

std::vector<std::string> check_at_once(const Resolved& resolved) {
  std::vector<std::string> names;
  add_deferred(resolved.rule.target.oid, names);
  for (const Edge& edge : resolved.edges)
    if (edge.action != EdgeAction::refuse)
      add_deferred(edge.bond.child.oid, names);
  if (resolved.archive.oid != InvalidOid)
    add_deferred(resolved.archive.oid, names);
  if (!names.empty())
    boundary::execute("SET CONSTRAINTS " + core::join(names, ", ") + " IMMEDIATE");
  return names;
}

void defer_again(const std::vector<std::string>& constraints) {
  if (!constraints.empty())
    boundary::execute("SET CONSTRAINTS " + core::join(constraints, ", ") + " DEFERRED");
}

} // namespace pg_retention::server
