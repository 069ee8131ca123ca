#pragma once
#include <string>

/// The two pg_cron jobs: scheduled_cleanup every 15 minutes, the daily cleanup once a day. Everything is done with the
/// caller's rights; the jobs run as the caller.
namespace pg_retention::server::schedule {

/// Makes the jobs that are not there yet; a job that is there is a NOTICE. Returns the dictionary of status().
/// Throws Failure 55000 where pg_cron is not in this database.
[[nodiscard]] std::string start();

/// Removes exactly those jobs of the caller; none there is a NOTICE.
[[nodiscard]] std::string stop();

/// Dictionary: success, running, jobs (id, name, schedule, command, active, next_run, last_run, last_status,
/// last_message), message.
[[nodiscard]] std::string status();

} // namespace pg_retention::server::schedule
