#pragma once
#include "extension/boundary/postgres.hpp"

/// Who else works on this server while a run is on.
namespace pg_retention::server {

/// Looks for other sessions at work: clients that have begun or ended a statement within the last 100 ms. One that is
/// in the midst of a long statement is none, a run among them, nor is one whose application_name is pg_retention: the
/// program's sessions run several policies one after the other. What the keeper may not see of other roles' sessions
/// counts as no work; so does everything where track_activities is off.
class Neighbours {
public:
  /// Whether at least two were at work at each of the last two looks: one look may meet sessions that just come or go.
  /// Asks the server once in 100 ms, in a transaction of its own at every call, because the server shows one
  /// transaction the same sessions throughout; leaves no snapshot active.
  [[nodiscard]] bool at_work();

private:
  TimestampTz looked_ = 0;
  bool are_seen_ = false, at_work_ = false; ///< at the last look; at the last two
};

} // namespace pg_retention::server
