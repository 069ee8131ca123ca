#include "password.hpp"

#include "connection.hpp"
#include "signals.hpp"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace pg_retention::runner {
namespace {

/// The terminal with its echo off; as it was before when it goes out of scope.
class SilentTerminal {
public:
  SilentTerminal() : descriptor_(open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)) {
    if (descriptor_ < 0 || tcgetattr(descriptor_, &before_) != 0) {
      if (descriptor_ >= 0)
        close(descriptor_);
      throw CannotConnect("cannot ask for a password: there is no terminal",
                          "Set PGPASSWORD, or use a password file (PGPASSFILE, ~/.pgpass).");
    }
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(descriptor_, TCSAFLUSH, &silent);
  }
  ~SilentTerminal() {
    say("\n");
    tcsetattr(descriptor_, TCSAFLUSH, &before_);
    close(descriptor_);
  }
  SilentTerminal(const SilentTerminal&) = delete;
  SilentTerminal& operator=(const SilentTerminal&) = delete;

  /// Shows a prompt; a terminal that cannot show it can still be typed at.
  void say(std::string_view text) const {
    [[maybe_unused]] const ssize_t written = write(descriptor_, text.data(), text.size());
  }

  /// Reads up to the end of the line, or stops at a request to stop.
  [[nodiscard]] std::string read_line() const {
    std::string line;
    char next = 0;
    std::vector<pollfd> terminal{{descriptor_, POLLIN, 0}};
    for (;;) {
      if (stop_request())
        throw CannotConnect("interrupted while asking for the password");
      if (!wait_readable(terminal, std::nullopt))
        continue;
      const ssize_t got = read(descriptor_, &next, 1);
      if (got < 0 && errno == EINTR)
        continue;
      if (got <= 0 || next == '\n' || next == '\r')
        return line;
      line.push_back(next);
    }
  }

private:
  int descriptor_;
  termios before_{};
};

} // namespace

std::string ask_password(const std::optional<std::string>& user) {
  const SilentTerminal terminal;
  terminal.say(user ? "Password for user " + *user + ": " : std::string("Password: "));
  return terminal.read_line();
}

} // namespace pg_retention::runner
