#include "extension/server/verify.hpp"

#include "extension/server/arrivals.hpp"
#include "extension/server/parts.hpp"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace pg_retention::server {
namespace {

using core::Fate;
using core::RowKey;

/// Locks the rows [first, last) of one leaf. Runs inside server().
void lock_in_leaf(Oid leaf, RowKey* first, RowKey* last, LockTupleMode mode, Fate* fates) {
  Relation const table = boundary::open_leaf(leaf, RowShareLock);
  TupleTableSlot* const slot = table_slot_create(table, nullptr);
  Snapshot const snapshot = GetActiveSnapshot();
  const CommandId command = GetCurrentCommandId(true);
  for (RowKey* row = first; row != last; ++row, ++fates) {
    CHECK_FOR_INTERRUPTS();
    ItemPointerData tid;
    ItemPointerSet(&tid, core::block_of(*row), core::offset_of(*row));
    TM_FailureData failure;
    const TM_Result result = table_tuple_lock(table, &tid, snapshot, slot, command, mode, LockWaitSkip, 0, &failure);
    *fates = fate_of(result);
    if (result == TM_Updated)
      *row = next_version(*row, failure.ctid);
    ExecClearTuple(slot);
  }
  ExecDropSingleTupleTableSlot(slot);
  table_close(table, NoLock);
}

/// Subjects among `subjects` that activity keeps alive by now. What was no such activity when they were judged is none
/// now unless it is another row, or another version, so that where it is known what has come nothing else is read.
std::unordered_set<RowKey> returned(const core::Rule& rule, TimestampTz cutoff, const std::vector<RowKey>& subjects,
                                    core::Leaves& leaves, std::vector<Arrivals>* activity) {
  std::optional<std::vector<RowKey>> come;
  if (activity != nullptr && !activity->empty())
    come = arrived(*activity, subjects.size() * pages_a_look_up, subjects.size());
  if (come && come->empty())
    return {};
  std::unordered_set<RowKey> alive;
  core::Rule part = rule;
  core::Relation& subject = part.path.empty() ? part.target : part.path.back().parent;
  push_latest_snapshot();
  for (const Stretch& stretch : by_part(rule.subject(), subjects, leaves, core::probes_of(rule))) {
    subject = stretch.table;
    std::vector<boundary::Arg> args{boundary::Arg::time(cutoff), tid_array(stretch.rows)};
    if (come)
      args.push_back(tid_array(*come));
    const std::vector<RowKey> found = select_rows(core::returned_subjects_select(part, come.has_value()), args, leaves);
    alive.insert(found.begin(), found.end());
  }
  pop_snapshot();
  return alive;
}

/// A row that does not go: why, and where its next version is.
struct Staying {
  Fate fate;
  RowKey next;
};
using Kept = std::unordered_map<RowKey, Staying>;

/// Locks rows and notes those that do not go.
void lock_and_note(const std::vector<RowKey>& rows, const core::Leaves& leaves, LockTupleMode mode, Kept& kept) {
  std::vector<RowKey> places = rows;
  const std::vector<Fate> fates = lock_rows(places, leaves, mode);
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (fates[i] != Fate::goes)
      kept.emplace(rows[i], Staying{fates[i], places[i]});
}

} // namespace

Fate fate_of(TM_Result result) noexcept {
  switch (result) {
  case TM_Ok:
    return Fate::goes;
  case TM_WouldBlock:
  case TM_BeingModified:
    return Fate::locked;
  case TM_Deleted:
    return Fate::gone;
  default:
    return Fate::changed;
  }
}

RowKey next_version(RowKey row, const ItemPointerData& place) noexcept {
  // A row that moved to another partition has no next version in its leaf; its old place finds no victim.
  if (ItemPointerIndicatesMovedPartitions(&place))
    return row;
  return core::row_key(core::leaf_of(row), ItemPointerGetBlockNumberNoCheck(&place),
                       ItemPointerGetOffsetNumberNoCheck(&place));
}

std::vector<Fate> lock_rows(std::vector<RowKey>& rows, const core::Leaves& leaves, LockTupleMode mode) {
  std::vector<Fate> fates(rows.size(), Fate::goes);
  core::for_each_leaf(rows, core::itself, [&](std::size_t first, std::size_t last) {
    const Oid leaf = leaves.oid(core::leaf_of(rows[first]));
    boundary::server([&] { lock_in_leaf(leaf, &rows[first], rows.data() + last, mode, &fates[first]); });
  });
  return fates;
}

void verify_subjects(const core::Rule& rule, TimestampTz cutoff, Selection& selection, Hold hold,
                     std::vector<Arrivals>* activity) {
  const core::Guards& guards = selection.guards;
  if (guards.size() == 0)
    return;
  Kept kept;
  const std::size_t subject = guards.width() - 1;
  for (std::size_t step = 0; hold == Hold::lock && step < guards.width(); ++step) {
    const bool is_watched = step == subject && !rule.activities.empty();
    const std::vector<RowKey> rows = guards.rows(step);
    lock_and_note(rows, selection.leaves, is_watched ? LockTupleExclusive : LockTupleShare, kept);
  }
  if (!rule.activities.empty())
    for (const RowKey row : returned(rule, cutoff, guards.rows(subject), selection.leaves, activity))
      kept.emplace(row, Staying{Fate::returned, row});
  if (kept.empty())
    return;

  std::vector<Fate> chains(guards.size(), Fate::goes);
  for (std::uint32_t chain = 0; chain < guards.size(); ++chain)
    for (std::size_t step = 0; step < guards.width() && chains[chain] == Fate::goes; ++step)
      if (const auto found = kept.find(guards.key(chain, step)); found != kept.end())
        chains[chain] = found->second.fate == Fate::gone ? Fate::changed : found->second.fate;
  for (Victim& victim : selection.victims)
    if (victim.fate == Fate::goes)
      victim.fate = chains[victim.chain];
}

void verify_victims(const core::Rule& rule, TimestampTz cutoff, Selection& selection, std::vector<Arrivals>* activity) {
  std::vector<RowKey> rows;
  for (const Victim& victim : selection.victims)
    if (victim.fate == Fate::goes)
      rows.push_back(victim.key);
  Kept kept;
  lock_and_note(rows, selection.leaves, LockTupleExclusive, kept);
  if (rule.path.empty() && !rule.activities.empty())
    for (const RowKey row : returned(rule, cutoff, rows, selection.leaves, activity))
      kept.emplace(row, Staying{Fate::returned, row});
  if (kept.empty())
    return;
  for (Victim& victim : selection.victims)
    if (const auto found = kept.find(victim.key); victim.fate == Fate::goes && found != kept.end()) {
      victim.fate = found->second.fate;
      victim.key = found->second.next;
    }
}

} // namespace pg_retention::server
