#pragma once
#include <cstdint>
#include <string>
#include <string_view>

/// The sentences the application functions return.
namespace pg_retention::core {

/// `1 cart item`, `2 cart items`.
[[nodiscard]] std::string counted(std::uint64_t count, std::string_view noun);

/// Why rows stayed, as a tail for a message: `; skipped 3 (2 locked, 1 returned to activity)`. Empty for none.
[[nodiscard]] std::string skipped_tail(std::uint64_t locked, std::uint64_t blocked, std::uint64_t held,
                                       std::uint64_t returned, std::uint64_t failed = 0);

} // namespace pg_retention::core
