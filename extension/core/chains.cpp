#include "extension/core/chains.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace pg_retention::core {
namespace {

RowKey page_of_row(RowKey row) { return row & ~RowKey{0xffff}; }

} // namespace

std::uint32_t Chains::add(std::uint64_t key, const Version* versions) {
  const auto next = static_cast<std::uint32_t>(size_);
  const std::uint32_t number = numbers_.find_or_add(key, next);
  if (number != next)
    return number;
  ++size_;
  for (std::size_t step = 0; step < width_; ++step)
    versions_[step].push_back(versions[step]);
  return number;
}

std::size_t Chains::memory() const {
  // While a step is sealed: its versions, an order of them, and what comes of it.
  constexpr std::size_t a_row = sizeof(RowKey) + sizeof(std::uint32_t) * 2 + 1;
  return numbers_.memory() + keys_.memory() + size() * width_ * (sizeof(Version) + sizeof(std::uint32_t) + a_row);
}

void Chains::seal() {
  for (std::size_t number = 0; number < width_; ++number) {
    seal_step(number);
    versions_[number] = {};
  }
  keys_ = KeyIndex(std::exchange(numbers_, {}));
}

void Chains::seal_step(std::size_t number) {
  const std::vector<Version>& versions = versions_[number];
  std::vector<std::uint32_t> order(versions.size());
  std::iota(order.begin(), order.end(), 0);
  const auto in_place = [&](std::uint32_t a, std::uint32_t b) { return versions[a].row < versions[b].row; };
  if (!std::is_sorted(order.begin(), order.end(), in_place))
    std::sort(order.begin(), order.end(), in_place);
  Step& step = steps_[number];
  std::vector<std::uint32_t>& row_of = row_of_[number];
  row_of.resize(versions.size());
  for (const std::uint32_t chain : order) {
    const Version& version = versions[chain];
    if (step.rows.empty() || step.rows.back() != version.row) {
      const RowKey page = page_of_row(version.row);
      if (step.pages.empty() || step.pages.back().key != page)
        step.pages.push_back({page, 0, static_cast<std::uint32_t>(step.rows.size()), 0});
      step.rows.push_back(version.row);
      step.xmins.push_back(version.xmin);
      step.page_of.push_back(static_cast<std::uint32_t>(step.pages.size() - 1));
    }
    row_of[chain] = static_cast<std::uint32_t>(step.rows.size() - 1);
  }
  step.is_as_judged.assign(step.rows.size(), 1);
}

bool Chains::is_as_judged(std::uint32_t chain) const {
  for (std::size_t number = 0; number < width_; ++number)
    if (steps_[number].is_as_judged[row_of_[number][chain]] == 0)
      return false;
  return true;
}

} // namespace pg_retention::core
