#pragma once
#include <string>

/// The end of archived rows.
namespace pg_retention::server {

/// Makes the policy that deletes what another policy archived, so long after that, and what was archived along with it.
/// Returns its name. For the owner of the policy that archives. `run_order` may be empty.
std::string add_purge(const std::string& policy, const std::string& expire_after, const std::string& run_order,
                      bool if_not_exists);

} // namespace pg_retention::server
