#include "extension/server/erase.hpp"

#include "extension/core/failure.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/settings.hpp"

extern "C" {
#include "catalog/pg_am.h"
}

namespace pg_retention::server {
namespace {

using boundary::Arg;
using boundary::server;
using core::Fate;
using core::RowKey;

/// What would miss a row's passing, were it removed through the access method. Runs inside server().
const char* what_watches(Oid oid) {
  Relation const table = table_open(oid, RowExclusiveLock);
  const TriggerDesc* triggers = table->trigdesc;
  const char* why = "";
  if (triggers != nullptr && (triggers->trig_delete_before_row || triggers->trig_delete_after_row ||
                              triggers->trig_delete_instead_row || triggers->trig_delete_before_statement ||
                              triggers->trig_delete_after_statement))
    why = "it has triggers for DELETE";
  else if (table->rd_rules != nullptr)
    why = "it has rules";
  else if (table->rd_rel->relrowsecurity)
    why = "it has row security";
  else if (table->rd_rel->relkind == RELKIND_RELATION && table->rd_rel->relam != HEAP_TABLE_AM_OID)
    why = "its access method is not heap";
  table_close(table, NoLock);
  return why;
}

/// Removes the victims [first, last) of one leaf. Runs inside server().
std::uint64_t erase_in_leaf(Oid leaf, Victim* first, Victim* last) {
  Relation const table = table_open(leaf, RowExclusiveLock);
  CheckCmdReplicaIdentity(table, CMD_DELETE);
  Snapshot const snapshot = GetActiveSnapshot();
  const CommandId command = GetCurrentCommandId(true);
  std::uint64_t erased = 0;
  for (Victim* victim = first; victim != last; ++victim) {
    if (victim->fate != Fate::goes) continue;
    CHECK_FOR_INTERRUPTS();
    ItemPointerData tid;
    ItemPointerSet(&tid, core::block_of(victim->key), core::offset_of(victim->key));
    TM_FailureData failure;
    const TM_Result result =
        table_tuple_delete(table, &tid, command, snapshot, InvalidSnapshot, false, &failure, false);
    if (result == TM_Ok)
      ++erased;
    else
      victim->fate = result == TM_BeingModified || result == TM_WouldBlock ? Fate::locked : Fate::changed;
  }
  table_close(table, NoLock);
  return erased;
}

/// Runs a change statement and returns its counts; keys, where asked for, come last.
boundary::Row change(const std::vector<core::RowChange>& changes, const std::vector<Arg>& rows,
                     const std::string& key = {}) {
  return boundary::query(core::change_statement(changes, key), rows).at(0);
}

core::RowChange change_of(const Resolved& resolved, const core::Leaves& leaves, std::uint16_t leaf) {
  const core::Rule& rule = resolved.rule;
  return {catalog::relation(leaves.oid(leaf), rule.target.label()), rule.target, !rule.set_clause.empty(),
          rule.set_clause};
}

/// A trigger or rule that keeps a row back would leave a family torn.
[[noreturn]] void torn(const core::Relation& relation) {
  throw core::Failure("23001", "rows of " + relation.label() + " that belong to victims were kept back",
                      "A trigger or a rule on that table prevented their removal.",
                      "A victim and its dependents go together or not at all; see what keeps the row.");
}

} // namespace

std::string why_not_direct(const Resolved& resolved, const Selection& selection) {
  if (!settings::direct()) return "the setting retention.direct is off";
  if (!resolved.rule.set_clause.empty()) return "its action is not delete";
  if (!resolved.edges.empty()) return "foreign keys refer to the target";
  std::vector<Oid> tables{resolved.rule.target.oid};
  for (const Victim& victim : selection.victims) {
    const Oid leaf = selection.leaves.oid(core::leaf_of(victim.key));
    if (leaf != tables.back()) tables.push_back(leaf);
  }
  for (const Oid table : tables) {
    const std::string why = server([&] { return what_watches(table); });
    if (!why.empty()) return why;
  }
  return {};
}

Erased erase_direct(Selection& selection) {
  Erased out;
  std::vector<Victim>& victims = selection.victims;
  for (std::size_t first = 0; first < victims.size();) {
    const std::uint16_t leaf = core::leaf_of(victims[first].key);
    std::size_t last = first;
    while (last < victims.size() && core::leaf_of(victims[last].key) == leaf) ++last;
    out.affected += server(
        [&] { return erase_in_leaf(selection.leaves.oid(leaf), &victims[first], victims.data() + last); });
    first = last;
  }
  return out;
}

Erased erase_by_sql(const Resolved& resolved, Selection& selection, const std::string& key) {
  constexpr std::size_t chunk = 50000;
  Erased out;
  std::vector<Victim>& victims = selection.victims;
  for (std::size_t first = 0; first < victims.size();) {
    const std::uint16_t leaf = core::leaf_of(victims[first].key);
    std::vector<RowKey> rows;
    std::size_t last = first;
    for (; last < victims.size() && core::leaf_of(victims[last].key) == leaf && rows.size() < chunk; ++last)
      if (victims[last].fate == Fate::goes) rows.push_back(victims[last].key);
    first = last;
    if (rows.empty()) continue;
    const boundary::Row counts = change({change_of(resolved, selection.leaves, leaf)}, {tid_array(rows)}, key);
    const std::uint64_t changed = std::stoull(*counts[0]);
    out.affected += changed;
    out.kept_back += rows.size() - changed;
    if (key.empty() || !counts[1]) continue;
    for (std::string& item : core::array_items(*counts[1]))
      if (out.keys.size() < 1000) out.keys.push_back(std::move(item));
  }
  return out;
}

Erased erase_families(const FamilyTree& tree, const Selection& selection) {
  std::map<std::uint16_t, std::vector<RowKey>> by_leaf;
  Erased out;
  for (std::uint32_t row = 0; row < tree.family.size(); ++row) {
    if (!tree.family.goes(row)) continue;
    by_leaf[core::leaf_of(tree.family.key(row))].push_back(tree.family.key(row));
    if (row < tree.victims) ++out.affected;
  }
  out.dependents = count_dependents(tree);
  std::vector<core::RowChange> changes;
  std::vector<Arg> rows;
  for (const auto& [leaf, keys] : by_leaf) {
    const core::Relation relation = catalog::relation(selection.leaves.oid(leaf), "of a dependent");
    changes.push_back({relation, relation, false, {}});
    rows.push_back(tid_array(keys));
  }
  if (changes.empty()) return out;
  const boundary::Row counts = change(changes, rows);
  std::size_t at = 0;
  for (const auto& [leaf, keys] : by_leaf) {
    if (std::stoull(*counts[at]) != keys.size()) torn(changes[at].leaf);
    ++at;
  }
  return out;
}

std::map<std::string, std::uint64_t> count_dependents(const FamilyTree& tree) {
  std::map<std::string, std::uint64_t> counts;
  for (const std::string& label : tree.labels) counts[label] = 0;
  for (std::uint32_t row = tree.victims; row < tree.family.size(); ++row)
    if (tree.family.goes(row)) ++counts[tree.labels[tree.label_of[row]]];
  for (const auto& [parent, label] : tree.cleared)
    if (tree.family.goes(parent)) ++counts[tree.labels[label]];
  return counts;
}

} // namespace pg_retention::server
