#include "extension/server/parts.hpp"

#include "extension/boundary/parse.hpp"
#include "extension/boundary/spi.hpp"
#include "extension/server/catalog.hpp"

#include <algorithm>
#include <map>

namespace pg_retention::server {
namespace {

using core::Relation;
using core::RowKey;

/// Whether an UPDATE by this clause sets the same by a part as by the table: every value follows from the row's own
/// columns, and none of the columns set decides in which partition a row lies.
bool sets_alike(const Relation& root, const std::string& set_clause) {
  const auto set = boundary::columns_set_from_row("UPDATE " + root.sql() + " AS target SET " + set_clause + "\n");
  if (!set || alike(root, {root.oid}).empty())
    return false;
  // Above the root too: it may be a partition itself. Of keys that are expressions no column is told.
  const auto keys = boundary::query(
      "SELECT a.attname FROM pg_catalog.pg_partitioned_table p LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = "
      "p.partrelid AND a.attnum = ANY (p.partattrs) AND p.partexprs IS NULL WHERE p.partrelid IN (SELECT relid FROM "
      "pg_catalog.pg_partition_tree($1) UNION SELECT relid FROM pg_catalog.pg_partition_ancestors($1))",
      {boundary::Arg::oid(root.oid)});
  return std::none_of(keys.begin(), keys.end(), [&](const boundary::Row& key) {
    return !key[0] || std::find(set->begin(), set->end(), *key[0]) != set->end();
  });
}

} // namespace

std::vector<Oid> alike(const Relation& root, const std::vector<Oid>& leaves) {
  std::vector<std::string> oids;
  for (const Oid leaf : leaves)
    oids.push_back(std::to_string(leaf));
  // Each leaf's columns beside the root's. A virtual column (PostgreSQL 18) is computed where it is read, by the
  // expression of the table that is named.
  const std::string columns =
      "SELECT pg_catalog.array_agg((a.attname, a.atttypid, a.atttypmod, a.attcollation) ORDER BY a.attnum) FROM "
      "pg_catalog.pg_attribute a WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid = ";
  std::vector<Oid> out;
  for (const boundary::Row& row : boundary::query(
           "SELECT c.oid FROM pg_catalog.pg_class c WHERE c.oid IN (" + core::join(oids, ", ") + ") AND (" + columns +
               "c.oid) = (" + columns +
               "$1) AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 AND a.attgenerated = "
               "'v')",
           {boundary::Arg::oid(root.oid)}))
    out.push_back(static_cast<Oid>(std::stoul(*row[0])));
  return out;
}

std::vector<Stretch> by_part(const Relation& table, const std::vector<RowKey>& rows, const core::Leaves& leaves) {
  std::map<Oid, std::vector<RowKey>> by_leaf;
  for (const RowKey row : rows)
    by_leaf[leaves.oid(core::leaf_of(row))].push_back(row);
  const bool is_one_table = by_leaf.empty() || (by_leaf.size() == 1 && by_leaf.begin()->first == table.oid);
  if (is_one_table && table.kind != RELKIND_PARTITIONED_TABLE)
    return {{table, rows}};
  // Of what is no part any more, the table gives nothing, and neither must the part.
  std::vector<Oid> open;
  for (const Relation& leaf : catalog::leaves(table))
    if (by_leaf.count(leaf.oid) != 0 && catalog::is_open(leaf.oid, ACL_SELECT))
      open.push_back(leaf.oid);
  std::vector<Stretch> stretches;
  if (!open.empty())
    for (const Oid leaf : alike(table, open)) {
      stretches.push_back({catalog::relation(leaf, "of a row"), std::move(by_leaf[leaf])});
      by_leaf.erase(leaf);
    }
  if (!by_leaf.empty() || stretches.empty()) {
    stretches.push_back({table, {}});
    for (const RowKey row : rows)
      if (by_leaf.count(leaves.oid(core::leaf_of(row))) != 0)
        stretches.back().rows.push_back(row);
  }
  return stretches;
}

bool Parts::differs() const {
  // A trigger may set a column that decides in which partition the row lies, and only the root can move it.
  if (!differs_)
    differs_ = set_clause_.empty() ? catalog::watches_statements(root_)
                                   : catalog::sets_off_changes(root_) || !sets_alike(root_, set_clause_);
  return *differs_;
}

bool Parts::must_name_root(const Relation& leaf) const {
  if (leaf.oid == root_.oid)
    return false;
  // A right on the root is a right on its rows, also where none is granted on their part.
  const AclMode rights = ACL_SELECT | (set_clause_.empty() ? ACL_DELETE : ACL_UPDATE);
  return differs() || !catalog::is_open(leaf.oid, rights);
}

} // namespace pg_retention::server
