#include "extension/server/batch_run.hpp"

#include "extension/core/failure.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/direct.hpp"
#include "extension/server/settings.hpp"

#include <algorithm>
#include <iterator>

/// The rows of one batch of a committed run: found, trusted, changed, counted.
namespace pg_retention::server {

using core::Fate;
using core::RowKey;

namespace {

void sort_uniquely(std::vector<RowKey>& rows) {
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
}

/// Whether a rule's target lies on its own path.
bool is_on_path(const core::Rule& rule) {
  return std::any_of(rule.path.begin(), rule.path.end(), [&](const core::ForeignKey& step) {
    return catalog::share_rows(step.parent.oid, rule.target.oid);
  });
}

} // namespace

/// What makes the changes of one batch.
Execution BatchRun::execution() {
  Execution execution(*resolved_, options_, outcome_);
  if (strategy_->takes_turns)
    execution.make_room_of(&writers_);
  return execution;
}

/// One batch from the source.
void BatchRun::fill(Hold hold, Done& done) {
  Execution execution = this->execution();
  execution.rely_on(kin_.get(), &activity_);
  Source& source = remembered_->source();
  Watch* const watch = remembered_->watch();
  // Where nothing has to be gathered, rows go as they are found, and the clock is looked at in between.
  const bool streams = resolved_->edges.empty() && why_not_direct(*resolved_).empty();
  // What comes to the tables of activities is asked for once for all of them.
  const bool gathers = !streams || !resolved_->rule.activities.empty();
  std::size_t most = within_limits(streams ? most_streamed() : pace().next());
  if (kin_ && source.position() < kin_until_)
    most = std::min<std::size_t>(most, kin_until_ - source.position());
  const std::int64_t until =
      GetCurrentTimestamp() + std::int64_t{is_slow_ ? slow_target() : settings::batch_target()} * 800;
  const auto has_time = [&] { return limits_.batch_rows || GetCurrentTimestamp() < until; };
  if (watch != nullptr)
    watch->begin_batch(streams && !is_on_path(resolved_->rule));
  push_latest_snapshot();
  do {
    Selection part(leaves_, 0);
    do
      source.read(most - done.rows - part.victims.size(), part.victims);
    while (gathers && !source.at_end() && done.rows + part.victims.size() < most && has_time());
    outcome_.failed += failures_.leave_out(part.victims);
    trust(part);
    change_part(execution, part, hold, done);
    done.rows += part.victims.size();
  } while (!source.at_end() && done.rows < most && has_time());
  pop_snapshot();
  note_progress(source.share(), source.expected());
  const auto is_lost = [&](std::uint32_t chain) { return !remembered_->chains().is_as_judged(chain); };
  if (watch != nullptr && limits_.strict && hold == Hold::look && !watch->holds() &&
      std::any_of(done.chains.begin(), done.chains.end(), is_lost))
    throw core::Failure(core::sqlstate::serialization_failure, "a subject changed while its rows were about to go");
}

/// How far the walk is; without a list, what is done so far tells how much there is in all.
void BatchRun::note_progress(double share, std::optional<std::uint64_t> expected) {
  outcome_.share = share;
  outcome_.expected = expected;
  if (!expected && share > 0)
    outcome_.expected = static_cast<std::uint64_t>(static_cast<double>(outcome_.affected) / share);
}

/// Takes out the victims whose subjects, or the way to them, are no longer as they were judged.
void BatchRun::trust(Selection& part) {
  Watch* const watch = remembered_->watch();
  if (watch == nullptr)
    return;
  for (const Victim& victim : part.victims)
    if (victim.fate == Fate::goes)
      watch->rely_on(victim.chain);
  if (watch->look_at_new())
    return;
  for (Victim& victim : part.victims)
    if (victim.fate == Fate::goes && !remembered_->chains().is_as_judged(victim.chain))
      victim.fate = Fate::changed;
}

/// Gives the selection the rows on the path, to be locked or judged again.
void BatchRun::guard(Selection& part) const {
  const core::Chains& chains = remembered_->chains();
  part.guards = core::Guards(chains.width());
  std::vector<RowKey> rows(chains.width());
  for (Victim& victim : part.victims) {
    // What was not seen just now may be a place without a row, which must not be locked.
    if (victim.fate != Fate::goes)
      continue;
    for (std::size_t step = 0; step < rows.size(); ++step)
      rows[step] = chains.row(victim.chain, step);
    victim.chain = part.guards.chain(rows.data());
  }
}

void BatchRun::change_part(Execution& execution, Selection& part, Hold hold, Done& done) {
  const bool has_activity = !resolved_->rule.activities.empty();
  std::vector<std::uint32_t> chains;
  for (const Victim& victim : part.victims)
    chains.push_back(victim.chain);
  if (remembered_->watch() != nullptr && (has_activity || (limits_.strict && hold == Hold::lock)))
    guard(part);
  const Hold hold_path = limits_.strict ? Hold::lock : Hold::look;
  std::vector<Victim> stayed = execution.change(part, hold_path, hold);
  done.stayed.insert(done.stayed.end(), stayed.begin(), stayed.end());
  for (std::size_t i = 0; i < chains.size() && !touched_.empty(); ++i)
    if (part.victims[i].fate == Fate::goes)
      done.chains.push_back(chains[i]);
}

void BatchRun::judge(std::vector<RowKey> rows, Hold hold, Done& done) {
  // The run itself may have written them anew meanwhile, with the key to a row that went emptied.
  follow_versions(rows, leaves_);
  sort_uniquely(rows);
  Execution execution = this->execution();
  std::vector<RowKey> victims;
  done.stayed = execution.judge_and_change(rows, leaves_, limits_.strict ? Hold::lock : Hold::look, hold, victims);
  done.rows = rows.size();
  count_subjects(execution.subject_rows(), done);
  count_returned(rows, std::move(victims));
}

/// Chosen rows that stand and are no victims any more: their subjects came back.
void BatchRun::count_returned(const std::vector<RowKey>& chosen, std::vector<RowKey> victims) {
  std::sort(victims.begin(), victims.end());
  std::vector<RowKey> saved;
  std::set_difference(chosen.begin(), chosen.end(), victims.begin(), victims.end(), std::back_inserter(saved));
  outcome_.returned += standing_rows(resolved_->rule.target, saved, leaves_).size();
}

void BatchRun::judge_again(const std::vector<Candidate>& candidates, Done& done) {
  std::vector<RowKey> rows;
  for (const Candidate& candidate : candidates)
    rows.push_back(candidate.row);
  follow_versions(rows, leaves_);
  // Those that failed meanwhile are told already.
  (void)failures_.leave_out(rows);
  sort_uniquely(rows);
  Execution execution = this->execution();
  std::vector<RowKey> victims;
  done.stayed = execution.judge_and_change(rows, leaves_, Hold::lock, Hold::lock, victims);
  done.rows = rows.size();
  count_subjects(execution.subject_rows(), done);
  count_returned(rows, std::move(victims));
}

/// Subjects found by statements: those the run knows count once, others once a batch.
void BatchRun::count_subjects(const std::vector<RowKey>& subjects, Done& done) {
  for (const RowKey row : subjects) {
    if (!touched_.empty()) {
      const std::vector<RowKey>& known = remembered_->chains().step(touched_.size() - 1).rows;
      const auto found = std::lower_bound(known.begin(), known.end(), row);
      if (found != known.end() && *found == row) {
        done.subjects.push_back(static_cast<std::uint32_t>(found - known.begin()));
        continue;
      }
    }
    // Each once, as far as memory allows to tell.
    const auto number = static_cast<std::uint32_t>(found_subjects_.size());
    if (found_subjects_.memory() > settings::work_mem() / 4 || found_subjects_.find_or_add(row, number) == number)
      ++outcome_.subjects;
  }
}

/// What a batch did beside the outcome, now that nothing undoes it any more.
void BatchRun::keep(const Done& done) {
  if (strategy_->way == Way::ranges && !resolved_->rule.set_clause.empty() && TransactionIdIsValid(done.xid))
    remembered_->source().note_written(done.xid);
  if (strategy_->takes_turns && TransactionIdIsValid(done.xid))
    writers_.add(done.xid);
  for (const Victim& victim : done.stayed)
    again_->add({victim.key, 0, static_cast<std::uint32_t>(victim.fate)});
  again_->settle();
  const auto touch = [&](std::size_t step, std::uint32_t row) {
    if (touched_[step][row])
      return;
    touched_[step][row] = true;
    if (step + 1 == touched_.size())
      ++outcome_.subjects;
  };
  for (const std::uint32_t chain : done.chains)
    for (std::size_t step = 0; step < touched_.size(); ++step)
      touch(step, remembered_->chains().row_of(chain, step));
  for (const std::uint32_t subject : done.subjects)
    touch(touched_.size() - 1, subject);
  if (resolved_->rule.path.empty())
    outcome_.subjects = outcome_.affected;
}

} // namespace pg_retention::server
