#include "extension/server/parts.hpp"

#include "extension/boundary/parse.hpp"
#include "extension/boundary/spi.hpp"
#include "extension/core/statement.hpp"
#include "extension/server/catalog.hpp"

#include <algorithm>
#include <map>

namespace pg_retention::server {
namespace {

using core::Relation;
using core::RowKey;

bool is_computed_when_read(const Relation& table) {
  return boundary::server([&] {
    ::Relation const open = table_open(table.oid, AccessShareLock);
    const bool is_computed = boundary::is_computed_when_read(RelationGetDescr(open));
    table_close(open, NoLock);
    return is_computed;
  });
}

/// Whether an UPDATE by this clause sets the same by a part as by the table: every value follows from the row's own
/// columns, none of the columns set decides in which partition a row lies, and no table fills in one of them itself.
bool sets_alike(const Relation& root, const std::string& set_clause) {
  const auto set = boundary::columns_set_from_row(core::update_probe(root, set_clause));
  if (!set || is_computed_when_read(root))
    return false;
  // Above the root too: it may be a partition itself. Of keys that are expressions no column is told.
  const auto decisive = boundary::query(
      "WITH RECURSIVE " + std::string(catalog::below) + ", " + catalog::below_or_above +
          " SELECT a.attname FROM pg_catalog.pg_partitioned_table p JOIN tree ON tree.oid = p.partrelid "
          "LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs) "
          "AND p.partexprs IS NULL UNION ALL "
          "SELECT a.attname FROM pg_catalog.pg_attribute a JOIN tree ON tree.oid = a.attrelid "
          "WHERE a.attnum > 0 AND (a.attidentity <> '' OR a.attgenerated <> '')",
      {boundary::Arg::oid(root.oid)});
  return std::none_of(decisive.begin(), decisive.end(), [&](const boundary::Row& column) {
    return !column[0] || std::find(set->begin(), set->end(), *column[0]) != set->end();
  });
}

} // namespace

bool means_the_same_in_parts(const Relation& table, const std::vector<std::string>& probes) {
  return !is_computed_when_read(table) && std::none_of(probes.begin(), probes.end(), boundary::looks_at_whole_rows);
}

std::vector<Stretch> by_part(const Relation& table, const std::vector<RowKey>& rows, const core::Leaves& leaves,
                             const std::vector<std::string>& probes) {
  const bool is_one_table =
      std::all_of(rows.begin(), rows.end(), [&](RowKey row) { return leaves.oid(core::leaf_of(row)) == table.oid; });
  if (is_one_table || !means_the_same_in_parts(table, probes))
    return {{table, rows}};
  std::map<Oid, std::vector<RowKey>> by_leaf;
  for (const RowKey row : rows)
    by_leaf[leaves.oid(core::leaf_of(row))].push_back(row);
  std::vector<Stretch> stretches;
  // Of what is no part any more, the table gives nothing, and neither must the part.
  for (const Relation& leaf : catalog::leaves(table)) {
    const auto found = by_leaf.find(leaf.oid);
    if (found == by_leaf.end() || !catalog::is_open(leaf.oid, ACL_SELECT))
      continue;
    stretches.push_back({leaf, std::move(found->second)});
    by_leaf.erase(found);
  }
  if (by_leaf.empty())
    return stretches;
  stretches.push_back({table, {}});
  for (const RowKey row : rows)
    if (by_leaf.count(leaves.oid(core::leaf_of(row))) != 0)
      stretches.back().rows.push_back(row);
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
