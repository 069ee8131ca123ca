#include "extension/server/erase.hpp"

#include "extension/core/failure.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/parts.hpp"
#include "extension/server/settings.hpp"
#include "extension/server/verify.hpp"
#include "extension/server/versions.hpp"

#include <algorithm>
#include <set>

namespace pg_retention::server {
namespace {

using boundary::Arg;
using boundary::server;
using core::Fate;
using core::RowKey;

/// Runs a change statement and returns its counts; keys, where asked for, come last.
boundary::Row change(const std::vector<core::RowChange>& changes, const std::vector<Arg>& rows,
                     const std::string& key = {}) {
  return boundary::change(core::change_statement(changes, key), rows).at(0);
}

/// Where rows of a leaf are archived, all its columns accounted for.
void archive_to(core::RowChange& change, const core::Relation& archive, std::int64_t run_id) {
  if (archive.oid == InvalidOid)
    throw core::Failure(core::sqlstate::undefined_table, "archive " + archive.label() + " does not exist",
                        "Rows of " + change.leaf.label() + " go with the policy's victims and would be lost.",
                        "CREATE TABLE " + archive.sql() + " (LIKE " + change.leaf.sql() +
                            ", retention_run_id bigint NOT NULL, archived_at timestamptz NOT NULL);");
  change.archive = archive;
  change.run_id = run_id;
  for (const catalog::Column& column : catalog::columns(change.leaf.oid)) {
    const auto kept = catalog::column(archive, column.name);
    if (kept && kept->is_generated)
      continue;
    if (!kept)
      throw core::Failure(
          core::sqlstate::undefined_column, "archive " + archive.label() + " has no column " + core::quote(column.name),
          "It is a column of " + change.leaf.label() + ", whose rows the archive takes.",
          "ALTER TABLE " + archive.sql() + " ADD COLUMN " + core::quote(column.name) + " " + column.type + ";");
    // The same type, as narrow or without a bound.
    const auto own = catalog::require_column(change.leaf, column.name);
    const bool keeps_all =
        kept->type == own.type && (kept->declared == own.declared || kept->declared.find('(') == std::string::npos);
    if (!keeps_all)
      throw core::Failure(core::sqlstate::datatype_mismatch,
                          "column " + core::quote(column.name) + " of archive " + archive.label() + " is of type " +
                              kept->declared + ", not " + column.type,
                          "The archive would not keep it as it is.",
                          "ALTER TABLE " + archive.sql() + " ALTER COLUMN " + core::quote(column.name) + " TYPE " +
                              column.type + ";");
    change.archived_columns.push_back(column.name);
  }
}

/// Whether a leaf is a table, or a part of it.
bool is_part_of(const core::Relation& leaf, const core::Relation& table) {
  return leaf.oid == table.oid || catalog::inherits_from(leaf.oid, table.oid);
}

/// The archive that takes the rows of a leaf: that of the target or of the dependent that it is, or is a part of.
core::Relation archive_for(const Resolved& resolved, const core::Relation& leaf) {
  if (is_part_of(leaf, resolved.rule.target))
    return resolved.archive;
  core::Relation archive = archive_of(leaf);
  for (const Edge& edge : resolved.edges)
    if (edge.action == EdgeAction::remove && is_part_of(leaf, edge.bond.child)) {
      archive = archive_of(edge.bond.child);
      break;
    }
  require_own_archive(archive, resolved.owner);
  return archive;
}

Parts parts_of_target(const core::Rule& rule) { return {rule.target, rule.set_clause}; }

/// What shall happen to victims or dependents in one leaf.
core::RowChange change_of(const Resolved& resolved, const Parts& parts_of_target, const core::Leaves& leaves,
                          std::uint16_t leaf, std::int64_t run_id) {
  const core::Rule& rule = resolved.rule;
  core::RowChange change;
  change.leaf = catalog::relation(leaves.oid(leaf), "of a victim or dependent");
  change.set_clause = rule.set_clause;
  if (is_part_of(change.leaf, rule.target)) {
    change.root = rule.target;
    change.through_root = parts_of_target.must_name_root(change.leaf);
  } else {
    change.root = catalog::root_of(change.leaf);
    change.through_root = Parts(change.root, rule.set_clause).must_name_root(change.leaf);
  }
  if (resolved.archive.oid != InvalidOid)
    archive_to(change, archive_for(resolved, change.leaf), run_id);
  return change;
}

} // namespace

void torn(const core::Relation& relation) {
  throw core::Failure("23001", "rows of " + relation.label() + " that belong to victims were kept back",
                      "A trigger or a rule on that table prevented their removal.",
                      "A victim and its dependents go together or not at all; see what keeps the row.");
}

namespace {

/// Of rows that this transaction has locked and has sent away, those that are elsewhere now: a trigger or a rule
/// changed them instead, as one that only marks rows as deleted does.
std::vector<RowKey> changed_instead(const core::Relation& table, const std::vector<RowKey>& rows,
                                    core::Leaves& leaves) {
  std::vector<RowKey> now = rows, moved, changed;
  follow_versions(now, leaves);
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (now[i] != rows[i])
      moved.push_back(now[i]);
  std::sort(moved.begin(), moved.end());
  moved = standing_rows(table, moved, leaves);
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (now[i] != rows[i] && std::binary_search(moved.begin(), moved.end(), now[i]))
      changed.push_back(rows[i]);
  return changed;
}

/// A trigger or a rule did not let some rows go: those that stand are blocked. Returns how many.
std::size_t note_kept_back(const core::Relation& table, const std::vector<RowKey>& rows, bool may_be_elsewhere,
                           Selection& selection) {
  std::vector<RowKey> standing = standing_rows(table, rows, selection.leaves);
  if (may_be_elsewhere) {
    const std::vector<RowKey> changed = changed_instead(table, rows, selection.leaves);
    standing.insert(standing.end(), changed.begin(), changed.end());
    std::sort(standing.begin(), standing.end());
  }
  for (Victim& victim : selection.victims)
    if (std::binary_search(standing.begin(), standing.end(), victim.key))
      victim.fate = Fate::blocked;
  return standing.size();
}

} // namespace

Erased erase_by_sql(const Cleared&, const Resolved& resolved, Selection& selection, Hold hold, const std::string& key,
                    std::int64_t run_id) {
  constexpr std::size_t chunk = 50000;
  const Parts parts = parts_of_target(resolved.rule);
  Erased out;
  std::vector<Victim>& victims = selection.victims;
  for (std::size_t first = 0; first < victims.size();) {
    const std::uint16_t leaf = core::leaf_of(victims[first].key);
    std::vector<RowKey> rows;
    std::size_t last = first;
    for (; last < victims.size() && core::leaf_of(victims[last].key) == leaf && rows.size() < chunk; ++last)
      if (victims[last].fate == Fate::goes)
        rows.push_back(victims[last].key);
    first = last;
    if (rows.empty())
      continue;
    std::sort(rows.begin(), rows.end());
    const core::RowChange what = change_of(resolved, parts, selection.leaves, leaf, run_id);
    // Plain, without RETURNING, where that serves: a rule of the table may not have one.
    const bool is_plain = key.empty() && what.archive.oid == InvalidOid;
    boundary::Row counts;
    if (is_plain)
      counts = {std::to_string(boundary::change_count(core::plain_statement(what), {tid_array(rows)}))};
    else
      counts = change({what}, {tid_array(rows)}, key);
    const std::uint64_t changed = std::stoull(*counts[0]);
    if (what.archive.oid != InvalidOid && *counts[1] != *counts[0])
      torn(what.archive);
    out.affected += changed;
    // Where rows are locked, nobody else has changed them; an update changes those that it is to change itself.
    const bool may_be_elsewhere = hold == Hold::lock && what.set_clause.empty();
    if (changed != rows.size() &&
        changed + note_kept_back(what.through_root ? what.root : what.leaf, rows, may_be_elsewhere, selection) !=
            rows.size() &&
        hold == Hold::look)
      throw core::Failure(core::sqlstate::serialization_failure,
                          "a row of " + what.leaf.label() + " was changed by somebody else while it was about to go");
    if (key.empty() || !counts[1])
      continue;
    for (std::string& item : core::array_items(*counts[1]))
      if (out.keys.size() < 1000)
        out.keys.push_back(std::move(item));
  }
  return out;
}

void change_nothing(const Resolved& resolved, core::Leaves& leaves) {
  const Parts parts = parts_of_target(resolved.rule);
  std::vector<core::Relation> tables{resolved.rule.target};
  for (const Edge& edge : resolved.edges)
    if (edge.action == EdgeAction::remove)
      tables.push_back(edge.bond.child);
  for (const core::Relation& table : tables)
    for (const core::Relation& leaf : catalog::leaves(table)) {
      const core::RowChange what = change_of(resolved, parts, leaves, leaves.number(leaf.oid), 0);
      if (what.archive.oid == InvalidOid)
        (void)boundary::change_count(core::plain_statement(what), {tid_array({})});
      else
        (void)change({what}, {tid_array({})});
    }
}

namespace {

/// Emptied rows by leaf and by the edges they hang on: a row may hang on several, and is updated once.
std::map<std::pair<std::uint16_t, std::vector<std::uint16_t>>, std::vector<RowKey>>
emptied_rows(const Resolved& resolved, const FamilyTree& tree) {
  std::map<RowKey, std::vector<std::uint16_t>> edges;
  for (const FamilyTree::Emptied& e : tree.emptied)
    if (resolved.edges[e.edge].action == EdgeAction::set_null && tree.stands(e))
      edges[e.child].push_back(e.edge);
  std::map<std::pair<std::uint16_t, std::vector<std::uint16_t>>, std::vector<RowKey>> rows;
  for (auto& [row, hangs_on] : edges) {
    std::sort(hangs_on.begin(), hangs_on.end());
    rows[{core::leaf_of(row), hangs_on}].push_back(row);
  }
  return rows;
}

core::RowChange emptying(const Resolved& resolved, const core::Leaves& leaves, std::uint16_t leaf,
                         const std::vector<std::uint16_t>& edges) {
  core::RowChange change;
  change.leaf = change.root = catalog::relation(leaves.oid(leaf), "of a dependent");
  std::vector<std::string> columns;
  for (const std::uint16_t edge : edges)
    for (const std::string& column : resolved.edges[edge].bond.columns) {
      const std::string assignment = core::quote(column) + " = NULL";
      if (std::find(columns.begin(), columns.end(), assignment) == columns.end())
        columns.push_back(assignment);
    }
  change.set_clause = core::join(columns, ", ");
  return change;
}

} // namespace

Erased erase_families(const Resolved& resolved, const FamilyTree& tree, const Selection& selection,
                      std::int64_t run_id) {
  const Parts parts = parts_of_target(resolved.rule);
  std::map<std::uint16_t, std::vector<RowKey>> by_leaf;
  Erased out;
  for (std::uint32_t row = 0; row < tree.family.size(); ++row) {
    if (!tree.family.goes(row))
      continue;
    by_leaf[core::leaf_of(tree.family.key(row))].push_back(tree.family.key(row));
    if (row < tree.victims)
      ++out.affected;
  }
  out.dependents = count_dependents(resolved, tree);
  std::vector<core::RowChange> changes;
  std::vector<Arg> rows;
  std::vector<std::size_t> expected;
  const auto add = [&](core::RowChange change, const std::vector<RowKey>& keys) {
    changes.push_back(std::move(change));
    rows.push_back(tid_array(keys));
    expected.push_back(keys.size());
  };
  for (const auto& [leaf, keys] : by_leaf)
    add(change_of(resolved, parts, selection.leaves, leaf, run_id), keys);
  for (const auto& [where, keys] : emptied_rows(resolved, tree))
    add(emptying(resolved, selection.leaves, where.first, where.second), keys);
  if (changes.empty())
    return out;
  for (std::size_t i = 0, n = changes.size(); i < n; ++i)
    if (changes[i].archive.oid != InvalidOid)
      expected.push_back(expected[i]);
  const boundary::Row counts = change(changes, rows);
  for (std::size_t i = 0; i < expected.size(); ++i)
    if (std::stoull(*counts[i]) != expected[i])
      torn(i < changes.size() ? changes[i].leaf : resolved.archive);
  return out;
}

std::map<std::string, std::uint64_t> count_dependents(const Resolved& resolved, const FamilyTree& tree) {
  std::map<std::string, std::uint64_t> counts;
  for (const Edge& edge : resolved.edges)
    if (edge.action != EdgeAction::refuse)
      counts[edge.label] = 0;
  for (std::uint32_t row = tree.victims; row < tree.family.size(); ++row)
    if (tree.family.goes(row))
      ++counts[tree.labels[tree.label_of[row]]];
  // A row may be emptied of several keys; it counts once.
  std::set<std::pair<std::string, RowKey>> emptied;
  for (const FamilyTree::Emptied& e : tree.emptied)
    if (tree.stands(e) && emptied.insert({resolved.edges[e.edge].label, e.child}).second)
      ++counts[resolved.edges[e.edge].label];
  return counts;
}

void require_own_archive(const core::Relation& archive, Oid owner) {
  if (archive.oid == InvalidOid || catalog::owner(archive.oid) == owner)
    return;
  throw core::Failure(core::sqlstate::insufficient_privilege,
                      "archive " + archive.label() + " does not belong to the policy's owner", "",
                      "Rename that table, or give it to the role that owns the policy.");
}

core::RowChange archiving(const Resolved& resolved, const core::Relation& leaf) {
  core::RowChange change;
  change.leaf = change.root = leaf;
  archive_to(change, archive_for(resolved, leaf), 0);
  return change;
}

core::Relation archive_of(const core::Relation& table) {
  constexpr std::size_t longest = 63;
  std::string suffix = "_archive";
  std::string name = table.name;
  if (name.size() + suffix.size() > longest) {
    // Long names that begin alike must not meet in one archive.
    char digest[16];
    const auto hash = hash_bytes(reinterpret_cast<const unsigned char*>(name.data()), static_cast<int>(name.size()));
    snprintf(digest, sizeof digest, "_%08x", hash);
    suffix = digest + suffix;
    const int kept = server([&] {
      return pg_mbcliplen(name.c_str(), static_cast<int>(name.size()), static_cast<int>(longest - suffix.size()));
    });
    name.resize(static_cast<std::size_t>(kept));
  }
  core::Relation archive{InvalidOid, table.schema, name + suffix, 'r'};
  archive.oid = server([&] {
    const Oid schema = get_namespace_oid(archive.schema.c_str(), true);
    return OidIsValid(schema) ? get_relname_relid(archive.name.c_str(), schema) : InvalidOid;
  });
  return archive;
}

} // namespace pg_retention::server
