// The one line of the terminal that is written over again while something is under way.
#pragma once

#include <string_view>

namespace pg_retention::runner {

/// Whether standard error is a terminal that can write over its last line.
[[nodiscard]] bool can_show_status_line();

/// How many characters fit into the status line.
[[nodiscard]] int status_line_width();

/// Shows a text in the status line, in place of what stood there.
void show_status_line(std::string_view text);

/// Takes the status line off, so that something else can be written; nothing where none is shown.
void withdraw_status_line();

} // namespace pg_retention::runner
