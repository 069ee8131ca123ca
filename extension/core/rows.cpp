#include "extension/core/rows.hpp"

#include "extension/core/failure.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace pg_retention::core {

void KeyNumbers::grow() {
  std::vector<Slot> old(slots_.empty() ? 1024 : slots_.size() * 2);
  old.swap(slots_);
  for (const Slot& slot : old)
    if (slot.number != none)
      slots_[place(slot.key)] = slot;
}

std::uint32_t KeyNumbers::find_or_add(std::uint64_t key, std::uint32_t next) {
  if ((size_ + 1) * 2 > slots_.size())
    grow();
  Slot& slot = slots_[place(key)];
  if (slot.number == none) {
    slot = {key, next};
    ++size_;
  }
  return slot.number;
}

KeyIndex::KeyIndex(KeyNumbers numbers) : sparse_(std::move(numbers)) {
  if (sparse_.size() == 0)
    return;
  // Signed keys stand in order as unsigned ones but for the change of sign, which a difference does not see.
  auto least = std::numeric_limits<std::int64_t>::max(), greatest = std::numeric_limits<std::int64_t>::min();
  sparse_.for_each([&](std::uint64_t key, std::uint32_t) {
    least = std::min(least, static_cast<std::int64_t>(key));
    greatest = std::max(greatest, static_cast<std::int64_t>(key));
  });
  const std::uint64_t range = static_cast<std::uint64_t>(greatest) - static_cast<std::uint64_t>(least) + 1;
  constexpr std::uint64_t loosest = 8; // places a key: no more memory than the flat table takes
  if (range != 0 && range <= loosest * sparse_.size()) {
    least_ = static_cast<std::uint64_t>(least);
    dense_.assign(range, KeyNumbers::none);
    bits_.assign(range / 64 + 1, 0);
    sparse_.for_each([&](std::uint64_t key, std::uint32_t number) {
      const std::uint64_t at = key - least_;
      dense_[at] = number;
      bits_[at >> 6] |= std::uint64_t{1} << (at & 63);
    });
    sparse_ = KeyNumbers();
    return;
  }
  std::size_t words = 1;
  while (words * 8 < sparse_.size())
    words *= 2;
  bits_.assign(words, 0);
  sparse_.for_each([&](std::uint64_t key, std::uint32_t) { bits_[filter_word(key)] |= filter_mask(key); });
}

std::uint16_t Leaves::number(std::uint32_t oid) {
  if (oid == last_oid_)
    return last_number_;
  const auto found = std::find(oids_.begin(), oids_.end(), oid);
  if (found == oids_.end() && oids_.size() > std::numeric_limits<std::uint16_t>::max())
    throw Failure("54000", "a policy reaches more than 65536 tables");
  last_number_ = static_cast<std::uint16_t>(found - oids_.begin());
  last_oid_ = oid;
  if (found == oids_.end())
    oids_.push_back(oid);
  return last_number_;
}

std::uint32_t Guards::chain(const RowKey* keys) {
  const auto next = static_cast<std::uint32_t>(size());
  const std::uint32_t number = chains_.find_or_add(keys[0], next);
  if (number == next)
    keys_.insert(keys_.end(), keys, keys + width_);
  return number;
}

std::vector<RowKey> Guards::rows(std::size_t step) const {
  std::vector<RowKey> out;
  out.reserve(size());
  for (std::uint32_t chain = 0; chain < size(); ++chain)
    out.push_back(key(chain, step));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::uint32_t Family::add(RowKey key) {
  const std::uint32_t next = size();
  const std::uint32_t number = known_.find_or_add(key, next);
  if (number == next) {
    keys_.push_back(key);
    fates_.push_back(Fate::goes);
  }
  return number;
}

std::optional<std::uint32_t> Family::find(RowKey key) const {
  const std::uint32_t number = known_.find(key);
  return number == KeyNumbers::none ? std::nullopt : std::optional<std::uint32_t>(number);
}

void Family::keep(std::uint32_t row, Fate why) {
  if (fates_[row] == Fate::goes)
    fates_[row] = why;
}

void Family::spread_reasons() {
  // Reasons travel from child to parent: links sorted by child, so that a row's parents stand together.
  std::sort(links_.begin(), links_.end(), [](const Link& a, const Link& b) { return a.child < b.child; });
  std::vector<std::uint32_t> open;
  for (std::uint32_t row = 0; row < size(); ++row)
    if (fates_[row] != Fate::goes)
      open.push_back(row);
  while (!open.empty()) {
    const std::uint32_t row = open.back();
    open.pop_back();
    auto link = std::lower_bound(links_.begin(), links_.end(), row,
                                 [](const Link& l, std::uint32_t child) { return l.child < child; });
    for (; link != links_.end() && link->child == row; ++link)
      if (fates_[link->parent] == Fate::goes) {
        fates_[link->parent] = fates_[row];
        open.push_back(link->parent);
      }
  }
}

void Family::reach_from(std::uint32_t victims) {
  std::sort(links_.begin(), links_.end(), [](const Link& a, const Link& b) { return a.parent < b.parent; });
  std::vector<std::uint32_t> open;
  going_.assign(size(), false);
  for (std::uint32_t row = 0; row < victims; ++row)
    if (fates_[row] == Fate::goes) {
      going_[row] = true;
      open.push_back(row);
    }
  while (!open.empty()) {
    const std::uint32_t row = open.back();
    open.pop_back();
    auto link = std::lower_bound(links_.begin(), links_.end(), row,
                                 [](const Link& l, std::uint32_t parent) { return l.parent < parent; });
    for (; link != links_.end() && link->parent == row; ++link)
      if (!going_[link->child]) {
        going_[link->child] = true;
        open.push_back(link->child);
      }
  }
}

void Family::settle(std::uint32_t victims) {
  for (bool is_settled = false; !is_settled;) {
    spread_reasons();
    reach_from(victims);
    is_settled = true;
    for (const Link& need : needs_)
      if (going_[need.parent] && !going_[need.child]) {
        keep(need.parent, Fate::blocked);
        is_settled = false;
      }
  }
}

} // namespace pg_retention::core
