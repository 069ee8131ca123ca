#include "extension/server/direct.hpp"

#include "extension/core/failure.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/settings.hpp"
#include "extension/server/verify.hpp"

#include <algorithm>

namespace pg_retention::server {
namespace {

using boundary::server;
using core::Fate;
using core::RowKey;

/// Whether an edge that the engine follows itself answers for a foreign key from `child`.
bool is_answered_for(const std::vector<Edge>& edges, Oid child) {
  return std::any_of(edges.begin(), edges.end(), [&](const Edge& edge) {
    return edge.bond.is_key && (edge.action == EdgeAction::remove || edge.action == EdgeAction::refuse) &&
           catalog::share_rows(edge.bond.child.oid, child);
  });
}

/// The table a key's trigger answers to; the first trigger for DELETE that is none: InvalidOid. Ends at `most`.
struct Watchers {
  static constexpr int most = 64;
  Oid referring[most]; ///< tables whose foreign keys' triggers stand on the table
  int count;
  const char* other; ///< what else would miss a row, or nullptr
};

/// What would notice the removal of a table's rows.
Watchers watchers_of(Oid oid) {
  return server([&] {
    Watchers found{{}, 0, nullptr};
    Relation const table = table_open(oid, RowExclusiveLock);
    const TriggerDesc* triggers = table->trigdesc;
    for (int i = 0; triggers != nullptr && i < triggers->numtriggers; ++i) {
      const Trigger& trigger = triggers->triggers[i];
      if (!TRIGGER_FOR_DELETE(trigger.tgtype))
        continue;
      const bool is_key = trigger.tgisinternal && RI_FKey_trigger_type(trigger.tgfoid) == RI_TRIGGER_PK;
      if (is_key && found.count < Watchers::most)
        found.referring[found.count++] = trigger.tgconstrrelid;
      else
        found.other = "it has triggers for DELETE";
    }
    if (table->rd_rules != nullptr)
      found.other = "it has rules";
    else if (table->rd_rel->relrowsecurity)
      found.other = "it has row security";
    else if (table->rd_rel->relkind == RELKIND_RELATION && table->rd_rel->relam != HEAP_TABLE_AM_OID)
      found.other = "its access method is not heap";
    table_close(table, NoLock);
    return found;
  });
}

/// What would miss the passing of a table's rows, but for foreign keys that the engine answers for.
std::string what_misses(Oid table, const std::vector<Edge>& edges) {
  const Watchers found = watchers_of(table);
  if (found.other != nullptr)
    return found.other;
  for (int i = 0; i < found.count; ++i)
    if (!is_answered_for(edges, found.referring[i]))
      return "foreign keys refer to it that are not followed";
  return {};
}

/// What the rule itself needs SQL for.
std::string why_not_rule(const Resolved& resolved) {
  if (!settings::direct())
    return "the setting retention.direct is off";
  if (!resolved.rule.set_clause.empty() || resolved.archive.oid != InvalidOid)
    return "its action is not delete";
  for (const Edge& edge : resolved.edges)
    if (edge.action != EdgeAction::remove && edge.action != EdgeAction::refuse)
      return "rows that refer to a victim stay and are changed";
  return {};
}

std::string why_not_tables(const Resolved& resolved, std::vector<Oid> tables) {
  std::sort(tables.begin(), tables.end());
  tables.erase(std::unique(tables.begin(), tables.end()), tables.end());
  for (const Oid table : tables)
    if (std::string why = what_misses(table, resolved.edges); !why.empty())
      return table == resolved.rule.target.oid
                 ? why
                 : catalog::relation(table, "of a victim or dependent").label() + ": " + why;
  return {};
}

/// Removes one row. Without `is_ours` it never waits: a row that our own transaction has locked looks held then; if it
/// can be locked, nobody else holds it, and what there is to wait for is ourselves.
TM_Result delete_row(Relation table, ItemPointer tid, CommandId command, TupleTableSlot* slot, bool is_ours,
                     TM_FailureData& failure) {
  Snapshot const snapshot = GetActiveSnapshot();
  const TM_Result result = table_tuple_delete(table, tid, command, snapshot, InvalidSnapshot, is_ours, &failure, false);
  if (result != TM_BeingModified)
    return result;
  const TM_Result locked =
      table_tuple_lock(table, tid, snapshot, slot, command, LockTupleExclusive, LockWaitSkip, 0, &failure);
  ExecClearTuple(slot);
  if (locked != TM_Ok)
    return locked == TM_WouldBlock ? TM_BeingModified : locked;
  return table_tuple_delete(table, tid, command, snapshot, InvalidSnapshot, true, &failure, false);
}

/// A leaf open for removing its rows.
struct Emptying {
  Relation table;
  CommandId command;
  TupleTableSlot* slot;
};

Emptying open_emptying(Oid leaf) {
  Relation const table = boundary::open_leaf(leaf, RowExclusiveLock);
  CheckCmdReplicaIdentity(table, CMD_DELETE);
  return {table, GetCurrentCommandId(true), table_slot_create(table, nullptr)};
}

/// Asks the WAL writer to write what has been logged, for each megabyte (the default of wal_writer_flush_after). Left
/// alone it wakes every wal_writer_delay; meanwhile the WAL buffers fill, and whoever finds them full writes them page
/// by page while every other session waits.
void have_log_written() {
  constexpr XLogRecPtr stretch = 1024 * 1024;
  static XLogRecPtr asked = 0; // in this session, up to where
  if (XactLastRecEnd < asked + stretch)
    return;
  asked = XactLastRecEnd;
  XLogSetAsyncXactLSN(asked);
}

void close_emptying(const Emptying& leaf) {
  ExecDropSingleTupleTableSlot(leaf.slot);
  table_close(leaf.table, NoLock);
}

/// Removes the victims [first, last) of one leaf. Runs inside server().
std::uint64_t erase_in_leaf(Oid oid, Victim* first, Victim* last) {
  const Emptying leaf = open_emptying(oid);
  std::uint64_t erased = 0;
  for (Victim* victim = first; victim != last; ++victim) {
    if (victim->fate != Fate::goes)
      continue;
    CHECK_FOR_INTERRUPTS();
    ItemPointerData tid;
    ItemPointerSet(&tid, core::block_of(victim->key), core::offset_of(victim->key));
    TM_FailureData failure;
    const TM_Result result = delete_row(leaf.table, &tid, leaf.command, leaf.slot, false, failure);
    victim->fate = fate_of(result);
    have_log_written();
    if (result == TM_Ok)
      ++erased;
    else if (result == TM_Updated)
      victim->key = next_version(victim->key, failure.ctid);
  }
  close_emptying(leaf);
  return erased;
}

/// Removes rows of one leaf, all or none; false where one had changed. `is_ours` by row. Runs inside server().
bool erase_all_in_leaf(Oid oid, const RowKey* first, const RowKey* last, const char* is_ours) {
  const Emptying leaf = open_emptying(oid);
  bool is_whole = true;
  for (const RowKey* row = first; is_whole && row != last; ++row, ++is_ours) {
    CHECK_FOR_INTERRUPTS();
    ItemPointerData tid;
    ItemPointerSet(&tid, core::block_of(*row), core::offset_of(*row));
    TM_FailureData failure;
    is_whole = delete_row(leaf.table, &tid, leaf.command, leaf.slot, *is_ours != 0, failure) == TM_Ok;
    have_log_written();
  }
  close_emptying(leaf);
  return is_whole;
}

} // namespace

std::string why_not_direct(const Resolved& resolved, const Selection& selection) {
  if (std::string why = why_not_rule(resolved); !why.empty())
    return why;
  std::vector<Oid> tables{resolved.rule.target.oid};
  for (const Victim& victim : selection.victims)
    if (const Oid leaf = selection.leaves.oid(core::leaf_of(victim.key)); leaf != tables.back())
      tables.push_back(leaf);
  for (const Edge& edge : resolved.edges)
    if (edge.action == EdgeAction::remove)
      for (const core::Relation& leaf : catalog::leaves(edge.bond.child))
        tables.insert(tables.end(), {leaf.oid, catalog::root_of(leaf).oid});
  return why_not_tables(resolved, std::move(tables));
}

std::string why_not_direct(const Resolved& resolved) {
  if (std::string why = why_not_rule(resolved); !why.empty())
    return why;
  std::vector<Oid> tables{resolved.rule.target.oid};
  for (const core::Relation& leaf : catalog::leaves(resolved.rule.target))
    tables.push_back(leaf.oid);
  return why_not_tables(resolved, std::move(tables));
}

std::string why_not_direct(const Resolved& resolved, const FamilyTree& tree, const core::Leaves& leaves) {
  if (std::string why = why_not_rule(resolved); !why.empty())
    return why;
  std::vector<Oid> tables{resolved.rule.target.oid};
  std::vector<bool> has_rows(leaves.size());
  for (std::uint32_t row = 0; row < tree.family.size(); ++row)
    has_rows[core::leaf_of(tree.family.key(row))] = true;
  for (std::size_t leaf = 0; leaf < has_rows.size(); ++leaf)
    if (has_rows[leaf]) {
      const Oid oid = leaves.oid(static_cast<std::uint16_t>(leaf));
      tables.insert(tables.end(), {oid, catalog::root_of(catalog::relation(oid, "of a dependent")).oid});
    }
  return why_not_tables(resolved, std::move(tables));
}

Erased erase_direct(const Cleared&, Selection& selection) {
  Erased out;
  std::vector<Victim>& victims = selection.victims;
  core::for_each_leaf(victims, key_of, [&](std::size_t first, std::size_t last) {
    const Oid leaf = selection.leaves.oid(core::leaf_of(victims[first].key));
    out.affected += server([&] { return erase_in_leaf(leaf, &victims[first], victims.data() + last); });
  });
  return out;
}

Erased erase_direct(const Resolved& resolved, const FamilyTree& tree, const core::Leaves& leaves) {
  struct Going {
    RowKey row;
    bool is_ours;
  };
  std::vector<Going> going;
  Erased out;
  for (std::uint32_t row = 0; row < tree.family.size(); ++row)
    if (tree.family.goes(row)) {
      going.push_back({tree.family.key(row), row < tree.victims || tree.is_locked});
      out.affected += row < tree.victims ? 1 : 0;
    }
  std::sort(going.begin(), going.end(), [](const Going& a, const Going& b) { return a.row < b.row; });
  std::vector<RowKey> rows;
  std::vector<char> is_ours;
  for (const Going& each : going) {
    rows.push_back(each.row);
    is_ours.push_back(each.is_ours ? 1 : 0);
  }
  core::for_each_leaf(rows, core::itself, [&](std::size_t first, std::size_t last) {
    const Oid leaf = leaves.oid(core::leaf_of(rows[first]));
    const bool is_whole =
        server([&] { return erase_all_in_leaf(leaf, &rows[first], rows.data() + last, &is_ours[first]); });
    if (!is_whole)
      throw core::Failure(core::sqlstate::serialization_failure,
                          "a row of " + catalog::relation(leaf, "of a dependent").label() +
                              " was changed by somebody else while it was about to go");
  });
  out.dependents = count_dependents(resolved, tree);
  return out;
}

} // namespace pg_retention::server
