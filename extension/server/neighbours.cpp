#include "extension/server/neighbours.hpp"

#include "extension/boundary/spi.hpp"
#include "extension/server/authority.hpp"

namespace pg_retention::server {
namespace {

/// Microseconds between two looks, and for which a session counts after its last statement.
constexpr std::int64_t while_at_work = 100000;

constexpr const char* are_there =
    "SELECT count(*) >= 2 FROM pg_stat_get_activity(NULL) AS a"
    " WHERE a.backend_type = 'client backend' AND a.application_name <> 'pg_retention' AND a.pid <> pg_backend_pid()"
    "   AND a.state_change > clock_timestamp() - interval '100 ms'";

} // namespace

bool Neighbours::at_work() {
  const TimestampTz now = boundary::server([] { return GetCurrentTimestamp(); });
  // A clock may be set back.
  if (now >= looked_ && now - looked_ < while_at_work)
    return at_work_;
  looked_ = now;
  const bool were_seen = are_seen_;
  boundary::enclosed([&] { are_seen_ = as_keeper([] { return boundary::single(are_there) == "t"; }); });
  at_work_ = are_seen_ && were_seen;
  return at_work_;
}

} // namespace pg_retention::server
