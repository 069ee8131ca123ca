#pragma once
#include "extension/server/erase.hpp"

#include <string>

/// The direct hand: rows removed through the table access method, where nothing would miss their passing. The
/// conditions and the proof are in doc/internals.md.
namespace pg_retention::server {

/// Why it may not be used for this rule and these victims; empty where it may.
[[nodiscard]] std::string why_not_direct(const Resolved& resolved, const Selection& selection);

/// The same for whatever rows of the target, without what goes with them.
[[nodiscard]] std::string why_not_direct(const Resolved& resolved);

/// The same for victims with all that goes with them.
[[nodiscard]] std::string why_not_direct(const Resolved& resolved, const FamilyTree& tree, const core::Leaves& leaves);

/// Removes the victims. Rows that somebody holds or changed stay.
[[nodiscard]] Erased erase_direct(const Cleared&, Selection& selection);

/// Removes the victims, locked before, and all that goes with them. Dependents that were not locked may have changed
/// since they were looked at: Failure 40001, to be undone and tried again.
[[nodiscard]] Erased erase_direct(const Resolved& resolved, const FamilyTree& tree, const core::Leaves& leaves);

} // namespace pg_retention::server
