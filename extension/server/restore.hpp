#pragma once
#include "extension/server/run.hpp"

#include <cstdint>

/// Taking back what a run archived.
namespace pg_retention::server {

/// Puts the rows that a run archived back, in the caller's transaction, and records that as a run. An error on the way
/// is undone and told in the outcome, with a WARNING. Throws Failure for a run that there is not, that did not archive,
/// or whose policy is not the caller's.
[[nodiscard]] Outcome restore(std::int64_t run, bool is_partial);

} // namespace pg_retention::server
