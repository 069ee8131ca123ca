#include "extension/server/batch_run.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/core/message.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/layout.hpp"
#include "extension/server/settings.hpp"

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

/// An error that comes of dependents that were only looked at, where somebody changed one before it went: it is not
/// where it was, or still refers to its victim. With locks it has another reason.
bool may_come_of_looking(const std::string& sqlstate) {
  return sqlstate == core::sqlstate::foreign_key_violation || sqlstate == core::sqlstate::restrict_violation;
}

} // namespace

BatchRun::BatchRun(const core::Policy& policy, const BatchLimits& limits, Outcome& outcome)
    : policy_(policy), limits_(limits), outcome_(outcome), committed_(outcome),
      pace_(settings::batch_target(), static_cast<std::size_t>(settings::batch_max_rows())),
      slow_pace_(slow_target(), static_cast<std::size_t>(settings::batch_max_rows())),
      again_(std::make_unique<Spool>(settings::work_mem() / 4)), failures_(policy.name) {}

void BatchRun::run() {
  if (choose()) {
    // A list that was chosen by ranges has met what failed before.
    if (!is_chosen_by_ranges_)
      settle_failures(true);
    if (strategy_->way != Way::judged)
      pass_by_unreadable(remembered_->source());
    walk();
    try_again();
    settle_failures(false);
  }
  finish();
}

void BatchRun::drop() noexcept {
  if (remembered_)
    remembered_->drop();
  again_->drop();
  if (trying_)
    trying_->drop();
}

/// Runs `body` with the owner's rights in a subtransaction, the target held open and the policy held against the schema
/// as it is.
std::optional<boundary::Caught> BatchRun::as_owner(const std::function<void()>& body) {
  is_at_rows_ = false;
  return boundary::attempt([&] {
    const Authority before = act_as(runs_as(policy_), zone_of(policy_));
    if (!resolved_)
      resolved_ = resolve(policy_);
    HeldOpen held(resolved_->rule.target);
    for (const core::ForeignKey& step : resolved_->rule.path)
      held.add_to_look_on(step.parent);
    if (shape_.empty() || generation_ != boundary::schema_generation())
      follow_schema();
    require_rights(*resolved_);
    // Whatever a row sets off is checked in its batch, with the owner's rights, where it can still be undone. The
    // transaction is ours alone, so nothing has to be put back.
    boundary::execute("SET CONSTRAINTS ALL IMMEDIATE");
    is_at_rows_ = true;
    body();
    held.close();
    give_back(before);
  });
}

/// Holds the policy against the schema as it has become. Rows were judged, and are recognised, by what their tables
/// were when the run began: where that has changed, the run ends. Partitions may come and go.
void BatchRun::follow_schema() {
  generation_ = boundary::schema_generation();
  resolved_ = resolve(policy_);
  const core::Rule& rule = resolved_->rule;
  std::string shape = core::victims_select(rule) + catalog::shape(rule.target.oid);
  for (const core::ForeignKey& step : rule.path)
    shape += catalog::shape(step.parent.oid);
  if (shape_.empty())
    shape_ = shape;
  if (shape != shape_)
    throw core::Failure(core::sqlstate::not_in_prerequisite_state,
                        "the tables of policy " + core::quote(policy_.name) + " were altered during the run", "",
                        "Run it again.");
  if (remembered_ && strategy_->way != Way::judged)
    remembered_->source().keep_leaves(catalog::leaves(rule.target));
  keep_fitting();
  if (strategy_ && strategy_->takes_turns)
    strategy_->takes_turns = can_take_turns(*resolved_);
}

void BatchRun::stop(const char* reason, const std::string& message) {
  has_stopped_ = true;
  outcome_.stop_reason = reason;
  outcome_.message = message;
}

/// An error ends the run.
void BatchRun::note_stop(const boundary::Caught& caught) {
  note_failure(outcome_, caught);
  has_stopped_ = true;
}

/// Chooses the way and what it needs, and records the run as begun; false where there is nothing more to do.
bool BatchRun::choose() {
  boundary::Scratch scratch;
  boundary::enclosed([&] { fuse_.emplace(policy_, outcome_.asked, limits_.slice); });
  const auto caught = fuse_->may_begin(outcome_) ? as_owner([&] { choose_rows(); }) : std::nullopt;
  if (caught && may_choose_by_ranges(*caught))
    choose_by_ranges(*caught);
  else if (caught)
    note_stop(*caught);
  const bool goes_on = outcome_.success && remembered_ && !has_stopped_;
  if (goes_on) {
    boundary::enclosed([&] { record_standing(outcome_, outcome_); });
    boundary::commit_for_now();
    committed_ = outcome_;
  }
  scratch.release();
  return goes_on;
}

