#include "signals.hpp"

#include "options.hpp"

#include <unistd.h>

#include <csignal>

namespace pg_retention::runner {
namespace {

volatile std::sig_atomic_t requested_signal = 0;
volatile std::sig_atomic_t requests = 0;
volatile std::sig_atomic_t connecting = 0;

/// Notes the request; while libpq connects, where nothing has begun and nothing can be cancelled, ends the program.
extern "C" void pg_retention_on_signal(int signal_number) {
  if (connecting) {
    static constexpr char message[] = "pg_retention: error: interrupted while connecting\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, message, sizeof message - 1);
    _exit(static_cast<int>(ExitCode::cannot_connect));
  }
  requested_signal = signal_number;
  if (requests < 2)
    requests = requests + 1;
}

/// The two signals that ask the program to stop.
sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

/// The program's signal mask with the stop signals let through.
sigset_t listening_mask() {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  sigdelset(&mask, SIGINT);
  sigdelset(&mask, SIGTERM);
  return mask;
}

/// Lets in the signals that have arrived.
void look() {
  std::vector<pollfd> none;
  wait_readable(none, std::chrono::milliseconds(0));
}

} // namespace

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = pg_retention_on_signal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

std::optional<std::string_view> stop_request() {
  look();
  switch (requested_signal) {
  case 0:
    return std::nullopt;
  case SIGINT:
    return "SIGINT";
  default:
    return "SIGTERM";
  }
}

bool stop_is_urgent() {
  look();
  return requests > 1;
}

bool wait_readable(std::vector<pollfd>& descriptors, std::optional<std::chrono::milliseconds> limit) {
  const sigset_t mask = listening_mask();
  timespec timeout{};
  if (limit) {
    timeout.tv_sec = limit->count() / 1000;
    timeout.tv_nsec = limit->count() % 1000 * 1000000;
  }
  return ppoll(descriptors.data(), descriptors.size(), limit ? &timeout : nullptr, &mask) > 0;
}

ConnectingPhase::ConnectingPhase() {
  connecting = 1;
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

ConnectingPhase::~ConnectingPhase() {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  connecting = 0;
}

} // namespace pg_retention::runner
