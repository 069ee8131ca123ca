#pragma once
#include "extension/server/resolve.hpp"

#include <string>
#include <vector>

/// Deferred constraints. What a run does is checked while it acts, with its owner's rights: a trigger that fired later,
/// at the caller's commit, would fire with the caller's.
namespace pg_retention::server {

/// Names of constraints, as SQL.
struct Deferrable {
  std::vector<std::string> all, deferred_at_first;
};

/// Sets the deferrable constraints and constraint triggers of the tables that a run touches to IMMEDIATE. Throws
/// Failure 55000 where a name would mean a constraint that is not deferrable too.
[[nodiscard]] Deferrable check_at_once(const Resolved& resolved);

/// The same for these tables.
[[nodiscard]] Deferrable check_at_once(const std::vector<Oid>& tables);

/// Sets those that begin deferred back to DEFERRED for the rest of the caller's transaction.
void defer_again(const Deferrable& constraints);

} // namespace pg_retention::server
