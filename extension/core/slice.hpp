#pragma once
#include "extension/core/rows.hpp"

/// One of several disjoint parts of a table's blocks, so that sessions can share a run.
namespace pg_retention::core {

/// Stretches of blocks are dealt out in turn: no session needs to know how large the table is, and all parts are about
/// as large wherever the victims lie.
struct Slice {
  static constexpr std::uint32_t stretch = 512; ///< blocks
  static constexpr int most = 64;

  std::uint32_t number = 1, of = 1; ///< from 1 to `of`

  [[nodiscard]] bool has(std::uint32_t block) const { return block / stretch % of == number - 1; }
  /// The first block from `block` on that is in the slice.
  [[nodiscard]] std::uint32_t next(std::uint32_t block) const {
    while (!has(block))
      block = (block / stretch + 1) * stretch;
    return block;
  }
  /// The end of the stretch that `block` is in.
  [[nodiscard]] std::uint32_t end(std::uint32_t block) const {
    return of == 1 ? 0xfffffffe : (block / stretch + 1) * stretch;
  }
};

} // namespace pg_retention::core
