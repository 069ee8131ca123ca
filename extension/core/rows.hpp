#pragma once
#include <cstdint>
#include <optional>
#include <vector>

/// Rows by their physical place. A place means a row only together with its own leaf table, and only inside the
/// transaction that read it while a snapshot that saw the row stands.
namespace pg_retention::core {

/// Leaf table (16 bits, an index into Leaves), block (32), offset (16): sorts in physical order.
using RowKey = std::uint64_t;

[[nodiscard]] constexpr RowKey row_key(std::uint16_t leaf, std::uint32_t block, std::uint16_t offset) {
  return (RowKey{leaf} << 48) | (RowKey{block} << 16) | offset;
}
[[nodiscard]] constexpr std::uint16_t leaf_of(RowKey key) { return static_cast<std::uint16_t>(key >> 48); }
[[nodiscard]] constexpr std::uint32_t block_of(RowKey key) { return static_cast<std::uint32_t>(key >> 16); }
[[nodiscard]] constexpr std::uint16_t offset_of(RowKey key) { return static_cast<std::uint16_t>(key); }
/// Leaf and block in one: what rows of one page have in common.
[[nodiscard]] constexpr std::uint64_t page_of(RowKey key) { return key >> 16; }

/// The RowKey of a row that is nothing else.
[[nodiscard]] constexpr RowKey itself(RowKey key) { return key; }

/// Calls `visit(first, last)` with the bounds of each stretch of rows of one leaf; `key_of` gives the RowKey of a row.
template <class Row, class Key, class Visit>
void for_each_leaf(const std::vector<Row>& rows, Key key_of, Visit visit) {
  for (std::size_t first = 0, last = 0; first < rows.size(); first = last) {
    while (last < rows.size() && leaf_of(key_of(rows[last])) == leaf_of(key_of(rows[first])))
      ++last;
    visit(first, last);
  }
}

/// A number for each key, in one flat table: a look-up touches one cache line, which counts when every victim makes
/// one. Grows by doubling; 16 bytes a slot, at most half full.
class KeyNumbers {
public:
  static constexpr std::uint32_t none = 0xffffffff;

  /// The number of `key`: the one it has, or `next` from now on.
  std::uint32_t find_or_add(std::uint64_t key, std::uint32_t next);
  /// The number of `key`, or `none`.
  [[nodiscard]] std::uint32_t find(std::uint64_t key) const {
    return slots_.empty() ? none : slots_[place(key)].number;
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  /// Bytes in use.
  [[nodiscard]] std::size_t memory() const { return slots_.size() * sizeof(Slot); }
  /// Calls `visit(key, number)` for each, in no order.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const Slot& slot : slots_)
      if (slot.number != none)
        visit(slot.key, slot.number);
  }

private:
  struct Slot {
    std::uint64_t key = 0;
    std::uint32_t number = none;
  };
  std::vector<Slot> slots_;
  std::size_t size_ = 0;

  /// Where `key` is, or would be.
  [[nodiscard]] std::size_t place(std::uint64_t key) const {
    // Fibonacci hashing: neighbours spread over the whole table.
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = (key * 0x9e3779b97f4a7c15ULL >> 24) & mask;
    while (slots_[at].number != none && slots_[at].key != key)
      at = (at + 1) & mask;
    return at;
  }
  void grow();
};

/// A KeyNumbers that is only read from now on, made for looking up mostly what is not in it. Keys that lie close
/// together become a bit each and a table of numbers; others a filter of some bits each in front of the flat table.
class KeyIndex {
public:
  KeyIndex() = default;
  explicit KeyIndex(KeyNumbers numbers);

  [[nodiscard]] std::uint32_t find(std::uint64_t key) const {
    if (!dense_.empty()) {
      const std::uint64_t at = key - least_;
      return at < dense_.size() && (bits_[at >> 6] >> (at & 63) & 1) != 0 ? dense_[at] : KeyNumbers::none;
    }
    if (bits_.empty())
      return KeyNumbers::none;
    const std::uint64_t mask = filter_mask(key);
    return (bits_[filter_word(key)] & mask) == mask ? sparse_.find(key) : KeyNumbers::none;
  }
  [[nodiscard]] std::size_t memory() const {
    return sparse_.memory() + dense_.size() * sizeof(std::uint32_t) + bits_.size() * sizeof(std::uint64_t);
  }

private:
  KeyNumbers sparse_;
  std::vector<std::uint32_t> dense_; ///< by key, from least_ on
  std::vector<std::uint64_t> bits_;
  std::uint64_t least_ = 0;

