#include "extension/server/settings.hpp"

#include "extension/boundary/guard.hpp"

namespace pg_retention::server::settings {
namespace {

char* naive_time_zone_value = nullptr;
bool log_runs_value = false;
bool direct_value = true;
int lock_timeout_value = 1000;
int batch_target_value = 100;
int batch_max_rows_value = 50000;

/// Refuses a zone the server does not know.
bool check_zone(char** value, void**, GucSource) {
  if (pg_tzset(*value) != nullptr)
    return true;
  GUC_check_errdetail("Time zone \"%s\" is not known to the server.", *value);
  return false;
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
  DefineCustomIntVariable("retention.lock_timeout", "Longest wait of a run for the lock of a table.",
                          "0 leaves lock_timeout as it is.", &lock_timeout_value, 1000, 0, 3600000, PGC_USERSET,
                          GUC_UNIT_MS, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("retention.batch_target", "How long a batch of a run shall take.", nullptr,
                          &batch_target_value, 100, 1, 10000, PGC_USERSET, GUC_UNIT_MS, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("retention.batch_max_rows", "The most rows a batch of a run has.", nullptr,
                          &batch_max_rows_value, 50000, 100, 10000000, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  MarkGUCPrefixReserved("retention");
}

std::string naive_time_zone() { return naive_time_zone_value; }
bool log_runs() { return log_runs_value; }
bool direct() { return direct_value; }
int lock_timeout() { return lock_timeout_value; }
int batch_target() { return batch_target_value; }
int batch_max_rows() { return batch_max_rows_value; }

} // namespace pg_retention::server::settings
