#include "extension/server/batches.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/core/json.hpp"
#include "extension/core/message.hpp"
#include "extension/core/pace.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/constraints.hpp"
#include "extension/server/execution.hpp"
#include "extension/server/presets.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/settings.hpp"
#include "extension/server/store.hpp"

#include <algorithm>
#include <exception>

namespace pg_retention::server {
namespace {

using boundary::server;
using core::RowKey;

/// How often a batch that lost a deadlock, or a wait for a table's lock, is tried again.
constexpr int most_retries = 3;

void commit() {
  server([] { SPI_commit(); });
}

std::int64_t now() {
  return server([] { return GetCurrentTimestamp(); });
}

/// One run, over all its transactions.
class BatchRun {
public:
  BatchRun(const core::Policy& policy, const BatchLimits& limits, Outcome& outcome)
      : policy_(policy), limits_(limits), outcome_(outcome),
        pace_(settings::batch_target(), static_cast<std::size_t>(settings::batch_max_rows())) {}

  void run() {
    if (!choose())
      return;
    std::vector<RowKey> left = std::move(rows_);
    while (!left.empty() && !has_stopped_) {
      const std::size_t before = left.size();
      const std::uint64_t affected = outcome_.affected;
      left = go_through(left, false);
      // Rows that stayed are looked at once more; and again while that frees others.
      if (has_stopped_ || left.size() == before || outcome_.affected == affected)
        break;
    }
    if (!has_stopped_ && !left.empty())
      (void)go_through(left, true);
    finish();
  }

private:
  const core::Policy& policy_;
  const BatchLimits& limits_;
  Outcome& outcome_;
  core::Pace pace_;
  core::Leaves leaves_;
  std::vector<RowKey> rows_;
  bool has_stopped_ = false;

  /// Runs `body` with the owner's rights in a subtransaction.
  template <class Body>
  std::optional<boundary::Caught> as_owner(Body body) {
    return boundary::attempt([&] {
      const Authority before = act_as(runs_as(policy_), zone_of(policy_));
      const Resolved resolved = resolve(policy_);
      require_rights(resolved);
      body(resolved);
      give_back(before);
    });
  }

  void stop(const char* reason, const std::string& message) {
    has_stopped_ = true;
    outcome_.stop_reason = reason;
    outcome_.message = message;
  }

  /// Chooses the victims and records the run as begun; false where there is nothing more to do.
  bool choose() {
    const auto caught = as_owner([&](const Resolved& resolved) {
      outcome_.cutoff = cutoff_before_now(policy_.expire_after, zone_of(policy_), true);
      outcome_.runs_as = runs_as(policy_);
      outcome_.target = resolved.rule.target.label();
      rows_ = Execution(resolved, {}, outcome_).candidates(leaves_);
    });
    if (caught)
      note_failure(outcome_, *caught);
    const bool goes_on = outcome_.success && !rows_.empty();
    if (!goes_on) {
      finish();
      return false;
    }
    record_standing(outcome_);
    commit();
    return true;
  }

  /// Runs every row through batches; returns those that stayed.
  std::vector<RowKey> go_through(const std::vector<RowKey>& rows, bool is_last_try) {
    std::vector<RowKey> stayed;
    for (std::size_t first = 0; first < rows.size() && may_go_on();) {
      const std::size_t size = std::min(rows.size() - first, next_size());
      const std::vector<RowKey> batch(rows.begin() + static_cast<std::ptrdiff_t>(first),
                                      rows.begin() + static_cast<std::ptrdiff_t>(first + size));
      const std::vector<RowKey> kept = one_batch(batch, is_last_try);
      stayed.insert(stayed.end(), kept.begin(), kept.end());
      first += size;
    }
    std::sort(stayed.begin(), stayed.end());
    return stayed;
  }

  std::size_t next_size() const {
    std::size_t size = limits_.batch_rows ? static_cast<std::size_t>(*limits_.batch_rows) : pace_.next();
    if (limits_.max_rows)
      size = std::min(size, static_cast<std::size_t>(*limits_.max_rows) - outcome_.affected);
    return size;
  }

