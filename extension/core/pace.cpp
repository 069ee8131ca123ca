#include "extension/core/pace.hpp"

#include <algorithm>

namespace pg_retention::core {
namespace {

constexpr std::size_t fewest = 100;
constexpr std::size_t first = 2000, first_a_ms = 20;

/// Batches that are remembered.
constexpr std::size_t memory = 8;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

} // namespace

Pace::Pace(int target_ms, std::size_t most)
    : target_(std::int64_t{target_ms} * 1000), most_(std::max(most, fewest)),
      size_(std::min({first, std::max(first_a_ms * static_cast<std::size_t>(target_ms), fewest), most_})),
      worst_(static_cast<double>(most_)) {}

/// Learns how many rows take as long as what a batch takes whatever its size, where that is more than half of the time;
/// 0 where it is less. A line through the latest batches, by the medians of its slope and height, which a few odd
/// batches do not move. Batches of one size tell nothing new.
void Pace::weigh() {
  std::vector<double> slopes, heights;
  for (const Batch& a : latest_)
    for (const Batch& b : latest_)
      if (a.rows >= b.rows + b.rows / 4 + 1)
        slopes.push_back(static_cast<double>(a.took - b.took) / static_cast<double>(a.rows - b.rows));
  if (slopes.size() < 3)
    return;
  const double a_row = std::max(median(slopes), 0.001);
  for (const Batch& batch : latest_)
    heights.push_back(static_cast<double>(batch.took) - a_row * static_cast<double>(batch.rows));
  const double fixed = median(heights);
  worthwhile_ = fixed > static_cast<double>(target_) / 2 ? static_cast<std::size_t>(fixed / a_row) : 0;
}

/// Whether the latest batches all were of the least size: of what a row takes, and what a batch does, they say nothing.
bool Pace::tells_nothing() const {
  constexpr std::size_t enough = 4;
  return latest_.size() >= enough &&
         std::all_of(latest_.begin(), latest_.end(), [](const Batch& batch) { return batch.rows <= fewest; });
}

void Pace::measured(std::size_t rows, std::int64_t microseconds) {
  if (rows == 0)
    return;
  const std::int64_t took = std::max<std::int64_t>(microseconds, 1);
  if (latest_.size() == memory)
    latest_.erase(latest_.begin());
  latest_.push_back({rows, took});
  auto fitting = static_cast<std::size_t>(static_cast<std::int64_t>(rows) * target_ / took);
  // What an odd moment has made of it is forgotten in a hundred batches; a dear stretch comes again before.
  constexpr double forgotten = 1.02;
  worst_ *= forgotten;
  if (rows >= size_ / 2) // a remainder says little
    worst_ = std::min(worst_, static_cast<double>(fitting));
  if (tells_nothing())
    fitting = size_ * 2;
  weigh();
  size_ = std::clamp(std::min(std::max(fitting, worthwhile_), size_ * 2), fewest, most_);
  if (expects_stretches_)
    size_ = std::clamp(std::min(size_, static_cast<std::size_t>(worst_ * 1.5)), fewest, most_);
}

} // namespace pg_retention::core
