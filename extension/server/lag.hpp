#pragma once
#include <string>

/// How far those are behind that live on this server's WAL: standbys, replication slots, the archiver.
namespace pg_retention::server {

/// What is over its limit (retention.max_replica_lag, max_slot_wal, max_archive_queue), as one phrase for people;
/// empty where nothing is, and at once where no limit is set. Wants a transaction of its own at every call, because the
/// server shows one transaction the same list of sessions throughout; leaves no snapshot active. What the keeper may
/// not read counts as not over its limit, with a WARNING (42501) the first time in a session.
[[nodiscard]] std::string what_lags();

} // namespace pg_retention::server
