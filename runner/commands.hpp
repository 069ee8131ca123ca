// The commands run, preview and status.
#pragma once

#include "options.hpp"

namespace pg_retention::runner {

/// Carries out the command that the options name and tells how it ended; errors have been reported by then.
[[nodiscard]] ExitCode execute(const Options& options);

} // namespace pg_retention::runner
