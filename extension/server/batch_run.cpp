#include "extension/server/batch_run.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/core/message.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/constraints.hpp"
#include "extension/server/direct.hpp"
#include "extension/server/lag.hpp"
#include "extension/server/settings.hpp"
#include "extension/server/store.hpp"

#include <algorithm>

namespace pg_retention::server {
namespace {

using core::Fate;
using core::RowKey;

/// How often a batch that lost a deadlock or a lock, or whose subjects came back, is tried again; from the third time
/// on with row locks, which nobody can come between.
constexpr int most_tries = 5, tries_without_locks = 2;

/// How long a statement of the SQL hand waits for a row that somebody locked after it was looked at, in milliseconds.
constexpr const char* patience = "50";

std::int64_t now() { return GetCurrentTimestamp(); }

/// An error that another try may not meet again.
bool is_passing(const std::string& sqlstate) {
  return sqlstate == core::sqlstate::deadlock_detected || sqlstate == core::sqlstate::lock_not_available ||
         sqlstate == core::sqlstate::serialization_failure;
}

} // namespace

BatchRun::BatchRun(const core::Policy& policy, const BatchLimits& limits, Outcome& outcome)
    : policy_(policy), limits_(limits), outcome_(outcome),
      pace_(settings::batch_target(), static_cast<std::size_t>(settings::batch_max_rows())),
      again_(std::make_unique<Spool>(settings::work_mem() / 4)) {}

void BatchRun::run() {
  if (choose()) {
    walk();
    try_again();
  }
  finish();
}

void BatchRun::drop() noexcept {
  if (remembered_)
    remembered_->drop();
  again_->drop();
}

/// Runs `body` with the owner's rights in a subtransaction, the target held open and the policy held against the schema
/// as it is.
std::optional<boundary::Caught> BatchRun::as_owner(const std::function<void()>& body) {
  return boundary::attempt([&] {
    const Authority before = act_as(runs_as(policy_), zone_of(policy_));
    if (!resolved_)
      resolved_ = resolve(policy_);
    HeldOpen held({resolved_->rule.target});
    if (generation_ != boundary::schema_generation()) {
      generation_ = boundary::schema_generation();
      resolved_ = resolve(policy_);
    }
    require_rights(*resolved_);
    const Deferrable deferred = check_at_once(*resolved_);
    body();
    defer_again(deferred);
    held.close();
    give_back(before);
  });
}

void BatchRun::stop(const char* reason, const std::string& message) {
  has_stopped_ = true;
  outcome_.stop_reason = reason;
  outcome_.message = message;
}

/// Chooses the way and what it needs, and records the run as begun; false where there is nothing more to do.
bool BatchRun::choose() {
  boundary::Scratch scratch;
  const auto caught = as_owner([&] { choose_rows(); });
  if (caught)
    note_failure(outcome_, *caught);
  const bool goes_on = outcome_.success && remembered_ && !has_stopped_;
  if (goes_on) {
    record_standing(outcome_);
    boundary::commit();
  }
  scratch.release();
  return goes_on;
}

void BatchRun::choose_rows() {
  const core::Rule& rule = resolved_->rule;
  outcome_.cutoff = cutoff_before_now(policy_.expire_after, zone_of(policy_), true);
  outcome_.runs_as = runs_as(policy_);
  outcome_.target = rule.target.label();
  push_latest_snapshot();
  strategy_ = choose_strategy(rule, *outcome_.cutoff);
  const bool has_fuse = resolved_->max_rows || resolved_->max_fraction;
  Execution execution(*resolved_, options_, outcome_);
  const bool is_list = strategy_->way == Way::versions || strategy_->way == Way::judged;
  if (has_fuse && !is_list && execution.fuse_blows(count_victims())) {
    pop_snapshot();
    return;
  }
  remembered_ = std::make_unique<Remembered>(*strategy_, rule, *outcome_.cutoff, leaves_, limits_.slice);
  if (has_fuse && is_list && execution.fuse_blows(remembered_->chosen()))
    remembered_->drop(), remembered_.reset();
  pop_snapshot();
  outcome_.walk = walk_name(strategy_->way);
  outcome_.reason = strategy_->reason;
  if (!remembered_)
    return;
  const core::Chains& chains = remembered_->chains();
  for (std::size_t step = 0; step < chains.width() && strategy_->way != Way::judged; ++step)
    touched_.emplace_back(chains.step(step).rows.size());
}

std::uint64_t BatchRun::count_victims() const {
  return std::stoull(boundary::single("SELECT pg_catalog.count(*)" + core::victims_source(resolved_->rule),
                                      {boundary::Arg::time(*outcome_.cutoff)}, boundary::View::as_pushed)
                         .value_or("0"));
}

/// Goes over the target once.
void BatchRun::walk() {
  if (strategy_->way != Way::judged) {
    Source& source = remembered_->source();
    while (!source.at_end() && may_go_on()) {
      const std::uint64_t position = source.position();
      outcome_.expected = source.expected();
      if (!one_batch([&](Hold hold, Done& done) { fill(hold, done); }, [&] { source.go_back(position); }))
        return;
      outcome_.share = source.share();
    }
    return;
  }
  Spool& list = remembered_->list();
  for (std::uint64_t first = 0; first < list.size() && may_go_on();) {
    std::vector<RowKey> rows;
    for (const Candidate& candidate : list.read(first, next_size()))
      rows.push_back(candidate.row);
    std::sort(rows.begin(), rows.end());
    outcome_.expected = list.size();
    first += rows.size();
    outcome_.share = static_cast<double>(first) / static_cast<double>(list.size());
    if (!one_batch([&](Hold hold, Done& done) { judge(rows, hold, done); }, [] {}))
      return;
  }
}

/// What stayed is looked at once more, and again while that frees others; then it is told why it stayed.
void BatchRun::try_again() {
  while (!has_stopped_ && again_->size() != 0) {
    const std::unique_ptr<Spool> list = std::exchange(again_, std::make_unique<Spool>(settings::work_mem() / 4));
    list->close();
    const std::uint64_t affected = outcome_.affected;
    for (std::uint64_t first = 0; first < list->size() && may_go_on();) {
      const std::vector<Candidate> candidates = list->read(first, next_size());
      first += candidates.size();
      (void)one_batch([&](Hold, Done& done) { judge_again(candidates, done); }, [] {});
    }
    list->drop();
    if (outcome_.affected == affected)
      break;
  }
  if (has_stopped_)
    return;
  again_->close();
  for (std::uint64_t first = 0; first < again_->size();)
    for (const Candidate& candidate : again_->read(first, 65536)) {
      ++first;
      ++(static_cast<Fate>(candidate.chain) == Fate::blocked ? outcome_.blocked : outcome_.locked);
    }
}

/// One batch from the source.
void BatchRun::fill(Hold hold, Done& done) {
  Execution execution(*resolved_, options_, outcome_);
  Source& source = remembered_->source();
  Watch* const watch = remembered_->watch();
  // Where nothing has to be gathered, rows go as they are found, and the clock is looked at in between.
  const bool streams =
      resolved_->edges.empty() && why_not_direct(*resolved_, Selection(leaves_, resolved_->rule.path.size())).empty();
  const std::size_t most = streams && !limits_.batch_rows
                               ? std::min(next_size(), static_cast<std::size_t>(settings::batch_max_rows()))
                               : next_size();
  const std::int64_t until = now() + std::int64_t{settings::batch_target()} * 800;
  const auto has_time = [&] { return limits_.batch_rows || now() < until; };
  if (watch != nullptr)
    watch->begin_batch();
  push_latest_snapshot();
  do {
    Selection part(leaves_, 0);
    do
      source.read(most - done.rows - part.victims.size(), part.victims);
    while (!streams && !source.at_end() && done.rows + part.victims.size() < most && has_time());
    trust(part);
    change_part(execution, part, hold, done);
    done.rows += part.victims.size();
  } while (!source.at_end() && done.rows < most && has_time());
  pop_snapshot();
  if (watch != nullptr && limits_.strict && hold == Hold::look && !watch->holds())
    throw core::Failure(core::sqlstate::serialization_failure, "a subject changed while its rows were about to go");
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

void BatchRun::judge(const std::vector<RowKey>& rows, Hold hold, Done& done) {
  Execution execution(*resolved_, options_, outcome_);
  std::vector<RowKey> victims;
  done.stayed = execution.judge_and_change(rows, leaves_, limits_.strict ? Hold::lock : Hold::look, hold, victims);
  done.rows = rows.size();
  count_subjects(execution.subject_rows(), done);
}

void BatchRun::judge_again(const std::vector<Candidate>& candidates, Done& done) {
  std::vector<RowKey> rows, changed;
  for (const Candidate& candidate : candidates) {
    rows.push_back(candidate.row);
    if (static_cast<Fate>(candidate.chain) == Fate::changed)
      changed.push_back(candidate.row);
  }
  std::sort(rows.begin(), rows.end());
  Execution execution(*resolved_, options_, outcome_);
  std::vector<RowKey> victims;
  done.stayed = execution.judge_and_change(rows, leaves_, Hold::lock, Hold::lock, victims);
  done.rows = rows.size();
  count_subjects(execution.subject_rows(), done);
  // Rows that stand and are no victims any more: their subjects came back.
  std::sort(changed.begin(), changed.end());
  std::vector<RowKey> saved;
  std::set_difference(changed.begin(), changed.end(), victims.begin(), victims.end(), std::back_inserter(saved));
  outcome_.returned += standing_rows(resolved_->rule.target, saved, leaves_).size();
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
    ++outcome_.subjects;
  }
}

/// One transaction: judge, change, write the ledger, commit; again, after `undo`, where others came between. False
/// where the run has to end.
bool BatchRun::one_batch(const Body& body, const std::function<void()>& undo) {
  boundary::Scratch scratch;
  const std::int64_t began = now();
  bool is_done = false;
  for (int attempt = 1; !is_done && !has_stopped_; ++attempt) {
    const Outcome earlier = outcome_;
    Done done;
    const auto caught = as_owner([&] {
      const Hold hold = attempt <= tries_without_locks ? Hold::look : Hold::lock;
      if (hold == Hold::look)
        boundary::server([] {
          set_config_option("lock_timeout", patience, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
        });
      body(hold, done);
    });
    if (!caught) {
      keep(done);
      commit_batch(earlier);
      pace_.measured(done.rows, now() - began);
      is_done = true;
      continue;
    }
    outcome_ = earlier;
    undo();
    if (!is_passing(caught->sqlstate) || attempt == most_tries) {
      note_failure(outcome_, *caught);
      if (is_passing(caught->sqlstate))
        outcome_.stop_reason = "locked";
      has_stopped_ = true;
    } else {
      boundary::commit();
      boundary::wait(attempt * 10);
    }
  }
  scratch.release();
  if (is_done)
    pause();
  return is_done;
}

/// What a batch did beside the outcome, now that nothing undoes it any more.
void BatchRun::keep(const Done& done) {
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

std::size_t BatchRun::next_size() const {
  std::size_t size = limits_.batch_rows ? static_cast<std::size_t>(*limits_.batch_rows) : pace_.next();
  if (limits_.max_rows)
    size = std::min(size, static_cast<std::size_t>(*limits_.max_rows) - outcome_.affected);
  if (const std::int64_t rate = rows_per_second(); rate > 0)
    size = std::min(size, static_cast<std::size_t>(std::max<std::int64_t>(rate / 4, 1)));
  return size;
}

/// What stands between two batches: limits, and what became of the policy meanwhile.
bool BatchRun::may_go_on() {
  if (has_stopped_)
    return false;
  if (limits_.max_rows && outcome_.affected >= static_cast<std::uint64_t>(*limits_.max_rows))
    stop("max_rows", plain_message(outcome_));
  else if (limits_.max_runtime && now() - outcome_.started >= *limits_.max_runtime)
    stop("max_runtime", plain_message(outcome_));
  else
    look_at_policy();
  return !has_stopped_;
}

void BatchRun::look_at_policy() {
  const auto present = store::load(policy_.name);
  if (!present && policy_.id == 0)
    return;
  if (!present)
    stop("paused", "policy " + core::quote(policy_.name) + " was removed during the run");
  else if (present->paused)
    stop("paused", "policy " + core::quote(policy_.name) + " was paused during the run");
  else if (present->id != policy_.id || present->version != policy_.version)
    stop("paused", "policy " + core::quote(policy_.name) + " was changed during the run");
}

std::int64_t BatchRun::rows_per_second() const {
  return limits_.max_rows_per_second.value_or(settings::max_rows_per_second());
}

/// Between two transactions, with no snapshot and no lock on rows.
void BatchRun::pause() {
  std::int64_t until = now() + limits_.sleep.value_or(std::int64_t{settings::batch_sleep()} * 1000);
  if (const std::int64_t rate = rows_per_second(); rate > 0)
    until = std::max(until, outcome_.started + static_cast<std::int64_t>(static_cast<double>(outcome_.affected) * 1e6 /
                                                                         static_cast<double>(rate)));
  if (limits_.max_runtime)
    until = std::min(until, outcome_.started + *limits_.max_runtime);
  boundary::wait((until - now() + 999) / 1000);
  wait_for_replicas();
}

void BatchRun::wait_for_replicas() {
  constexpr std::int64_t between_looks = 200; // milliseconds
  const std::int64_t until = now() + std::int64_t{settings::max_lag_wait()} * 1000;
  for (std::string lags = what_lags(); !lags.empty(); lags = what_lags()) {
    boundary::commit();
    if (now() >= until)
      return stop("lag", "stopped after " + std::to_string(outcome_.affected) + " rows: " + lags);
    boundary::wait(std::min(between_looks, std::max<std::int64_t>((until - now()) / 1000, 1)));
    look_at_policy();
    if (has_stopped_)
      return;
  }
}

/// Writes how the run stands while it is on: as one that was interrupted, which it is if nothing more is written.
void BatchRun::record_standing(const Outcome& earlier) {
  Outcome standing = outcome_;
  standing.success = false;
  standing.stop_reason = "interrupted";
  standing.message = "the run has begun and not ended";
  record_batch(standing, earlier);
}

/// The ledger row and the run's present state go with the batch's rows, in its transaction.
void BatchRun::commit_batch(const Outcome& earlier) {
  outcome_.finished = now();
  if (outcome_.affected != earlier.affected)
    ++outcome_.batches;
  record_standing(earlier);
  boundary::commit();
}

void BatchRun::finish() {
  if (outcome_.success && !has_stopped_) {
    outcome_.message = plain_message(outcome_) +
                       core::skipped_tail(outcome_.locked, outcome_.blocked, outcome_.held, outcome_.returned);
    outcome_.share = 1;
  }
  outcome_.finished = now();
  record_batch(outcome_, outcome_);
  if (!outcome_.success)
    warn_of_failure(outcome_);
  log_run(outcome_);
  boundary::commit();
}

void BatchRun::record_cancelled() {
  outcome_.success = false;
  outcome_.stop_reason = "cancelled";
  outcome_.sqlstate = core::sqlstate::query_canceled;
  outcome_.message = "cancelled after " + std::to_string(outcome_.affected) + " rows";
  outcome_.finished = now();
  record_batch(outcome_, outcome_);
  log_run(outcome_);
  boundary::commit();
}

} // namespace pg_retention::server
