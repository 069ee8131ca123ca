#pragma once
#include "extension/server/resolve.hpp"

#include <string>
#include <vector>

/// Deferred constraints. What a run does is checked while it acts, with its owner's rights: a trigger that fired later,
/// at the caller's commit, would fire with the caller's.
namespace pg_retention::server {

/// Sets the constraints and constraint triggers of the tables that a run touches, where they are deferred, to
/// IMMEDIATE, and returns their names as SQL.
[[nodiscard]] std::vector<std::string> check_at_once(const Resolved& resolved);

/// Sets them back to DEFERRED for the rest of the caller's transaction.
void defer_again(const std::vector<std::string>& constraints);

} // namespace pg_retention::server
