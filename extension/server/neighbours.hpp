#pragma once
#include "extension/boundary/postgres.hpp"

#include <string>

/// Who else works on this server while a run is on.
namespace pg_retention::server {

/// Looks for other sessions at work: clients that have begun or ended a statement within the last 100 ms. One that is
/// in the midst of a long statement is none, nor is another session of a run. What the keeper may not see of other
/// roles' sessions counts as no work.
class Neighbours {
public:
  /// Whether at least two are at work. Asks the server once in 100 ms, in a transaction of its own at every call,
  /// because the server shows one transaction the same sessions throughout; leaves no snapshot active.
  [[nodiscard]] bool at_work();

private:
  TimestampTz looked_ = 0;
  bool at_work_ = false;
};

} // namespace pg_retention::server
