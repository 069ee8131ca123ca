#include "extension/core/pace.hpp"

#include <algorithm>

namespace pg_retention::core {
namespace {

constexpr std::size_t fewest = 100;
constexpr std::size_t first = 2000;

} // namespace

Pace::Pace(int target_ms, std::size_t most)
    : target_(std::int64_t{target_ms} * 1000), most_(std::max(most, fewest)), size_(std::min(first, most_)) {}

void Pace::measured(std::size_t rows, std::int64_t microseconds) {
  if (rows == 0)
    return;
  const std::int64_t took = std::max<std::int64_t>(microseconds, 1);
  const auto fitting = static_cast<std::size_t>(static_cast<std::int64_t>(rows) * target_ / took);
  size_ = std::clamp(std::min(fitting, size_ * 2), fewest, most_);
}

} // namespace pg_retention::core
