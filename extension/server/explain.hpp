#pragma once
#include "extension/boundary/spi.hpp"
#include "extension/core/policy.hpp"

/// The plan of a run, told before it runs.
namespace pg_retention::server {

/// The rows of retention.explain: step, what, relation, statement, reason, indexes.
[[nodiscard]] boundary::Rows explain_rows(const core::Policy& policy);

} // namespace pg_retention::server
