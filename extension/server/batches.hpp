#pragma once
#include "extension/core/slice.hpp"
#include "extension/server/run.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// The committing form of a run: batch by batch, each in a transaction of its own.
namespace pg_retention::server {

/// What a caller may say of one such run.
struct BatchLimits {
  std::optional<std::int64_t> batch_rows;  ///< rows a batch, fixed; nullopt: follows the measured time
  std::optional<std::int64_t> max_rows;    ///< stop after so many rows of the target
  std::optional<std::int64_t> max_runtime; ///< stop after so many microseconds
  bool strict = true;                      ///< subjects are judged again right before each commit
  core::Slice slice;
  std::optional<std::int64_t> max_rows_per_second; ///< nullopt: the setting
  std::optional<std::int64_t> sleep;               ///< microseconds after each batch; nullopt: the setting
};

/// Runs a policy batch by batch and commits each. The caller is a procedure outside of a transaction block with a
/// non-atomic SPI connection. Each batch judges its rows and their subjects under its own snapshot and again before its
/// commit, and writes its ledger rows in its own transaction. A killed run is shown as interrupted with what it really
/// did, and is simply run again.
[[nodiscard]] Outcome run_in_batches(const std::string& name, const BatchLimits& limits);

/// The same for each policy in turn; one failing does not stop the others. Returns a JSON array, an object a policy.
[[nodiscard]] std::string run_all_in_batches(const std::vector<std::string>& names);

} // namespace pg_retention::server
