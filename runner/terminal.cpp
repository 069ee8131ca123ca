#include "terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <string>

#define NCURSES_NOMACROS
#include <curses.h>
#include <term.h>

namespace pg_retention::runner {
namespace {

constexpr int usual_width = 80;

/// What the terminal's description says; asked once, as it is one terminal.
struct Terminal {
  bool can_write_over = false;
  const char* to_line_begin = nullptr;
  const char* to_clear_line = nullptr;
  int width = usual_width;
};

/// Reads the description of the terminal that standard error is, if it is one.
Terminal described() {
  Terminal terminal;
  int found = 0;
  if (isatty(STDERR_FILENO) == 0 || setupterm(nullptr, STDERR_FILENO, &found) != OK)
    return terminal;
  const auto text = [](const char* capability) -> const char* {
    const char* value = tigetstr(capability);
    return value == reinterpret_cast<const char*>(-1) ? nullptr : value;
  };
  terminal.to_line_begin = text("cr");
  terminal.to_clear_line = text("el");
  terminal.can_write_over = terminal.to_line_begin != nullptr && terminal.to_clear_line != nullptr;
  if (const int wide = tigetnum("cols"); wide > 0)
    terminal.width = wide;
  return terminal;
}

const Terminal& terminal() {
  static const Terminal the_terminal = described();
  return the_terminal;
}

bool is_shown = false;
std::string pending;

/// Gathers what tputs makes of a capability: some terminals want padding after it.
extern "C" int pg_retention_gather(int character) {
  pending += static_cast<char>(character);
  return character;
}

/// Writes the text at the beginning of the line and clears what is behind it; nobody is told if that fails.
void write_over(std::string_view text) {
  pending.clear();
  tputs(terminal().to_line_begin, 1, pg_retention_gather);
  pending += text;
  tputs(terminal().to_clear_line, 1, pg_retention_gather);
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, pending.data(), pending.size());
}

} // namespace

bool can_show_status_line() { return terminal().can_write_over; }

int status_line_width() {
  winsize size{};
  const bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return (is_known ? size.ws_col : terminal().width) - 1;
}

void show_status_line(std::string_view text) {
  if (!can_show_status_line())
    return;
  write_over(text);
  is_shown = true;
}

void withdraw_status_line() {
  if (!is_shown)
    return;
  write_over({});
  is_shown = false;
}

} // namespace pg_retention::runner
