#include "extension/server/neighbours.hpp"

#include "extension/boundary/spi.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/store.hpp"

namespace pg_retention::server {
namespace {

/// Microseconds between two looks, and for which a session counts after its last statement.
constexpr std::int64_t while_at_work = 100000;

/// Sessions of a run that began a moment ago are no neighbours; there are no more than 64 slices.
constexpr const char* are_there =
    "SELECT count(*) >= 2 FROM pg_stat_get_activity(NULL) AS a"
    " WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()"
    "   AND a.state_change > clock_timestamp() - interval '100 ms'"
    "   AND a.pid NOT IN (SELECT r.pid FROM (SELECT l.pid, l.stop_reason FROM retention.run l ORDER BY l.id DESC LIMIT "
    "64) r WHERE r.stop_reason = 'interrupted' AND r.pid IS NOT NULL)";

} // namespace

bool Neighbours::at_work() {
  const TimestampTz now = boundary::server([] { return GetCurrentTimestamp(); });
  if (now - looked_ < while_at_work)
    return at_work_;
  looked_ = now;
  const bool were_seen = are_seen_;
  boundary::enclosed([&] {
    are_seen_ = as_keeper([&] { return store::has_column("run", "pid") && boundary::single(are_there) == "t"; });
  });
  at_work_ = are_seen_ && were_seen;
  return at_work_;
}

} // namespace pg_retention::server
