// The command "run": policies over one connection or several, and the vacuum after them.
#pragma once

#include "connection.hpp"
#include "options.hpp"

#include <string>
#include <vector>

namespace pg_retention::runner {

/// Runs the policies as the options say, reports each as it ends, and vacuums what they changed; begins with a
/// connection that stands already and opens the others.
[[nodiscard]] ExitCode run_policies(const std::vector<std::string>& policies, const Options& options, Login& login,
                                    Connection connection);

} // namespace pg_retention::runner
