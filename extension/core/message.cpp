#include "extension/core/message.hpp"

#include "extension/core/identifier.hpp"

#include <vector>

namespace pg_retention::core {

std::string counted(std::uint64_t count, std::string_view noun) {
  return std::to_string(count) + " " + std::string(noun) + (count == 1 ? "" : "s");
}

std::string skipped_tail(std::uint64_t locked, std::uint64_t blocked, std::uint64_t held, std::uint64_t returned,
                         std::uint64_t failed) {
  std::vector<std::string> reasons;
  const auto add = [&](std::uint64_t count, const char* what) {
    if (count != 0)
      reasons.push_back(std::to_string(count) + " " + what);
  };
  add(locked, "locked");
  add(blocked, "blocked");
  add(held, "held");
  add(returned, "returned to activity");
  add(failed, "failed");
  if (reasons.empty())
    return "";
  return "; skipped " + std::to_string(locked + blocked + held + returned + failed) + " (" + join(reasons, ", ") + ")";
}

} // namespace pg_retention::core
