#pragma once
#include "extension/boundary/spi.hpp"
#include "extension/core/policy.hpp"
#include "extension/server/resolve.hpp"

#include <cstdint>
#include <string>
#include <vector>

/// Looking before leaping: what a run would do, by the same compiled statements, changing nothing. Works in a read-only
/// transaction and on a hot standby.
namespace pg_retention::server {

/// The rows of retention.preview for a policy: target first, then each table of dependents.
/// `as_of` (an instant as text, or empty for now) takes the place of now; `sample` is how many keys are shown.
[[nodiscard]] boundary::Rows preview_rows(const core::Policy& policy, const boundary::Text& as_of, int sample);

/// A preset's preview as a dictionary, with the list of what would go (at most 1,000 items).
[[nodiscard]] std::string preview_dictionary(const std::string& preset);

/// The rows of get_user_activity().
[[nodiscard]] boundary::Rows user_activity();

} // namespace pg_retention::server