void BatchRun::choose_rows() {
  const core::Rule& rule = resolved_->rule;
  outcome_.cutoff = fuse_->cutoff(cutoff_before_now(policy_.expire_after, zone_of(policy_), true), outcome_);
  outcome_.runs_as = runs_as(policy_);
  outcome_.target = rule.target.label();
  if (resolved_->archive.oid != InvalidOid)
    outcome_.layout = std::make_shared<const Layout>(layout_of(policy_.name, *resolved_));
  push_latest_snapshot();
  strategy_ = choose_strategy(*resolved_, *outcome_.cutoff, {limits_.slice.of > 1, limits_.max_rows.has_value()});
  const bool is_list = strategy_->way == Way::versions || strategy_->way == Way::judged;
  if (!is_list && fuse_->needs_count() && fuse_->blows(rule, count_victims(), outcome_)) {
    pop_snapshot();
    return;
  }
  remembered_ =
      std::make_unique<Remembered>(*strategy_, rule, *outcome_.cutoff, leaves_, limits_.slice, rows_in_turns());
  if (is_list && fuse_->blows(rule, remembered_->chosen(), outcome_))
    remembered_->drop(), remembered_.reset();
  else
    watch_activity();
  pop_snapshot();
  if (strategy_->takes_turns) {
    pace_.expect_stretches();
    slow_pace_.expect_stretches();
  }
  tell_strategy();
  if (!remembered_)
    return;
  const core::Chains& chains = remembered_->chains();
  for (std::size_t step = 0; step < chains.width() && strategy_->way != Way::judged; ++step)
    touched_.emplace_back(chains.step(step).rows.size());
}

/// Tells which way the run goes, and why.
void BatchRun::tell_strategy() {
  outcome_.walk = walk_name(strategy_->way);
  outcome_.reason = strategy_->reason;
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
    for (look_ahead(); !source.at_end() && may_go_on(); look_ahead()) {
      const std::uint64_t from = source.position();
      std::uint64_t reached = from;
      const auto undo = [&] {
        reached = source.position();
        source.go_back(from);
      };
      const Ended ended = one_batch([&](Hold hold, Done& done) { fill(hold, done); }, undo);
      if (ended == Ended::faulted)
        recover(from, reached);
    }
    return;
  }
  walk_list();
}

/// The same over a list whose rows are judged batch by batch.
void BatchRun::walk_list() {
  Spool& list = remembered_->list();
  for (std::uint64_t first = 0; first < list.size() && may_go_on();) {
    std::vector<RowKey> rows;
    for (const Candidate& candidate : list.read(first, within_limits(pace().next())))
      rows.push_back(candidate.row);
    first += rows.size();
    note_progress(static_cast<double>(first) / static_cast<double>(list.size()), list.size());
    outcome_.failed += failures_.leave_out(rows);
    if (one_batch([&](Hold hold, Done& done) { judge(rows, hold, done); }, [] {}) != Ended::faulted)
      continue;
    std::vector<Candidate> candidates;
    for (const RowKey row : rows)
      candidates.push_back({row, 0, static_cast<std::uint32_t>(Fate::changed)});
    isolate(candidates);
  }
}

