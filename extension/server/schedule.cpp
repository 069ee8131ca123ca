#include "extension/server/schedule.hpp"

#include "extension/boundary/spi.hpp"
#include "extension/core/cron.hpp"
#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/core/json.hpp"
#include "extension/server/catalog.hpp"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <vector>

namespace pg_retention::server::schedule {
namespace {

using boundary::Arg;
using boundary::Row;
using boundary::Rows;
using boundary::Text;

/// A job as we make it.
struct Job {
  const char* name;
  const char* schedule;
  const char* function;
};
constexpr Job jobs[] = {{"pg_retention: scheduled_cleanup", "*/15 * * * *", "scheduled_cleanup"},
                        {"pg_retention: run_data_retention_cleanup", "0 3 * * *", "run_data_retention_cleanup"}};

void require_pg_cron() {
  if (boundary::single("SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'pg_cron'"))
    return;
  throw core::Failure(core::sqlstate::not_in_prerequisite_state, "pg_cron is not installed in this database",
                      "The scheduler functions make jobs of pg_cron.",
                      "Install pg_cron (shared_preload_libraries, cron.database_name set to this database, CREATE "
                      "EXTENSION pg_cron), or "
                      "schedule the program pg_retention instead: a cron entry or systemd timer that calls "
                      "\"pg_retention run --all\".");
}

/// The jobs of ours that the caller has. Columns: jobid, jobname, schedule, command, active.
Rows present() {
  return boundary::query("SELECT jobid, jobname, schedule, command, active FROM cron.job WHERE username = current_user "
                         "AND database = pg_catalog.current_database() AND jobname IN ($1, $2) ORDER BY jobid",
                         {Arg::of(std::string(jobs[0].name)), Arg::of(std::string(jobs[1].name))});
}

bool is_present(const Rows& found, const char* name) {
  for (const Row& row : found)
    if (row[1] && *row[1] == name)
      return true;
  return false;
}

/// How many of the jobs will run when they come due.
std::size_t active(const Rows& found) {
  return static_cast<std::size_t>(
      std::count_if(found.begin(), found.end(), [](const Row& row) { return row[4] == "t"; }));
}

/// The call of a job. A search_path that only this session has goes with it, because the job's session begins anew.
std::string command_of(const Job& job) {
  const std::string call = "SELECT " + catalog::extension_schema() + "." + core::quote(job.function) + "()";
  const Text path = boundary::single(
      "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'search_path' AND setting IS DISTINCT FROM reset_val");
  if (!path)
    return call;
  return "SELECT pg_catalog.set_config('search_path', " + core::quote_literal(*path) + ", false); " + call;
}

/// pg_cron's zone. Later versions of pg_cron hide the setting, but a role may know when its own jobs are due.
std::string cron_zone() {
  const char* const zone = boundary::server([] { return GetConfigOption("cron.timezone", true, false); });
  return zone != nullptr && *zone != '\0' ? zone : "GMT";
}

/// When a schedule comes due next, in pg_cron's zone, as ISO 8601; nullopt where it cannot be told.
Text next_run(const std::string& schedule) {
  const std::string zone = cron_zone();
  const Text now = boundary::single(
      "SELECT pg_catalog.to_char(pg_catalog.timezone($1, pg_catalog.now()), 'YYYY MM DD HH24 MI')", {Arg::of(zone)});
  core::CivilMinute at{};
  if (std::sscanf(now->c_str(), "%d %d %d %d %d", &at.year, &at.month, &at.day, &at.hour, &at.minute) != 5)
    return std::nullopt;
  const auto due = core::next_due(schedule, at);
  if (!due)
    return std::nullopt;
  return boundary::single(
      "SELECT pg_catalog.to_jsonb(pg_catalog.timezone($1, pg_catalog.make_timestamp($2, $3, $4, $5, $6, 0))) #>> '{}'",
      {Arg::of(zone), Arg::of(due->year), Arg::of(due->month), Arg::of(due->day), Arg::of(due->hour),
       Arg::of(due->minute)});
}

std::string job_dictionary(const Row& row) {
  core::JsonObject out;
  out.raw("id", *row[0])
      .set("name", row[1])
      .set("schedule", row[2])
      .set("command", row[3])
      .set("active", *row[4] == "t");
  out.set("next_run", *row[4] == "t" ? next_run(row[2].value_or("")) : Text());
  const Rows last = boundary::query(
      "SELECT pg_catalog.to_jsonb(start_time) #>> '{}', status, return_message FROM cron.job_run_details "
      "WHERE jobid = $1::pg_catalog.int8 ORDER BY runid DESC LIMIT 1",
      {Arg::of(*row[0])});
  out.set("last_run", last.empty() ? Text() : last[0][0]);
  out.set("last_status", last.empty() ? Text() : last[0][1]);
  out.set("last_message", last.empty() ? Text() : last[0][2]);
  return out.text();
}

std::string told(const std::string& message) {
  std::vector<std::string> list;
  const Rows found = present();
  for (const Row& row : found)
    list.push_back(job_dictionary(row));
  core::JsonObject out;
  out.set("success", true).set("running", active(found) == std::size(jobs));
  out.raw("jobs", "[" + core::join(list, ", ") + "]");
  return out.set("message", message).text();
}

} // namespace

std::string start() {
  require_pg_cron();
  const Rows before = present();
  int made = 0;
  for (const Job& job : jobs) {
    if (is_present(before, job.name)) {
      boundary::notice("job " + core::quote(job.name) + " is already running, skipping");
      continue;
    }
    (void)boundary::single(
        "SELECT cron.schedule($1, $2, $3)",
        {Arg::of(std::string(job.name)), Arg::of(std::string(job.schedule)), Arg::of(command_of(job))});
    ++made;
  }
  return told(made == 0 ? "Cleanup scheduler is already running" : "Cleanup scheduler started");
}

std::string stop() {
  require_pg_cron();
  const Rows before = present();
  for (const Row& row : before)
    (void)boundary::single("SELECT cron.unschedule($1::pg_catalog.int8)", {Arg::of(*row[0])});
  if (before.empty())
    boundary::notice("the cleanup scheduler is not running");
  return told(before.empty() ? "Cleanup scheduler is not running" : "Cleanup scheduler stopped");
}

std::string status() {
  require_pg_cron();
  const std::size_t count = active(present());
  return told(count == std::size(jobs) ? "Cleanup scheduler is running"
              : count == 0             ? "Cleanup scheduler is not running"
                           : "Cleanup scheduler is running in part; start_cleanup_scheduler() makes a job that is "
                             "missing, cron.alter_job wakes one that is not active");
}

} // namespace pg_retention::server::schedule
