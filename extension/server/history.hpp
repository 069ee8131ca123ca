#pragma once
#include "extension/core/policy.hpp"

#include <cstdint>
#include <string>
#include <vector>

/// The history of runs is bounded by a policy like any other: the preset retention_history.
namespace pg_retention::server::history {

inline constexpr const char* policy_name = "retention_history";

/// The preset: runs with their ledger rows, by age and by number per policy, but for those that something needs.
[[nodiscard]] core::Policy policy(const std::string& expire_after);

/// Puts the policy at the end of a list of what is to run: the stored one where it is listed, the preset where it has
/// something to remove.
void put_last(std::vector<std::string>& names);

/// Whether an archive still has rows of a run, which can be taken back then. An archive that cannot be read counts.
[[nodiscard]] bool has_archived_rows(std::int64_t run);

} // namespace pg_retention::server::history
