#pragma once
#include "extension/server/run.hpp"
#include "extension/server/select.hpp"

/// Which rows went, for policies that say record_keys.
namespace pg_retention::server {

/// Writes the primary keys of the victims that went, for the batch that is under way. They are read under the active
/// snapshot, which saw the victims before they were changed, with the rights in force.
void record_keys(const Resolved& resolved, const Selection& selection, const Outcome& outcome);

} // namespace pg_retention::server
