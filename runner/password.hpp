// The question for a password, on the terminal that the program was started from.
#pragma once

#include <optional>
#include <string>

namespace pg_retention::runner {

/// Asks for a password with the echo off; throws CannotConnect where there is no terminal, or a signal interrupts.
[[nodiscard]] std::string ask_password(const std::optional<std::string>& user);

} // namespace pg_retention::runner