  [[nodiscard]] std::size_t filter_word(std::uint64_t key) const {
    return (key * 0x9e3779b97f4a7c15ULL >> 20) & (bits_.size() - 1);
  }
  [[nodiscard]] static std::uint64_t filter_mask(std::uint64_t key) {
    const std::uint64_t mixed = key * 0xc2b2ae3d27d4eb4fULL;
    return std::uint64_t{1} << (mixed >> 58) | std::uint64_t{1} << (mixed >> 52 & 63);
  }
};

/// The leaf tables met so far, numbered.
class Leaves {
public:
  /// The number of a table; throws Failure 54000 for the 65,536th.
  std::uint16_t number(std::uint32_t oid);
  [[nodiscard]] std::uint32_t oid(std::uint16_t leaf) const { return oids_[leaf]; }
  [[nodiscard]] std::size_t size() const { return oids_.size(); }

private:
  std::vector<std::uint32_t> oids_;
  std::uint32_t last_oid_ = 0;
  std::uint16_t last_number_ = 0;
};

/// Why a victim stays.
enum class Fate : std::uint8_t {
  goes,     ///< it does not stay
  locked,   ///< it, its subject or a dependent is locked by somebody else
  changed,  ///< it, its subject or a dependent changed since it was chosen: judged again in another pass
  gone,     ///< somebody else deleted it
  returned, ///< its subject proved to be alive
  blocked,  ///< something still refers to it
  held,     ///< a legal hold
};

/// The rows on the paths from victims to their subjects. Each is locked once, whatever the number of victims.
/// A chain is the rows from the first step to the subject; the first row determines the rest.
class Guards {
public:
  explicit Guards(std::size_t width) : width_(width) {}

  /// The chain that begins with keys[0]; `keys` has `width` entries.
  std::uint32_t chain(const RowKey* keys);
  [[nodiscard]] std::size_t size() const { return width_ == 0 ? 0 : keys_.size() / width_; }
  [[nodiscard]] std::size_t width() const { return width_; }
  [[nodiscard]] RowKey key(std::uint32_t chain, std::size_t step) const { return keys_[chain * width_ + step]; }
  /// Every row of one step, once each, in physical order.
  [[nodiscard]] std::vector<RowKey> rows(std::size_t step) const;

private:
  std::size_t width_;
  std::vector<RowKey> keys_;
  KeyNumbers chains_;
};

/// Victims and everything that goes with them: who depends on whom, and who therefore cannot go.
class Family {
public:
  /// The number of a row, new or known.
  std::uint32_t add(RowKey key);
  /// The number of a known row.
  [[nodiscard]] std::optional<std::uint32_t> find(RowKey key) const;

  /// `child` cannot outlive `parent`, and `parent` cannot go without `child`.
  void link(std::uint32_t parent, std::uint32_t child) { links_.push_back({parent, child}); }
  /// `parent` cannot go unless `child` goes, which it does not do on that account.
  void need(std::uint32_t parent, std::uint32_t child) { needs_.push_back({parent, child}); }
  /// Marks a row that cannot go; the first reason stays.
  void keep(std::uint32_t row, Fate why);
  /// Spreads every reason from children to parents; drops what no remaining victim reaches; blocks who needs a row that
  /// stays; and so on until nothing changes. The first `victims` rows added are the victims.
  void settle(std::uint32_t victims);

  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(keys_.size()); }
  [[nodiscard]] RowKey key(std::uint32_t row) const { return keys_[row]; }
  [[nodiscard]] Fate fate(std::uint32_t row) const { return fates_[row]; }
  /// After settle(): whether the row goes.
  [[nodiscard]] bool goes(std::uint32_t row) const { return going_[row]; }

private:
  struct Link {
    std::uint32_t parent, child;
  };
  std::vector<RowKey> keys_;
  std::vector<Fate> fates_;
  std::vector<bool> going_;
  std::vector<Link> links_, needs_;

  void spread_reasons();
  void reach_from(std::uint32_t victims);
  KeyNumbers known_;
};

} // namespace pg_retention::core
