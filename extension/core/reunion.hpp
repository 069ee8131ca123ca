#pragma once
#include "extension/core/rows.hpp"

#include <cstdint>
#include <utility>
#include <vector>

/// Archived rows on their way back: which of them return together, in what order, and which stay.
namespace pg_retention::core {

class Reunion {
public:
  static constexpr std::uint32_t none = 0xffffffff;

  /// `rows` are sorted, and each is there once.
  explicit Reunion(std::vector<RowKey> rows) : rows_(std::move(rows)), reasons_(rows_.size(), none) {}

  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(rows_.size()); }
  [[nodiscard]] RowKey key(std::uint32_t row) const { return rows_[row]; }
  /// The number of a row; `none` for a stranger.
  [[nodiscard]] std::uint32_t find(RowKey key) const;

  /// `child` does not return without `parent`.
  void link(std::uint32_t child, std::uint32_t parent) { links_.push_back({child, parent}); }
  /// A row stays, whatever becomes of the others; the first reason stays.
  void refuse(std::uint32_t row, std::uint32_t why);

  /// Cuts the rows into units that are tried whole, parents before children: everything that is linked in any way where
  /// rows return `together`, else only what is linked in a circle. To be called once, after all links and refusals.
  void settle(bool together);

  [[nodiscard]] std::uint32_t units() const { return static_cast<std::uint32_t>(first_.size() - 1); }
  /// The rows of a unit.
  [[nodiscard]] const std::uint32_t* begin(std::uint32_t unit) const { return order_.data() + first_[unit]; }
  [[nodiscard]] const std::uint32_t* end(std::uint32_t unit) const { return order_.data() + first_[unit + 1]; }
  /// A unit stays: all its rows, but those that have a reason already, get this one.
  void keep(std::uint32_t unit, std::uint32_t why);
  /// Whether a unit may be tried, those before it being decided. One that has a refused row is kept for that row's
  /// reason, one whose parents stay for the reason `orphaned`.
  [[nodiscard]] bool may_return(std::uint32_t unit, std::uint32_t orphaned);
  /// Why a row stays; `none` where it does not.
  [[nodiscard]] std::uint32_t why(std::uint32_t row) const { return reasons_[row]; }

private:
  struct Link {
    std::uint32_t child, parent;
  };
  std::vector<RowKey> rows_;
  std::vector<std::uint32_t> reasons_;
  std::vector<Link> links_;          ///< sorted by child once settled
  std::vector<std::uint32_t> order_; ///< the rows, unit by unit
  std::vector<std::uint32_t> first_; ///< of each unit in order_, and the end

  [[nodiscard]] std::pair<const Link*, const Link*> parents_of(std::uint32_t row) const;
  void join_linked();
  void join_circles();
};

} // namespace pg_retention::core
