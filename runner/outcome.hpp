// What became of a policy: the statements that run it, the result taken apart, and slices summed.
#pragma once

#include "connection.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pg_retention::runner {

/// How one policy, or one slice of it, ended; values are in the server's text form, absent ones are not known.
struct Outcome {
  std::string policy;
  int slice = 0; ///< 1 to slices, or 0 for a whole policy
  int slices = 0;
  bool success = false;
  std::string message;
  std::optional<std::string> run_id, action, affected, subjects, dependents;
  std::optional<std::string> skipped_locked, skipped_blocked, skipped_held, skipped_returned, skipped_failed;
  std::optional<std::string> cutoff, started, finished;
  std::optional<double> began_at, ended_at; ///< seconds since 1970
  std::optional<double> duration_ms;
  std::optional<std::string> batches, stop_reason, sqlstate, error_detail;
  std::vector<Outcome> parts; ///< the slices of a policy that was cut
};

/// One share of a policy's work: what one connection is asked to do.
struct Share {
  std::string policy;
  int slice = 0; ///< 1 to slices, or 0 for the whole policy
  int slices = 0;
  RunLimits limits;
};

/// Runs a share batch by batch; the answer is one value of the server's type retention.result.
[[nodiscard]] Statement run_statement(const Share& share);

/// Runs a policy in one transaction; the answer is a row for `outcome_of`.
[[nodiscard]] Statement apply_statement(const std::string& policy);

/// Takes a run back; the answer is a row for `outcome_of`.
[[nodiscard]] Statement restore_statement(std::int64_t run_id, bool partial);

/// Takes a value of retention.result apart into a row for `outcome_of`.
[[nodiscard]] Statement take_apart_statement(const std::string& result);

/// Ends the process of the server that runs a policy for a connection that is lost, and waits until it is gone.
[[nodiscard]] Statement end_statement(int backend);

/// Asks for the row of a run that began at most `seconds` ago and came to no end of its own: what it had committed.
[[nodiscard]] Statement recorded_statement(const Share& share, double seconds);

/// What a row says about a share.
[[nodiscard]] Outcome outcome_of(const Rows& rows, const Share& share);

/// A share that ended without a result, or was not begun.
[[nodiscard]] Outcome failed(const Share& share, std::string message, const std::string& sqlstate = {});

/// A share whose statement the server refused; detail and hint stay with it.
[[nodiscard]] Outcome failed(const Share& share, const ServerError& failure);

/// The sum of a policy's slices: a success only if each of them was one.
[[nodiscard]] Outcome sum_of(const std::vector<Outcome>& slices);

/// SQL for an instant in RFC 3339 and UTC, whatever DateStyle and TimeZone the session has.
[[nodiscard]] std::string instant(const std::string& expression, const std::string& name);

/// The name of a share in a message: the policy, and which slice of it.
[[nodiscard]] std::string name_of(const std::string& policy, int slice, int slices);

} // namespace pg_retention::runner
