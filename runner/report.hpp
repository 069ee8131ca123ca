// The results on standard output: one line per policy and per vacuum, tables for people.
#pragma once

#include "options.hpp"
#include "outcome.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace pg_retention::runner {

/// What became of the vacuum of one table.
struct Vacuumed {
  std::string name;
  bool success = false;
  std::string message;
  std::int64_t dead_rows = 0;
  std::int64_t size_before = 0; ///< bytes of the table, its indexes and what it keeps out of line
  std::optional<std::int64_t> size_after;
  double duration_ms = 0;
  std::optional<std::string> sqlstate, error_detail;

  /// What the operating system has got back; a table that grew meanwhile has given back nothing.
  [[nodiscard]] std::int64_t bytes_returned() const {
    return size_after && *size_after < size_before ? size_before - *size_after : 0;
  }
};

/// Writes results to standard output in the format that the options ask for.
class Report {
public:
  explicit Report(const Options& options) : format_(options.format), verbosity_(options.verbosity) {}

  /// One line for the policy; a quiet report shows it only if it failed.
  void outcome(const Outcome& outcome);
  /// One line for the table; a quiet report shows it only if it failed.
  void vacuumed(const Vacuumed& table);
  /// Rows that a restore left in the archive: a line for each table and reason; a quiet report shows them too.
  void unrestored(const Rows& reasons);
  /// What a run of the policy would do: a table, or one line of JSON.
  void preview(const std::string& policy, const Rows& relations);
  /// A policy whose preview failed.
  void preview_failure(const Outcome& outcome);
  /// The policies and their last runs: a table, or one line of JSON for each.
  void status(const Rows& policies);

  /// Whether everything written so far has reached standard output.
  [[nodiscard]] static bool complete();

private:
  LogFormat format_;
  Verbosity verbosity_;
};

} // namespace pg_retention::runner
