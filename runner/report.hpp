// What the program says: one line per policy on standard output, tables for people, diagnostics on standard error.
#pragma once

#include "options.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pg_retention::runner {

class Rows;
class ServerError;

/// A message of the program on standard error.
void note(std::string_view text);
/// An error of the program on standard error.
void error(std::string_view text);
/// What the user may do about the error above it; nothing when the text is empty.
void hint(std::string_view text);

/// A server error as the server words it: severity, message, SQLSTATE, detail and hint.
[[nodiscard]] std::string whole(const ServerError& failure);

/// How one policy ended; values are in the server's text form, absent ones are not known.
struct Outcome {
  std::string policy;
  bool success = false;
  std::string message;
  std::optional<std::string> run_id, action, affected, subjects, dependents;
  std::optional<std::string> skipped_locked, skipped_blocked, skipped_held, skipped_returned;
  std::optional<std::string> cutoff, started, finished;
  std::optional<double> duration_ms;
  std::optional<std::string> batches, stop_reason, sqlstate, error_detail;
};

/// Writes results to standard output in the format that the options ask for.
class Report {
public:
  explicit Report(const Options& options) : format_(options.format), verbosity_(options.verbosity) {}

  /// One line for the policy; a quiet report shows it only if it failed.
  void outcome(const Outcome& outcome);
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
