#pragma once
#include "extension/boundary/spi.hpp"
#include "extension/server/run.hpp"

#include <optional>
#include <string>
#include <vector>

/// The application functions: each one preset policy, told as a dictionary.
namespace pg_retention::server::application {

/// An argument that replaces the policy's own time for one run, and its unit.
struct Age {
  const char* name; ///< of the argument, for messages
  const char* unit;
  std::optional<std::int32_t> count; ///< nullopt: the policy's own
};

/// Runs a policy, stored or preset, records the run, and returns the dictionary (JSON) of its application function.
/// An error is told in the dictionary: success false, message, sqlstate, detail, hint.
[[nodiscard]] std::string clean(const std::string& policy, const Age& age);

/// cleanup_inactive_sessions for one user; NULL is an error of the dictionary (22004).
[[nodiscard]] std::string clean_sessions_of(const boundary::Text& user);

/// scheduled_cleanup(): sessions, then bookings.
[[nodiscard]] std::string scheduled_cleanup();

/// run_data_retention_cleanup(): carts and every other policy that is not paused.
[[nodiscard]] std::string daily_cleanup();

/// What daily_cleanup() and the runner's --all run, in order.
[[nodiscard]] std::vector<std::string> run_list();

/// Runs a policy, stored or preset, and records the run. Errors of the definition (no such policy) are raised; errors
/// of the run are in the outcome.
[[nodiscard]] Outcome apply(const std::string& policy);

} // namespace pg_retention::server::application
