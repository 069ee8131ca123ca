#pragma once
#include "extension/boundary/spi.hpp"

#include <string>

/// Policies as code: definitions as JSON, and JSON as definitions.
namespace pg_retention::server::code {

/// Every stored policy as a JSON array of objects, by name; tables by their qualified names. Owners, versions and the
/// database they are at home in are not part of a definition.
[[nodiscard]] std::string export_policies();

/// Makes the stored policies of these names equal to the definitions given (a JSON array of objects, or one object),
/// and returns the differences: policy, change (added, altered), field, old, new. Policies that are not named stay.
/// With `dry_run` nothing is stored. A definition that changes nothing leaves the policy's version alone.
[[nodiscard]] boundary::Rows import_policies(const std::string& document, bool dry_run);

} // namespace pg_retention::server::code
