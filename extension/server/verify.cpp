#include "extension/server/verify.hpp"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace pg_retention::server {
namespace {

using core::Fate;
using core::RowKey;

/// Locks the rows [first, last) of one leaf. Runs inside server().
void lock_in_leaf(Oid leaf, const RowKey* first, const RowKey* last, LockTupleMode mode, Fate* fates) {
  Relation const table = boundary::open_leaf(leaf, RowShareLock);
  TupleTableSlot* const slot = table_slot_create(table, nullptr);
  Snapshot const snapshot = GetActiveSnapshot();
  const CommandId command = GetCurrentCommandId(true);
  for (const RowKey* row = first; row != last; ++row, ++fates) {
    CHECK_FOR_INTERRUPTS();
    ItemPointerData tid;
    ItemPointerSet(&tid, core::block_of(*row), core::offset_of(*row));
    TM_FailureData failure;
    const TM_Result result = table_tuple_lock(table, &tid, snapshot, slot, command, mode, LockWaitSkip, 0, &failure);
    *fates = result == TM_Ok                                         ? Fate::goes
             : result == TM_WouldBlock || result == TM_BeingModified ? Fate::locked
                                                                     : Fate::changed;
    ExecClearTuple(slot);
  }
  ExecDropSingleTupleTableSlot(slot);
  table_close(table, NoLock);
}

/// Subjects among `subjects` that activity keeps alive by now.
std::unordered_set<RowKey> returned(const core::Rule& rule, TimestampTz cutoff, const std::vector<RowKey>& subjects,
                                    core::Leaves& leaves) {
  push_latest_snapshot();
  const std::vector<RowKey> alive =
      select_rows(core::returned_subjects_select(rule), {boundary::Arg::time(cutoff), tid_array(subjects)}, leaves);
  pop_snapshot();
  return {alive.begin(), alive.end()};
}

/// Fates by row, for rows that do not go.
using Kept = std::unordered_map<RowKey, Fate>;

void note(Kept& kept, const std::vector<RowKey>& rows, const std::vector<Fate>& fates) {
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (fates[i] != Fate::goes)
      kept.emplace(rows[i], fates[i]);
}

} // namespace

std::vector<Fate> lock_rows(const std::vector<RowKey>& rows, const core::Leaves& leaves, LockTupleMode mode) {
  std::vector<Fate> fates(rows.size(), Fate::goes);
  for (std::size_t first = 0; first < rows.size();) {
    const std::uint16_t leaf = core::leaf_of(rows[first]);
    std::size_t last = first;
    while (last < rows.size() && core::leaf_of(rows[last]) == leaf)
      ++last;
    boundary::server([&] { lock_in_leaf(leaves.oid(leaf), &rows[first], rows.data() + last, mode, &fates[first]); });
    first = last;
  }
  return fates;
}

void verify_subjects(const core::Rule& rule, TimestampTz cutoff, Selection& selection) {
  const core::Guards& guards = selection.guards;
  if (guards.size() == 0)
    return;
  Kept kept;
  const std::size_t subject = guards.width() - 1;
  for (std::size_t step = 0; step < guards.width(); ++step) {
    const bool is_watched = step == subject && !rule.activities.empty();
    const std::vector<RowKey> rows = guards.rows(step);
    note(kept, rows, lock_rows(rows, selection.leaves, is_watched ? LockTupleExclusive : LockTupleShare));
  }
  if (!rule.activities.empty())
    for (const RowKey row : returned(rule, cutoff, guards.rows(subject), selection.leaves))
      kept.emplace(row, Fate::returned);
  if (kept.empty())
    return;

  std::vector<Fate> chains(guards.size(), Fate::goes);
  for (std::uint32_t chain = 0; chain < guards.size(); ++chain)
    for (std::size_t step = 0; step < guards.width() && chains[chain] == Fate::goes; ++step)
      if (const auto found = kept.find(guards.key(chain, step)); found != kept.end())
        chains[chain] = found->second;
  for (Victim& victim : selection.victims)
    victim.fate = chains[victim.chain];
}

void verify_victims(const core::Rule& rule, TimestampTz cutoff, Selection& selection) {
  std::vector<RowKey> rows;
  for (const Victim& victim : selection.victims)
    if (victim.fate == Fate::goes)
      rows.push_back(victim.key);
  Kept kept;
  note(kept, rows, lock_rows(rows, selection.leaves, LockTupleExclusive));
  if (rule.path.empty() && !rule.activities.empty())
    for (const RowKey row : returned(rule, cutoff, rows, selection.leaves))
      kept.emplace(row, Fate::returned);
  if (kept.empty())
    return;
  for (Victim& victim : selection.victims)
    if (const auto found = kept.find(victim.key); victim.fate == Fate::goes && found != kept.end())
      victim.fate = found->second;
}

} // namespace pg_retention::server
