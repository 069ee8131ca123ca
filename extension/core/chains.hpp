#pragma once
#include "extension/core/rows.hpp"

#include <cstdint>
#include <vector>

/// The rows on the way from a target to its expired subjects, as the versions that were judged, and the pages they
/// stand on. A version is a place together with the transaction that wrote it: a place may come to mean another row,
/// a version does not.
namespace pg_retention::core {

struct Version {
  RowKey row = 0;
  std::uint32_t xmin = 0;
};

/// A page that holds such rows.
struct WatchedPage {
  RowKey key;              ///< of the page: leaf and block, offset 0
  std::uint64_t stamp = 0; ///< its log position when its rows were last looked at; 0: never
  std::uint32_t first;     ///< its first row in Step::rows
  std::uint32_t epoch = 0; ///< the last batch that asked for it
};

/// The rows of one step of the path, once each, in physical order.
struct Step {
  std::vector<RowKey> rows;
  std::vector<std::uint32_t> xmins;
  std::vector<std::uint8_t> is_as_judged; ///< 0: it changed, so no chain through it may be trusted
  std::vector<std::uint32_t> page_of;     ///< by row: index into pages
  std::vector<WatchedPage> pages;

  /// One past the last row of a page.
  [[nodiscard]] std::uint32_t end_of(std::size_t page) const {
    return page + 1 < pages.size() ? pages[page + 1].first : static_cast<std::uint32_t>(rows.size());
  }
};

/// Chains: the rows from the first step to the subject. The first row determines the rest.
class Chains {
public:
  explicit Chains(std::size_t width) : width_(width), versions_(width), row_of_(width), steps_(width) {}

  /// Takes in the chain known by `key`, unless it is known; returns its number. `versions` has `width` entries.
  std::uint32_t add(std::uint64_t key, const Version* versions);
  /// Brings the rows of each step in order; nothing can be added after.
  void seal();

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t width() const { return width_; }
  /// Bytes in use, about; what seal() needs for a moment included.
  [[nodiscard]] std::size_t memory() const;

  // After seal():
  /// The numbers of the chains by their keys.
  [[nodiscard]] const KeyIndex& keys() const { return keys_; }
  [[nodiscard]] Step& step(std::size_t number) { return steps_[number]; }
  [[nodiscard]] const Step& step(std::size_t number) const { return steps_[number]; }
  /// The index in step(number).rows of a chain's row.
  [[nodiscard]] std::uint32_t row_of(std::uint32_t chain, std::size_t number) const { return row_of_[number][chain]; }
  [[nodiscard]] RowKey row(std::uint32_t chain, std::size_t number) const {
    return steps_[number].rows[row_of_[number][chain]];
  }
  /// Whether all its rows are still the versions that were judged.
  [[nodiscard]] bool is_as_judged(std::uint32_t chain) const;

private:
  std::size_t width_, size_ = 0;
  KeyNumbers numbers_; ///< until seal()
  KeyIndex keys_;
  std::vector<std::vector<Version>> versions_; ///< by step and chain, until seal()
  std::vector<std::vector<std::uint32_t>> row_of_;
  std::vector<Step> steps_;

  void seal_step(std::size_t number);
};

} // namespace pg_retention::core
