#include "extension/server/execution.hpp"

#include "extension/core/failure.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/direct.hpp"
#include "extension/server/run_keys.hpp"
#include "extension/server/versions.hpp"

#include <algorithm>

namespace pg_retention::server {
namespace {

using core::Fate;
using core::RowKey;

/// How often rows that changed under the run are looked at again.
constexpr int most_passes = 3;

/// Whether all victims are in tables whose rows can be looked at without a lock.
bool can_look_at(const Selection& selection) {
  std::vector<RowKey> rows;
  for (const Victim& victim : selection.victims)
    rows.push_back(victim.key);
  return have_versions(rows, selection.leaves);
}

} // namespace

void Execution::run(const Fuse& fuse) {
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
    if (pass == 1 && fuse.blows(resolved_.rule, selection.victims.size(), outcome_)) {
      pop_snapshot();
      held.close();
      return;
    }
    verify_subjects(resolved_.rule, *outcome_.cutoff, selection);
    if (pass < most_passes)
      note_changed_subjects(selection);
    erase(selection, Hold::lock);
    pop_snapshot();
    tally(selection, pass < most_passes);
  }
  held.close();
  count_path_rows();
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

/// The holds that stand for what this transaction changes: read once, after which none can be placed until it ends.
const LegalHolds& Execution::holds() {
  if (!holds_) {
    keep_holds_as_they_are();
    holds_.emplace(resolved_, outcome_.started);
  }
  return *holds_;
}

Erased Execution::erase_family(Selection& selection, Hold hold) {
  verify_victims(resolved_.rule, *outcome_.cutoff, selection, activity_);
  // Dependents that were only looked at may move: a statement must not follow them to where they are no dependents.
  if (hold == Hold::look && !boundary::rechecks_places() && !why_not_direct(resolved_, selection).empty())
    hold = Hold::lock;
  const FamilyTree tree = gather_families(resolved_, selection, hold, holds(), kin_);
  const std::string why_not = why_not_direct(resolved_, tree, selection.leaves);
  outcome_.hand = why_not.empty() ? "direct" : "sql";
  return why_not.empty() ? erase_direct(resolved_, tree, selection.leaves)
                         : erase_families(resolved_, tree, selection, outcome_.run_id);
}

void Execution::erase(Selection& selection, Hold hold) {
  const core::Rule& rule = resolved_.rule;
  // A subject that is the target's own row is kept from gaining activity by its lock.
  const bool needs_lock = rule.path.empty() && !rule.activities.empty();
  Erased erased;
  if (!resolved_.edges.empty()) {
    erased = erase_family(selection, hold);
  } else if (const Cleared cleared = holds().clear(selection); why_not_direct(resolved_, selection).empty()) {
    outcome_.hand = "direct";
    if (needs_lock)
      verify_victims(rule, *outcome_.cutoff, selection, activity_);
    erased = erase_direct(cleared, selection);
  } else {
    outcome_.hand = "sql";
    if (hold == Hold::look && !needs_lock && boundary::rechecks_places() && can_look_at(selection))
      look_at_victims(selection);
    else
      verify_victims(rule, *outcome_.cutoff, selection, activity_);
    if (writers_ != nullptr)
      make_room(selection, *writers_);
    // A statement that read a table whole would give back what others have replaced, of rows whose turn is to come.
    const int level = writers_ != nullptr ? plan_without_whole_tables() : 0;
    erased = erase_by_sql(cleared, resolved_, selection, hold, options_.key, outcome_.run_id);
    if (writers_ != nullptr)
      plan_as_before(level);
  }
  if (!resolved_.recorded_key.empty())
    record_keys(resolved_, selection, outcome_);
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
    case Fate::held:
      ++outcome_.held;
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

/// Whether a victim that something refers to may be set free by what goes in another batch.
bool Execution::may_be_set_free() const {
  std::vector<Oid> going{resolved_.rule.target.oid};
  for (const Edge& edge : resolved_.edges)
    if (edge.action == EdgeAction::remove)
      going.push_back(edge.bond.child.oid);
  return std::any_of(resolved_.edges.begin(), resolved_.edges.end(), [&](const Edge& edge) {
    const Oid child = edge.bond.child.oid;
    return edge.action == EdgeAction::refuse &&
           std::any_of(going.begin(), going.end(), [&](Oid table) { return catalog::share_rows(table, child); });
  });
}

std::vector<Victim> Execution::change(Selection& selection, Hold path, Hold rows) {
  verify_subjects(resolved_.rule, *outcome_.cutoff, selection, path, activity_);
  erase(selection, rows);
  std::vector<Victim> stayed;
  std::optional<bool> is_free_later;
  for (const Victim& victim : selection.victims)
    switch (victim.fate) {
    case Fate::goes:
    case Fate::gone:
      break;
    case Fate::returned:
      ++outcome_.returned;
      break;
    case Fate::held:
      ++outcome_.held;
      break;
    case Fate::blocked:
      if (!is_free_later)
        is_free_later = may_be_set_free();
      if (*is_free_later)
        stayed.push_back(victim);
      else
        ++outcome_.blocked;
      break;
    default:
      stayed.push_back(victim);
    }
  return stayed;
}

std::vector<Victim> Execution::judge_and_change(const std::vector<RowKey>& rows, core::Leaves& leaves, Hold path,
                                                Hold hold, std::vector<RowKey>& victims) {
  push_latest_snapshot();
  Selection selection = select_victims_among(resolved_.rule, *outcome_.cutoff, rows, leaves);
  for (const Victim& victim : selection.victims)
    victims.push_back(victim.key);
  std::vector<Victim> stayed = change(selection, path, hold);
  pop_snapshot();
  std::vector<bool> went(selection.guards.size());
  for (const Victim& victim : selection.victims)
    if (victim.fate == Fate::goes && !went.empty())
      went[victim.chain] = true;
  note_path_rows(selection, went);
  return stayed;
}

std::vector<RowKey> Execution::subject_rows() const {
  return path_rows_.empty() ? std::vector<RowKey>()
                            : std::vector<RowKey>(path_rows_.back().begin(), path_rows_.back().end());
}

} // namespace pg_retention::server
