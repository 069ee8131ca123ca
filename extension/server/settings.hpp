#pragma once
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

} // namespace pg_retention::server::settings
