// What the program says to people: diagnostics on standard error, and texts made safe to show.
#pragma once

#include <string>
#include <string_view>

namespace pg_retention::runner {

class ServerError;

/// A message of the program on standard error.
void note(std::string_view text);
/// An error of the program on standard error.
void error(std::string_view text);
/// What the user may do about the error above it; nothing when the text is empty.
void hint(std::string_view text);

/// A server error as the server words it: severity, message, SQLSTATE, detail and hint.
[[nodiscard]] std::string whole(const ServerError& failure);

/// A text on one line, kept away from the terminal's control: names and messages come from the database.
[[nodiscard]] std::string one_line(std::string_view text);

} // namespace pg_retention::runner
