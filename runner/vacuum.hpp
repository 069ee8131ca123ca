// The vacuum of the tables that a run changed, and what it gave back to the operating system.
#pragma once

#include "jobs.hpp"
#include "options.hpp"

#include <string>
#include <vector>

namespace pg_retention::runner {

/// Vacuums the tables that the ledger names for these runs, as the options say, one on each connection at a time, and
/// reports each. A request to stop leaves the rest to autovacuum.
[[nodiscard]] ExitCode vacuum_after(const std::vector<std::string>& run_ids, const Options& options, Jobs& jobs);

} // namespace pg_retention::runner
