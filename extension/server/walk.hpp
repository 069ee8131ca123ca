#pragma once
#include "extension/server/select.hpp"

/// The walk over the target's blocks: the keys of the expired subjects as a set in memory, one scan of the target that
/// looks each row's key up in it. Where most of the target is read anyway it does the work of the hash join in less
/// time.
namespace pg_retention::server {

/// Whether the rule can be judged that way: a path whose first key is one integer column, and no condition that
/// might look at the target.
[[nodiscard]] bool may_walk_blocks(const core::Rule& rule);

/// Whether the planner, asked for the victims, would read the whole target.
[[nodiscard]] bool planner_reads_whole_target(const core::Rule& rule, TimestampTz cutoff);

/// Fills `selection` with the victims, under the active snapshot.
void walk_blocks(const core::Rule& rule, TimestampTz cutoff, Selection& selection);

} // namespace pg_retention::server