  /// What stands between two batches: limits, and what became of the policy meanwhile.
  bool may_go_on() {
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

  void look_at_policy() {
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

  /// One transaction: judge, change, write the ledger, commit. Returns the rows that stayed.
  std::vector<RowKey> one_batch(const std::vector<RowKey>& rows, bool is_last_try) {
    const std::int64_t began = now();
    for (int attempt = 1;; ++attempt) {
      const Outcome earlier = outcome_;
      std::vector<RowKey> stayed;
      const auto caught = as_owner([&](const Resolved& resolved) {
        const Deferrable deferred = check_at_once(resolved);
        stayed = Execution(resolved, {}, outcome_).batch(rows, leaves_, is_last_try);
        defer_again(deferred);
      });
      if (!caught) {
        commit_batch(earlier);
        pace_.measured(rows.size(), now() - began);
        return stayed;
      }
      outcome_ = earlier;
      const bool is_passing = caught->sqlstate == "40P01" || caught->sqlstate == "55P03" || caught->sqlstate == "40001";
      if (!is_passing || attempt == most_retries) {
        note_failure(outcome_, *caught);
        has_stopped_ = true;
        return {};
      }
      commit();
    }
  }

  /// Writes how the run stands while it is on: as one that was interrupted, which it is if nothing more is written.
  void record_standing(const Outcome& earlier) {
    Outcome standing = outcome_;
    standing.success = false;
    standing.stop_reason = "interrupted";
    standing.message = "the run has begun and not ended";
    record_batch(standing, earlier);
  }

  /// The ledger row and the run's present state go with the batch's rows, in its transaction.
  void commit_batch(const Outcome& earlier) {
    outcome_.finished = now();
    if (outcome_.affected != earlier.affected) {
      ++outcome_.batches;
      record_standing(earlier);
    }
    commit();
  }

  void finish() {
    if (outcome_.success && !has_stopped_)
      outcome_.message = plain_message(outcome_) +
                         core::skipped_tail(outcome_.locked, outcome_.blocked, outcome_.held, outcome_.returned);
    outcome_.finished = now();
    record_batch(outcome_, outcome_);
    if (!outcome_.success)
      warn_of_failure(outcome_);
    log_run(outcome_);
    commit();
  }
};

} // namespace

Outcome run_in_batches(const std::string& name, const BatchLimits& limits) {
  require_writable();
  const core::Policy policy = presets::stored_or_built(name, true);
  Outcome outcome = new_outcome(policy);
  if (!may_run(policy, outcome, LockSpan::session)) {
    record(outcome);
    return outcome;
  }
  std::exception_ptr passing;
  try {
    const UnderWay marked(name);
    outcome.run_id = next_run_id();
    BatchRun(policy, limits, outcome).run();
  } catch (const std::exception&) {
    passing = std::current_exception();
  }
  unlock_policy(name);
  if (passing)
    std::rethrow_exception(passing);
  return outcome;
}

namespace {

/// A policy that is gone by the time its turn comes is told, not raised: the others still run.
Outcome run_or_tell(const std::string& name) {
  try {
    return run_in_batches(name, {});
  } catch (const core::Failure& failure) {
    Outcome outcome;
    outcome.policy = name;
    note_failure(outcome, {failure.sqlstate(), failure.message(), failure.detail(), failure.hint()});
    return outcome;
  }
}

} // namespace

std::string run_all_in_batches(const std::vector<std::string>& names) {
  std::vector<std::string> results;
  for (const std::string& name : names) {
    const Outcome outcome = run_or_tell(name);
    core::JsonObject out;
    out.set("policy", name).set("success", outcome.success).set("message", outcome.message);
    out.set("run_id", outcome.run_id).set("affected", static_cast<std::int64_t>(outcome.affected));
    results.push_back(out.set("stop_reason", outcome.stop_reason).text());
  }
  return "[" + core::join(results, ", ") + "]";
}

} // namespace pg_retention::server
