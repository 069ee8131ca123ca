#pragma once
#include <cstddef>
#include <string>

/// The settings of the prefix retention.
namespace pg_retention::server::settings {

/// Defines the settings; called once, when the library is loaded.
void define();

/// retention.naive_time_zone: how timestamp without time zone is read where the policy does not say.
[[nodiscard]] std::string naive_time_zone();
/// retention.log_runs: whether every run writes a line to the server log.
[[nodiscard]] bool log_runs();
/// retention.direct: whether rows may be removed through the table access method where nothing would miss them.
[[nodiscard]] bool direct();
/// retention.lock_timeout: the longest wait for a table's lock, in milliseconds; 0 leaves lock_timeout alone.
[[nodiscard]] int lock_timeout();

/// retention.batch_target: how long a batch shall take, in milliseconds.
[[nodiscard]] int batch_target();
/// retention.batch_max_rows: the most rows a batch has.
[[nodiscard]] int batch_max_rows();

/// retention.batch_sleep: the pause after each batch, in milliseconds.
[[nodiscard]] int batch_sleep();
/// retention.throttle: whether runs go slowly while other sessions work.
[[nodiscard]] bool throttle();
/// retention.max_rows_per_second: rows a second over the whole run; 0: no limit.
[[nodiscard]] int max_rows_per_second();
/// retention.work_mem, or maintenance_work_mem: bytes that a run may use for what it remembers of rows and subjects.
[[nodiscard]] std::size_t work_mem();

/// How a run goes over the target.
enum class Walk {
  automatic, ///< by cost
  blocks,    ///< block range by block range, where the rule can be judged that way
  list,      ///< over a list of rows chosen at the start
};
/// retention.walk: the forced walk.
[[nodiscard]] Walk walk();

/// retention.max_failures: rows that a run may find alone in failing before it gives up; 0: the first error ends it.
[[nodiscard]] int max_failures();
/// retention.failure_pause, retention.failure_pause_max: seconds until a row that failed is tried again, at first and
/// at most; it doubles with each attempt.
[[nodiscard]] int failure_pause();
[[nodiscard]] int failure_pause_max();

/// retention.max_replica_lag: milliseconds by which a standby's replay may be behind; 0: no limit.
[[nodiscard]] int max_replica_lag();
/// retention.max_slot_wal: megabytes of WAL that an active replication slot may hold back; 0: no limit.
[[nodiscard]] int max_slot_wal();
/// retention.max_archive_queue: WAL files that may wait for the archiver; 0: no limit.
[[nodiscard]] int max_archive_queue();
/// retention.max_lag_wait: milliseconds that a run waits for any of them before it stops.
[[nodiscard]] int max_lag_wait();

/// retention.max_deviation: the fuse's factor of policies that have none of their own; 0: no limit.
[[nodiscard]] double max_deviation();
/// retention.deviation_runs: how many of a policy's last runs the median is taken of.
[[nodiscard]] int deviation_runs();
/// retention.require_preview: whether the first run of a new or changed policy wants a preview or an approval.
[[nodiscard]] bool require_preview();

} // namespace pg_retention::server::settings
