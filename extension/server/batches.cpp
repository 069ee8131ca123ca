#include "extension/server/batches.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/core/json.hpp"
#include "extension/server/batch_run.hpp"
#include "extension/server/presets.hpp"

#include <exception>

namespace pg_retention::server {
namespace {

/// Whether an error is the order to stop.
bool is_cancel(const boundary::ServerError& error) {
  return boundary::describe(error).sqlstate == core::sqlstate::query_canceled;
}

/// Records that a run was told to stop. Told so again meanwhile, it begins the record anew; some times, so that one who
/// insists is not left waiting for somebody's lock.
void record_cancelled(BatchRun& run) {
  constexpr int most_tries = 5;
  for (int left = most_tries;; --left)
    try {
      boundary::roll_back();
      run.record_cancelled();
      return;
    } catch (const boundary::ServerError& error) {
      if (!is_cancel(error) || left == 1)
        throw;
    }
}

/// Runs it, and gives back what would outlive the session's transactions whatever way it ends. A run that is cancelled
/// is recorded as such before the error goes on.
void run_to_the_end(BatchRun& run) {
  std::exception_ptr passing;
  bool was_cancelled = false;
  try {
    run.run();
  } catch (const boundary::ServerError& error) {
    was_cancelled = is_cancel(error);
    passing = std::current_exception();
  } catch (const std::exception&) {
    passing = std::current_exception();
  }
  run.drop();
  if (was_cancelled)
    record_cancelled(run);
  if (passing)
    std::rethrow_exception(passing);
}

} // namespace

Outcome run_in_batches(const std::string& name, const BatchLimits& limits) {
  require_writable();
  const core::Policy policy = presets::stored_or_built(name, true);
  Outcome outcome = new_outcome(policy);
  if (limits.slice.of > 1) {
    outcome.slice = static_cast<std::int32_t>(limits.slice.number);
    outcome.slices = static_cast<std::int32_t>(limits.slice.of);
  }
  if (!may_run(policy, outcome, LockSpan::session, limits.slice)) {
    record(outcome);
    return outcome;
  }
  std::exception_ptr passing;
  try {
    const UnderWay marked(name);
    outcome.run_id = next_run_id();
    BatchRun run(policy, limits, outcome);
    run_to_the_end(run);
  } catch (const std::exception&) {
    passing = std::current_exception();
  }
  unlock_policy(name, limits.slice);
  if (passing)
    std::rethrow_exception(passing);
  return outcome;
}

namespace {

/// A policy that is gone by the time its turn comes is told, not raised: the others still run.
Outcome run_or_tell(const std::string& name) {
  Outcome outcome;
  try {
    return run_in_batches(name, {});
  } catch (const boundary::ServerError& error) {
    if (boundary::detail::must_pass(error))
      throw;
    outcome.policy = name;
    note_failure(outcome, boundary::describe(error));
    boundary::roll_back();
  } catch (const core::Failure& failure) {
    outcome.policy = name;
    note_failure(outcome, {failure.sqlstate(), failure.message(), failure.detail(), failure.hint()});
  }
  return outcome;
}

} // namespace

std::string run_all_in_batches(const std::vector<std::string>& names) {
  std::vector<std::string> results;
  for (const std::string& name : names) {
    const Outcome outcome = run_or_tell(name);
    core::JsonObject out;
    out.set("policy", name).set("success", outcome.success).set("message", outcome.message);
    out.set("run_id", outcome.run_id).set("affected", static_cast<std::int64_t>(outcome.affected));
    out.set("failed", static_cast<std::int64_t>(outcome.failed));
    results.push_back(out.set("stop_reason", outcome.stop_reason).text());
  }
  return "[" + core::join(results, ", ") + "]";
}

} // namespace pg_retention::server
