#include "extension/core/reunion.hpp"

#include <algorithm>
#include <numeric>

namespace pg_retention::core {

std::uint32_t Reunion::find(RowKey key) const {
  const auto found = std::lower_bound(rows_.begin(), rows_.end(), key);
  return found != rows_.end() && *found == key ? static_cast<std::uint32_t>(found - rows_.begin()) : none;
}

void Reunion::refuse(std::uint32_t row, std::uint32_t why) {
  if (reasons_[row] == none)
    reasons_[row] = why;
}

void Reunion::settle(bool together) {
  std::sort(links_.begin(), links_.end(), [](const Link& a, const Link& b) { return a.child < b.child; });
  together ? join_linked() : join_circles();
}

/// Units of everything that is linked, in the order of their first rows.
void Reunion::join_linked() {
  std::vector<std::uint32_t> above(rows_.size());
  std::iota(above.begin(), above.end(), 0U);
  const auto top = [&](std::uint32_t row) {
    while (above[row] != row)
      row = above[row] = above[above[row]];
    return row;
  };
  // The smaller number is the top, so that a unit bears the number of its first row.
  for (const Link& link : links_) {
    const std::uint32_t a = top(link.child), b = top(link.parent);
    above[std::max(a, b)] = std::min(a, b);
  }
  order_.resize(rows_.size());
  std::iota(order_.begin(), order_.end(), 0U);
  for (const std::uint32_t row : order_)
    above[row] = top(row);
  std::stable_sort(order_.begin(), order_.end(), [&](std::uint32_t a, std::uint32_t b) { return above[a] < above[b]; });
  for (std::uint32_t i = 0; i < order_.size(); ++i)
    if (i == 0 || above[order_[i]] != above[order_[i - 1]])
      first_.push_back(i);
  first_.push_back(static_cast<std::uint32_t>(order_.size()));
}

std::pair<const Reunion::Link*, const Reunion::Link*> Reunion::parents_of(std::uint32_t row) const {
  const auto less = [](const Link& link, std::uint32_t child) { return link.child < child; };
  const auto begin = std::lower_bound(links_.begin(), links_.end(), row, less);
  const auto end = std::lower_bound(begin, links_.end(), row + 1, less);
  return {links_.data() + (begin - links_.begin()), links_.data() + (end - links_.begin())};
}

/// Units of rows that need each other (strongly connected components, found by Tarjan's walk with a stack of its own),
/// in the order in which the walk leaves them: what a unit needs stands before it.
void Reunion::join_circles() {
  struct Visit {
    std::uint32_t row;
    const Link *next, *end;
  };
  const auto count = static_cast<std::uint32_t>(rows_.size());
  std::vector<std::uint32_t> number(count, none), lowest(count), open;
  std::vector<bool> is_open(count, false);
  std::vector<Visit> path;
  std::uint32_t met = 0;
  const auto visit = [&](std::uint32_t row) {
    const auto [begin, end] = parents_of(row);
    number[row] = lowest[row] = met++;
    open.push_back(row);
    is_open[row] = true;
    path.push_back({row, begin, end});
  };
  for (std::uint32_t start = 0; start < count; ++start) {
    if (number[start] == none)
      visit(start);
    while (!path.empty()) {
      Visit& top = path.back();
      const std::uint32_t row = top.row;
      if (top.next != top.end) {
        const std::uint32_t parent = (top.next++)->parent;
        if (number[parent] == none)
          visit(parent);
        else if (is_open[parent])
          lowest[row] = std::min(lowest[row], number[parent]);
        continue;
      }
      path.pop_back();
      if (!path.empty())
        lowest[path.back().row] = std::min(lowest[path.back().row], lowest[row]);
      if (lowest[row] != number[row])
        continue;
      first_.push_back(static_cast<std::uint32_t>(order_.size()));
      std::uint32_t member = none;
      while (member != row) {
        member = open.back();
        open.pop_back();
        is_open[member] = false;
        order_.push_back(member);
      }
    }
  }
  first_.push_back(static_cast<std::uint32_t>(order_.size()));
}

void Reunion::keep(std::uint32_t unit, std::uint32_t why) {
  for (const std::uint32_t* row = begin(unit); row != end(unit); ++row)
    refuse(*row, why);
}

bool Reunion::may_return(std::uint32_t unit, std::uint32_t orphaned) {
  std::uint32_t why = none;
  bool has_parents = true;
  for (const std::uint32_t* row = begin(unit); row != end(unit); ++row) {
    if (reasons_[*row] != none && why == none)
      why = reasons_[*row];
    const auto [parent, last] = parents_of(*row);
    for (const Link* link = parent; link != last; ++link)
      has_parents = has_parents && reasons_[link->parent] == none;
  }
  if (why == none && !has_parents)
    why = orphaned;
  if (why == none)
    return true;
  keep(unit, why);
  return false;
}

} // namespace pg_retention::core