/// What stayed is looked at once more, and again while that frees others, in turn from the end and from the beginning;
/// then it is told why it stayed. Rows that keep each other are tried together; slices wait for each other's locks.
void BatchRun::try_again() {
  constexpr int rounds_in_parts = 4, most_idle_rounds = 20;
  constexpr std::int64_t between_slices = 50; // milliseconds
  int idle = 0;
  for (int round = 0; !has_stopped_ && again_->size() != 0; ++round) {
    const std::uint64_t affected = outcome_.affected;
    const bool is_together = idle > 0 || round >= rounds_in_parts;
    try_round(round % 2 == 1, is_together);
    idle = outcome_.affected == affected ? idle + 1 : 0;
    const bool may_wait = limits_.slice.of > 1 && idle < most_idle_rounds;
    if (idle > 0 && is_together && !may_wait)
      break;
    if (idle > 0 && may_wait)
      boundary::wait(between_slices);
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

/// Tries each row that stayed once.
void BatchRun::try_round(bool is_backwards, bool is_together) {
  trying_ = std::exchange(again_, std::make_unique<Spool>(settings::work_mem() / 4));
  trying_->close();
  const std::uint64_t size = trying_->size();
  for (std::uint64_t done = 0; done < size && may_go_on();) {
    const std::size_t most =
        is_together ? static_cast<std::size_t>(settings::batch_max_rows()) : within_limits(pace().next());
    const std::uint64_t count = std::min<std::uint64_t>(most, size - done);
    const std::uint64_t first = is_backwards ? size - done - count : done;
    std::vector<Candidate> candidates;
    while (candidates.size() < count) {
      const std::vector<Candidate> part = trying_->read(first + candidates.size(), count - candidates.size());
      candidates.insert(candidates.end(), part.begin(), part.end());
    }
    done += count;
    if (one_batch([&](Hold, Done& batch) { judge_again(candidates, batch); }, [] {}) == Ended::faulted)
      isolate(candidates);
  }
  trying_->drop();
}

/// One transaction: judge, change, write the ledger, commit; again, after `undo`, where others came between.
BatchRun::Ended BatchRun::one_batch(const Body& body, const std::function<void()>& undo) {
  boundary::Scratch scratch;
  const std::int64_t began = GetCurrentTimestamp();
  std::optional<Ended> ended;
  for (int attempt = 1; !ended; ++attempt) {
    const Outcome earlier = outcome_;
    const std::int64_t tried = GetCurrentTimestamp();
    outcome_.begin = begin_of_batch();
    Done done;
    const auto caught = as_owner([&] {
      const Hold hold = attempt <= tries_without_locks ? Hold::look : Hold::lock;
      if (hold == Hold::look)
        boundary::server([] {
          set_config_option("lock_timeout", patience, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
        });
      body(hold, done);
      done.xid = boundary::server([] { return GetCurrentTransactionIdIfAny(); });
    });
    if (!caught) {
      keep(done);
      commit_batch(earlier);
      lasted_ = GetCurrentTimestamp() - tried;
      pace().measured(done.rows, GetCurrentTimestamp() - began);
      ended = Ended::done;
      continue;
    }
    outcome_ = earlier;
    undo();
    // What others did between a look and a statement may look like a row's own fault, until locks rule it out.
    const bool needs_locks = attempt <= tries_without_locks && may_come_of_looking(caught->sqlstate);
    if (!needs_locks && is_of_rows(*caught)) {
      fault_ = *caught;
      ended = Ended::faulted;
      boundary::commit_for_now();
    } else if ((!needs_locks && !core::sqlstate::is_passing(caught->sqlstate)) || attempt == most_tries) {
      note_stop(*caught);
      ended = Ended::stopped;
    } else {
      boundary::commit();
      boundary::wait(attempt * 10);
      if (needs_locks)
        attempt = tries_without_locks;
    }
  }
  scratch.release();
  return *ended;
}

/// The ledger row and the run's present state go with the batch's rows, in its transaction. The run's last commit
/// makes all of them durable; a crash before it takes the latest batches back, rows and ledger together.
void BatchRun::commit_batch(const Outcome& earlier) {
  outcome_.finished = GetCurrentTimestamp();
  if (outcome_.affected != earlier.affected)
    ++outcome_.batches;
  boundary::enclosed([&] { record_standing(outcome_, earlier); });
  if (Watch* const watch = remembered_->watch())
    watch->end_batch();
  boundary::commit_for_now();
  is_pause_due_ = outcome_.affected != earlier.affected;
  committed_ = outcome_;
}

void BatchRun::finish() {
  if (outcome_.success && !has_stopped_) {
    outcome_.message = plain_message(outcome_) + core::skipped_tail(outcome_.locked, outcome_.blocked, outcome_.held,
                                                                    outcome_.returned, outcome_.failed);
    outcome_.share = 1;
  }
  outcome_.finished = GetCurrentTimestamp();
  boundary::enclosed([&] { record_batch(outcome_, outcome_); });
  if (!outcome_.success)
    warn_of_failure(outcome_);
  log_run(outcome_);
  boundary::commit();
}

void BatchRun::record_cancelled() {
  // What was under way was undone.
  outcome_ = committed_;
  outcome_.success = false;
  outcome_.stop_reason = "cancelled";
  outcome_.sqlstate = core::sqlstate::query_canceled;
  outcome_.message = "cancelled after " + std::to_string(outcome_.affected) + " rows";
  outcome_.finished = GetCurrentTimestamp();
  boundary::enclosed([&] { record_batch(outcome_, outcome_); });
  log_run(outcome_);
  boundary::commit();
}

} // namespace pg_retention::server
