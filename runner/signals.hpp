// Requests to stop (SIGINT, SIGTERM), and the waits that they end.
#pragma once

#include <poll.h>

#include <chrono>
#include <optional>
#include <string_view>
#include <vector>

namespace pg_retention::runner {

/// From now on SIGINT and SIGTERM are requests to stop, and a reader that went away is a failed write.
void watch_signals();

/// The name of the signal that asked the program to stop, or nothing.
[[nodiscard]] std::optional<std::string_view> stop_request();

/// Whether the program was asked to stop more than once: what is not needed is then left undone.
[[nodiscard]] bool stop_is_urgent();

/// Waits until a descriptor is readable, a request to stop arrives, or the time is over; tells whether one is readable.
/// The signals are let in only meanwhile, so that none is lost between a look and a wait.
bool wait_readable(std::vector<pollfd>& descriptors, std::optional<std::chrono::milliseconds> limit);

/// While it lives the stop signals end the program at once: libpq, which retries interrupted waits, connects.
class ConnectingPhase {
public:
  ConnectingPhase();
  ~ConnectingPhase();
  ConnectingPhase(const ConnectingPhase&) = delete;
  ConnectingPhase& operator=(const ConnectingPhase&) = delete;
};

} // namespace pg_retention::runner
