#pragma once
#include "extension/boundary/spi.hpp"
#include "extension/core/policy.hpp"

/// The advisor: what stands in a policy's way, or will.
namespace pg_retention::server {

/// The rows of retention.check for one policy: severity (error, warning, info), policy, object, finding, remedy.
[[nodiscard]] boundary::Rows findings(const core::Policy& policy);

} // namespace pg_retention::server
