#include "extension/server/lag.hpp"

#include "extension/boundary/spi.hpp"
#include "extension/core/identifier.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/settings.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace pg_retention::server {
namespace {

using boundary::Arg;

/// Milliseconds for people, not less than they are: `250 ms`, `5 s`, `12.3 s`.
std::string duration(std::int64_t milliseconds) {
  if (milliseconds < 1000)
    return std::to_string(milliseconds) + " ms";
  const std::int64_t tenths = (milliseconds + 99) / 100;
  const std::string fraction = tenths % 10 == 0 ? "" : "." + std::to_string(tenths % 10);
  return std::to_string(tenths / 10) + fraction + " s";
}

/// A measure that the keeper has no right to.
struct Unreadable {
  const char* setting;
  const char* measure; ///< what cannot be told
  bool is_told;        ///< in this session
};
Unreadable unreadable_standbys{"retention.max_replica_lag", "how far standbys are behind", false};
Unreadable unreadable_archiver{"retention.max_archive_queue", "how many files wait for the archiver", false};

/// Says once in a session that a limit has no effect. As the keeper.
void tell(Unreadable& what) {
  if (what.is_told)
    return;
  what.is_told = true;
  const std::string keeper = core::quote(role_name(caller()));
  boundary::warn({core::sqlstate::insufficient_privilege, std::string("cannot tell ") + what.measure,
                  std::string(what.setting) + " has no effect: role " + keeper +
                      ", the owner of schema retention, may not read it.",
                  "GRANT pg_monitor TO " + keeper + "."},
                 "");
}

/// The place where a standby's replay stood when it was first seen there with WAL after it.
struct Standstill {
  std::int64_t pid;
  std::int64_t replayed;
  TimestampTz since;
};

/// What this session has seen of standbys; two that meet in one slot forget each other, and count with the lag that the
/// server shows.
Standstill seen[64];

/// Milliseconds for which this session has seen a standby stand still. The server measures a standby's lag only when
/// the standby answers; one whose disk or network hangs does not.
std::int64_t standing_still(std::int64_t pid, std::int64_t replayed) {
  const TimestampTz now = boundary::server([] { return GetCurrentTimestamp(); });
  Standstill& standstill = seen[static_cast<std::size_t>(pid) % std::size(seen)];
  if (standstill.pid != pid || standstill.replayed != replayed)
    standstill = {pid, replayed, now};
  return (now - standstill.since) / 1000;
}

/// Standbys that have not replayed all of the WAL. The lag that the server shows is the last one it measured, long gone
/// perhaps: it counts only with WAL left to replay. What copies WAL without replaying it (pg_basebackup, pg_receivewal)
/// is no standby; subscribers confirm at their own pace, and are judged by their slots.
constexpr const char* standbys_behind =
    "SELECT r.pid, COALESCE(NULLIF(r.application_name, ''), host(r.client_addr), r.pid::text),"
    "       pg_wal_lsn_diff(r.replay_lsn, '0/0')::bigint,"
    "       COALESCE(extract(epoch FROM r.replay_lag) * 1000, 0)::bigint"
    "  FROM pg_stat_replication r"
    " WHERE r.state IN ('catchup', 'streaming') AND r.replay_lsn < pg_current_wal_flush_lsn()"
    "   AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')";

std::string standby_over(int limit) {
  if (limit == 0)
    return {};
  if (boundary::single("SELECT pg_has_role('pg_read_all_stats', 'USAGE')") != "t") {
    tell(unreadable_standbys);
    return {};
  }
  std::string name;
  std::int64_t worst = limit;
  for (const boundary::Row& row : boundary::query(standbys_behind)) {
    const std::int64_t lag =
        std::max<std::int64_t>(std::stoll(*row[3]), standing_still(std::stoll(*row[0]), std::stoll(*row[2])));
    if (lag > worst) {
      worst = lag;
      name = *row[1];
    }
  }
  if (name.empty())
    return {};
  return "standby " + core::quote(name) + " is " + duration(worst) + " behind (max_replica_lag is " + duration(limit) +
         ")";
}

/// Nobody reads from an inactive slot, so waiting would not make it smaller; a lost one holds nothing back any more.
constexpr const char* widest_slot =
    "SELECT s.slot_name, ceil(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn) / 1048576)::bigint"
    "  FROM pg_replication_slots s"
    " WHERE s.active AND s.wal_status <> 'lost' AND pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn) > $1 * 1048576"
    " ORDER BY s.restart_lsn LIMIT 1";

std::string slot_over(int limit) {
  if (limit == 0)
    return {};
  const boundary::Rows slots = boundary::query(widest_slot, {Arg::of(std::int64_t{limit})});
  if (slots.empty())
    return {};
  return "slot " + core::quote(*slots[0][0]) + " holds back " + *slots[0][1] + " MB of WAL (max_slot_wal is " +
         std::to_string(limit) + " MB)";
}

std::string archiver_over(int limit) {
  if (limit == 0 || !boundary::server([] { return XLogArchivingActive(); }))
    return {};
  if (boundary::single("SELECT has_function_privilege('pg_ls_archive_statusdir()', 'EXECUTE')") != "t") {
    tell(unreadable_archiver);
    return {};
  }
  const std::int64_t files =
      std::stoll(*boundary::single("SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"));
  if (files <= limit)
    return {};
  return std::to_string(files) + " WAL files wait for the archiver (max_archive_queue is " + std::to_string(limit) +
         ")";
}

} // namespace

std::string what_lags() {
  if (settings::max_replica_lag() == 0 && settings::max_slot_wal() == 0 && settings::max_archive_queue() == 0)
    return {};
  const Authority before = act_as_keeper();
  std::string over = standby_over(settings::max_replica_lag());
  if (over.empty())
    over = slot_over(settings::max_slot_wal());
  if (over.empty())
    over = archiver_over(settings::max_archive_queue());
  give_back(before);
  return over;
}

} // namespace pg_retention::server
