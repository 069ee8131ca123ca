#include "extension/server/batch_run.hpp"

#include "extension/core/identifier.hpp"
#include "extension/core/turns.hpp"
#include "extension/server/lag.hpp"
#include "extension/server/settings.hpp"
#include "extension/server/store.hpp"

#include <algorithm>

/// What lies between two batches of a committed run: how large the next is, whether it may begin, and when.
namespace pg_retention::server {
namespace {

/// While others work, a batch aims at so many milliseconds, has no more rows than these where it may have any number,
/// and is followed by a pause of so many times its own length, between 10 ms and a second. A neighbour's commit
/// waits for all that was logged before it: it is the size of a batch that it feels, more than the number of batches.
constexpr int slow_batch = 2;
constexpr std::size_t slow_rows = 500;
constexpr std::int64_t slow_pauses = 8, least_pause = 10000, most_pause = 1000000;

} // namespace

int BatchRun::slow_target() { return std::min(slow_batch, settings::batch_target()); }

/// The most rows of a batch whose size costs nothing but its rows.
std::size_t BatchRun::most_streamed() const {
  const auto most = static_cast<std::size_t>(settings::batch_max_rows());
  return is_slow_ ? std::min(slow_rows, most) : most;
}

/// Goes slowly from now on where other sessions work, at full speed where they do not; a caller who says how many rows
/// a batch shall have has decided for himself.
void BatchRun::look_at_neighbours() {
  const bool was_told = is_slow_told_;
  is_slow_ = settings::throttle() && !limits_.batch_rows && neighbours_.at_work();
  is_slow_told_ = was_told || is_slow_;
  if (is_slow_told_ == was_told)
    return;
  strategy_->reason += ", slowly while other sessions worked";
  tell_strategy();
}

/// So many rows take turns at a time: as many as the run updates within a minute, where it is held to a rate. A page
/// that is changed again after a checkpoint is logged whole again.
std::size_t BatchRun::rows_in_turns() const {
  const std::int64_t rate = rows_per_second();
  return rate > 0 ? std::min(static_cast<std::size_t>(rate) * 60, core::most_rows_in_turns) : core::most_rows_in_turns;
}

std::int64_t BatchRun::pause_for_neighbours() const {
  return is_slow_ ? std::min(std::max(lasted_ * slow_pauses, least_pause) * limits_.slice.of, most_pause) : 0;
}

/// So many rows, or as many as the caller's limits allow.
std::size_t BatchRun::within_limits(std::size_t size) const {
  if (limits_.batch_rows)
    size = static_cast<std::size_t>(*limits_.batch_rows);
  if (limits_.max_rows)
    size = std::min(size, static_cast<std::size_t>(*limits_.max_rows) - outcome_.affected);
  if (const std::int64_t rate = rows_per_second(); rate > 0)
    size = std::min(size, static_cast<std::size_t>(std::max<std::int64_t>(rate / 4, 1)));
  return size;
}

/// What stands between two batches: limits, and what became of the policy meanwhile.
bool BatchRun::may_go_on() {
  if (is_pause_due_ && !has_stopped_)
    pause();
  is_pause_due_ = false;
  if (has_stopped_)
    return false;
  if (limits_.max_rows && outcome_.affected >= static_cast<std::uint64_t>(*limits_.max_rows))
    stop("max_rows", plain_message(outcome_));
  else if (limits_.max_runtime && GetCurrentTimestamp() - outcome_.started >= *limits_.max_runtime)
    stop("max_runtime", plain_message(outcome_));
  else
    look_at_policy();
  if (!has_stopped_)
    look_at_neighbours();
  return !has_stopped_;
}

void BatchRun::look_at_policy() {
  std::optional<core::Policy> present;
  boundary::enclosed([&] { present = store::load(policy_.name); });
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
  if (limits_.max_rows_per_second)
    return *limits_.max_rows_per_second;
  // The setting is for the whole run: slices share it.
  const std::int64_t rate = settings::max_rows_per_second();
  return rate == 0 ? 0 : std::max<std::int64_t>(rate / limits_.slice.of, 1);
}

/// Between two transactions, with no snapshot and no lock on rows.
void BatchRun::pause() {
  std::int64_t until =
      GetCurrentTimestamp() +
      std::max(limits_.sleep.value_or(std::int64_t{settings::batch_sleep()} * 1000), pause_for_neighbours());
  if (const std::int64_t rate = rows_per_second(); rate > 0)
    until = std::max(until, outcome_.started + static_cast<std::int64_t>(static_cast<double>(outcome_.affected) * 1e6 /
                                                                         static_cast<double>(rate)));
  if (limits_.max_runtime)
    until = std::min(until, outcome_.started + *limits_.max_runtime);
  boundary::wait((until - GetCurrentTimestamp() + 999) / 1000);
  wait_for_replicas();
}

void BatchRun::wait_for_replicas() {
  constexpr std::int64_t between_looks = 200; // milliseconds
  const std::int64_t until = GetCurrentTimestamp() + std::int64_t{settings::max_lag_wait()} * 1000;
  const auto look = [] {
    std::string lags;
    boundary::enclosed([&] { lags = what_lags(); });
    return lags;
  };
  for (std::string lags = look(); !lags.empty(); lags = look()) {
    boundary::commit();
    if (limits_.max_runtime && GetCurrentTimestamp() - outcome_.started >= *limits_.max_runtime)
      return;
    if (GetCurrentTimestamp() >= until)
      return stop("lag", "stopped after " + std::to_string(outcome_.affected) + " rows: " + lags);
    boundary::wait(std::min(between_looks, std::max<std::int64_t>((until - GetCurrentTimestamp()) / 1000, 1)));
    look_at_policy();
    if (has_stopped_)
      return;
  }
}

} // namespace pg_retention::server
