#include "extension/server/settings.hpp"

#include "extension/boundary/guard.hpp"

namespace pg_retention::server::settings {
namespace {

char* naive_time_zone_value = nullptr;
bool log_runs_value = false;
bool direct_value = true;
int lock_timeout_value = 1000;
int batch_target_value = 100;
int batch_max_rows_value = 200000;
int batch_sleep_value = 0;
int max_rows_per_second_value = 0;
bool throttle_value = true;
int work_mem_value = -1;
int walk_value = static_cast<int>(Walk::automatic);
int max_replica_lag_value = 0;
int max_slot_wal_value = 0;
int max_archive_queue_value = 0;
int max_lag_wait_value = 300000;
double max_deviation_value = 0;
int deviation_runs_value = 10;
int history_runs_value = 1000;
bool require_preview_value = false;
int max_failures_value = 100;
int failure_pause_value = 3600;
int failure_pause_max_value = 604800;

const config_enum_entry walks[] = {{"auto", static_cast<int>(Walk::automatic), false},
                                   {"blocks", static_cast<int>(Walk::blocks), false},
                                   {"list", static_cast<int>(Walk::list), false},
                                   {nullptr, 0, false}};

/// Refuses a zone the server does not know.
bool check_zone(char** value, void**, GucSource) {
  if (pg_tzset(*value) != nullptr)
    return true;
  GUC_check_errdetail("Time zone \"%s\" is not known to the server.", *value);
  return false;
}

/// Refuses a factor that would stop every run.
bool check_deviation(double* value, void**, GucSource) {
  if (*value == 0 || *value >= 1)
    return true;
  GUC_check_errdetail("It is at least 1, or 0 for no limit.");
  return false;
}

/// An integer setting that every user may change.
void define_integer(const char* name, const char* meaning, const char* detail, int* value, int least, int most,
                    int unit) {
  DefineCustomIntVariable(name, meaning, detail, value, *value, least, most, PGC_USERSET, unit, nullptr, nullptr,
                          nullptr);
}

/// What a run does with rows that it cannot remove.
void define_failures() {
  define_integer("retention.max_failures", "The most rows that a run sets apart because each alone raises an error.",
                 "0 lets the first error end the run.", &max_failures_value, 0, 1000000, 0);
  define_integer("retention.failure_pause", "Pause after which a row that raised an error is tried again.",
                 "It doubles with each attempt.", &failure_pause_value, 0, INT_MAX, GUC_UNIT_S);
  define_integer("retention.failure_pause_max", "The longest such pause.", nullptr, &failure_pause_max_value, 0,
                 INT_MAX, GUC_UNIT_S);
}

/// What a run does between its batches.
void define_pauses() {
  define_integer("retention.batch_sleep", "Pause after each batch of a run.", nullptr, &batch_sleep_value, 0, 3600000,
                 GUC_UNIT_MS);
  DefineCustomBoolVariable("retention.throttle", "Runs go slowly while other sessions work.",
                           "Their batches are small then, and far apart.", &throttle_value, true, PGC_USERSET, 0,
                           nullptr, nullptr, nullptr);
  define_integer("retention.max_rows_per_second", "The most rows a second that a run removes or changes.",
                 "0 sets no limit.", &max_rows_per_second_value, 0, INT_MAX, 0);
  define_integer("retention.max_replica_lag", "A run waits while a standby's replay is further behind.",
                 "0 sets no limit.", &max_replica_lag_value, 0, INT_MAX, GUC_UNIT_MS);
  define_integer("retention.max_slot_wal", "A run waits while an active replication slot holds back more WAL.",
                 "0 sets no limit.", &max_slot_wal_value, 0, INT_MAX, GUC_UNIT_MB);
  define_integer("retention.max_archive_queue", "A run waits while more WAL files wait for the archiver.",
                 "0 sets no limit.", &max_archive_queue_value, 0, INT_MAX, 0);
  define_integer("retention.max_lag_wait", "How long a run waits for replicas, slots or the archiver before it stops.",
                 nullptr, &max_lag_wait_value, 0, INT_MAX, GUC_UNIT_MS);
}

/// What stops a run before its first change. Who may not define a policy shall not weaken it.
void define_fuse() {
  DefineCustomRealVariable("retention.max_deviation",
                           "A run stops that would take more than so many times the median of the policy's last runs.",
                           "0 sets no limit.", &max_deviation_value, 0, 0, 1e9, PGC_SUSET, 0, check_deviation, nullptr,
                           nullptr);
  DefineCustomIntVariable("retention.deviation_runs", "How many of a policy's last runs the median is taken of.",
                          nullptr, &deviation_runs_value, deviation_runs_value, 3, 100, PGC_SUSET, 0, nullptr, nullptr,
                          nullptr);
  DefineCustomBoolVariable("retention.require_preview",
                           "The first run of a new or changed policy wants a preview or an approval.", nullptr,
                           &require_preview_value, false, PGC_SUSET, 0, nullptr, nullptr, nullptr);
  // Read by the view retention.surplus_runs.
  DefineCustomIntVariable("retention.history_runs", "How many runs of a policy are kept, failed ones by themselves.",
                          nullptr, &history_runs_value, history_runs_value, 10, INT_MAX, PGC_SUSET, 0, nullptr, nullptr,
                          nullptr);
}

} // namespace

void define() {
  DefineCustomStringVariable(
      "retention.naive_time_zone",
      "Time zone in which timestamp without time zone is read where a policy has none of its own.", nullptr,
      &naive_time_zone_value, "UTC", PGC_SUSET, 0, check_zone, nullptr, nullptr);
  DefineCustomBoolVariable("retention.log_runs", "Writes a line to the server log for every run of a policy.", nullptr,
                           &log_runs_value, false, PGC_SUSET, 0, nullptr, nullptr, nullptr);
  DefineCustomBoolVariable(
      "retention.direct",
      "Lets rows be removed through the table access method where nothing would miss their passing.", nullptr,
      &direct_value, true, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  define_integer("retention.lock_timeout", "Longest wait of a run for the lock of a table.",
                 "0 leaves lock_timeout as it is.", &lock_timeout_value, 0, 3600000, GUC_UNIT_MS);
  define_integer("retention.batch_target", "How long a batch of a run shall take.", nullptr, &batch_target_value, 1,
                 10000, GUC_UNIT_MS);
  define_integer("retention.batch_max_rows", "The most rows a batch of a run has.", nullptr, &batch_max_rows_value, 100,
                 10000000, 0);
  define_integer("retention.work_mem", "Memory that a run may use for what it remembers of rows and subjects.",
                 "-1 means maintenance_work_mem.", &work_mem_value, -1, MAX_KILOBYTES, GUC_UNIT_KB);
  DefineCustomEnumVariable("retention.walk", "Forces the way in which a run walks over the target.", nullptr,
                           &walk_value, walk_value, walks, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  define_pauses();
  define_fuse();
  define_failures();
  MarkGUCPrefixReserved("retention");
}

std::string naive_time_zone() { return naive_time_zone_value; }
bool log_runs() { return log_runs_value; }
bool direct() { return direct_value; }
int lock_timeout() { return lock_timeout_value; }
int batch_target() { return batch_target_value; }
int batch_max_rows() { return batch_max_rows_value; }
int batch_sleep() { return batch_sleep_value; }
bool throttle() { return throttle_value; }
int max_rows_per_second() { return max_rows_per_second_value; }
std::size_t work_mem() {
  return std::size_t{1024} * static_cast<std::size_t>(work_mem_value < 0 ? maintenance_work_mem : work_mem_value);
}
Walk walk() { return static_cast<Walk>(walk_value); }
int max_failures() { return max_failures_value; }
int failure_pause() { return failure_pause_value; }
int failure_pause_max() { return failure_pause_max_value; }
int max_replica_lag() { return max_replica_lag_value; }
int max_slot_wal() { return max_slot_wal_value; }
int max_archive_queue() { return max_archive_queue_value; }
int max_lag_wait() { return max_lag_wait_value; }
double max_deviation() { return max_deviation_value; }
int deviation_runs() { return deviation_runs_value; }
bool require_preview() { return require_preview_value; }

} // namespace pg_retention::server::settings
