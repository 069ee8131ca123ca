#include "extension/server/execution.hpp"

#include "extension/core/failure.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/erase.hpp"
#include "extension/server/verify.hpp"

#include <algorithm>

namespace pg_retention::server {
namespace {

using core::Fate;
using core::RowKey;

/// How often rows that changed under the run are looked at again.
constexpr int most_passes = 3;

/// Tables held open, so that nothing that a policy's own functions do in this session can rewrite or empty them between
/// the choice of a row and its removal: TRUNCATE, CLUSTER and ALTER TABLE refuse a table in use.
class HeldOpen {
public:
  explicit HeldOpen(const core::Relation& target) {
    for (const core::Relation& leaf : catalog::leaves(target))
      tables_.push_back(boundary::server([&] { return table_open(leaf.oid, RowExclusiveLock); }));
  }

  /// Lets them go; an error on the way lets the server do it.
  void close() {
    for (Relation table : tables_)
      boundary::server([&] { table_close(table, NoLock); });
  }

private:
  std::vector<Relation> tables_;
};

} // namespace

void Execution::run() {
  HeldOpen held(resolved_.rule.target);
  core::Leaves leaves;
  for (int pass = 1; pass == 1 || !again_.empty(); ++pass) {
    push_latest_snapshot();
    if (pass == 1 && options_.count_expired_subjects)
      count_expired_subjects();
    // What goes is decided once: a later pass judges again only rows that had changed.
    Selection selection = pass == 1 ? select_victims(resolved_.rule, *outcome_.cutoff, leaves)
                                    : select_victims_among(resolved_.rule, *outcome_.cutoff, again_, leaves);
    settle_returned(selection);
    if (pass == 1 && fuse_blows(selection.victims.size())) {
      pop_snapshot();
      held.close();
      return;
    }
    verify_subjects(resolved_.rule, *outcome_.cutoff, selection);
    if (pass < most_passes)
      note_changed_subjects(selection);
    erase(selection);
    pop_snapshot();
    tally(selection, pass < most_passes);
  }
  held.close();
  count_path_rows();
}

/// The fuse: too many victims end the run before its first change, and say so.
bool Execution::fuse_blows(std::size_t victims) {
  std::string limit;
  if (resolved_.max_rows && victims > static_cast<std::uint64_t>(*resolved_.max_rows))
    limit = "max_rows is " + std::to_string(*resolved_.max_rows);
  if (resolved_.max_fraction && victims != 0) {
    const auto rows = std::stoull(boundary::single("SELECT pg_catalog.count(*) FROM " + resolved_.rule.target.sql(), {},
                                                   boundary::View::as_pushed)
                                      .value_or("0"));
    if (static_cast<double>(victims) > *resolved_.max_fraction * static_cast<double>(rows))
      limit = "max_fraction allows " +
              std::to_string(static_cast<std::uint64_t>(*resolved_.max_fraction * static_cast<double>(rows))) + " of " +
              std::to_string(rows) + " rows";
  }
  if (limit.empty())
    return false;
  outcome_.success = false;
  outcome_.stop_reason = "fuse";
  outcome_.sqlstate = core::sqlstate::not_in_prerequisite_state;
  outcome_.message =
      std::to_string(victims) + " rows of " + outcome_.target + " would go, but " + limit + "; nothing was changed";
  outcome_.error_hint = "Look with retention.preview; raise the limit with retention.alter_policy if this is right.";
  return true;
}

void Execution::count_expired_subjects() {
  if (!resolved_.rule.expiry_expression.empty())
    return;
  const auto count = boundary::single(core::expired_subjects_count(resolved_.rule),
                                      {boundary::Arg::time(*outcome_.cutoff)}, boundary::View::as_pushed);
  outcome_.expired_subjects = std::stoull(count.value_or("0"));
}

/// Victims of the last pass that are none any more: their subjects came back.
void Execution::settle_returned(const Selection& selection) {
  if (waiting_.empty())
    return;
  for (const Victim& victim : selection.victims)
    waiting_.erase(victim.key);
  outcome_.returned += waiting_.size();
  waiting_.clear();
}

void Execution::note_changed_subjects(const Selection& selection) {
  for (const Victim& victim : selection.victims)
    if (victim.fate == Fate::changed)
      waiting_.insert(victim.key);
}

void Execution::erase(Selection& selection) {
  const core::Rule& rule = resolved_.rule;
  Erased erased;
  if (!resolved_.edges.empty()) {
    verify_victims(rule, *outcome_.cutoff, selection);
    erased = erase_families(resolved_, gather_families(resolved_, selection, true), selection, outcome_.run_id);
  } else if (why_not_direct(resolved_, selection).empty()) {
    if (rule.path.empty() && !rule.activities.empty())
      verify_victims(rule, *outcome_.cutoff, selection);
    erased = erase_direct(selection);
  } else {
    verify_victims(rule, *outcome_.cutoff, selection);
    erased = erase_by_sql(resolved_, selection, options_.key, outcome_.run_id);
  }
  outcome_.affected += erased.affected;
  for (const auto& [label, rows] : erased.dependents)
    outcome_.dependents[label] += rows;
  outcome_.keys.insert(outcome_.keys.end(), erased.keys.begin(), erased.keys.end());
}

/// Adds up why victims stayed; those that changed are looked at again, where they may be, and not told yet.
void Execution::tally(const Selection& selection, bool may_look_again) {
  std::vector<bool> went(selection.guards.size());
  again_.clear();
  for (const Victim& victim : selection.victims)
    switch (victim.fate) {
    case Fate::goes:
      if (!went.empty())
        went[victim.chain] = true;
      break;
    case Fate::locked:
      ++outcome_.locked;
      break;
    case Fate::changed:
      if (may_look_again)
        again_.push_back(victim.key);
      else
        ++outcome_.locked;
      break;
    case Fate::gone:
      break;
    case Fate::returned:
      ++outcome_.returned;
      break;
    default:
      ++outcome_.blocked;
    }
  std::sort(again_.begin(), again_.end());
  note_path_rows(selection, went);
}

void Execution::note_path_rows(const Selection& selection, const std::vector<bool>& went) {
  const core::Guards& guards = selection.guards;
  path_rows_.resize(guards.width());
  for (std::uint32_t chain = 0; chain < guards.size(); ++chain)
    for (std::size_t step = 0; went[chain] && step < guards.width(); ++step)
      path_rows_[step].insert(guards.key(chain, step));
}

void Execution::count_path_rows() {
  outcome_.path_rows.clear();
  for (const auto& rows : path_rows_)
    outcome_.path_rows.push_back(rows.size());
  outcome_.subjects = outcome_.path_rows.empty() ? outcome_.affected : outcome_.path_rows.back();
}

std::vector<RowKey> Execution::candidates(core::Leaves& leaves) {
  push_latest_snapshot();
  const Selection selection = select_victims(resolved_.rule, *outcome_.cutoff, leaves);
  std::vector<RowKey> rows;
  if (!fuse_blows(selection.victims.size()))
    for (const Victim& victim : selection.victims)
      rows.push_back(victim.key);
  pop_snapshot();
  return rows;
}

std::vector<RowKey> Execution::batch(const std::vector<RowKey>& rows, core::Leaves& leaves, bool is_last_try) {
  const core::Rule& rule = resolved_.rule;
  const std::uint64_t affected_before = outcome_.affected;
  HeldOpen held(rule.target);
  push_latest_snapshot();
  Selection selection = select_victims_among(resolved_.rule, *outcome_.cutoff, rows, leaves);
  verify_subjects(resolved_.rule, *outcome_.cutoff, selection);
  const std::uint64_t blocked = outcome_.blocked;
  erase(selection);
  pop_snapshot();
  held.close();
  std::vector<RowKey> stayed;
  for (const Victim& victim : selection.victims)
    if (victim.fate == Fate::locked || victim.fate == Fate::changed || victim.fate == Fate::blocked)
      stayed.push_back(victim.key);
  const std::uint64_t locked = outcome_.locked;
  tally(selection, false);
  if (!is_last_try) {
    outcome_.locked = locked;
    outcome_.blocked = blocked;
  }
  const std::uint64_t subjects = outcome_.subjects, affected = outcome_.affected;
  count_path_rows();
  // A subject counts once in each batch that touched it.
  outcome_.subjects = subjects + (rule.path.empty() ? affected - affected_before : outcome_.subjects);
  return stayed;
}

} // namespace pg_retention::server
