#pragma once
#include "extension/core/rows.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

/// The order in which batches update rows. A new version that finds no room on its page goes to another, and into every
/// index anew. So the rows of a page take turns: what one batch has replaced is room for the new versions of a later
/// one, on the same page, where the indexes find them already.
namespace pg_retention::core {

/// Each turn has one in so many rows of a page. All but those of the first can find room.
inline constexpr std::size_t turns = 8;

/// So many pages and rows take turns together: few enough for the pages to stay in memory from one turn to the next,
/// enough for a turn to be longer than a batch.
inline constexpr std::size_t most_pages_in_turns = 8192, most_rows_in_turns = 524288;

/// Brings rows in physical order into that of turns, so many at a time; `place` gives the RowKey of a row. Within a
/// turn they stay in physical order.
template <class Row, class Place>
void take_turns(std::vector<Row>& rows, std::size_t at_a_time, Place place) {
  std::array<std::vector<Row>, turns> parts;
  for (auto at = rows.begin(), to = at; at != rows.end();) {
    std::size_t pages = 0, nth = 0;
    for (; at != rows.end() && at - to < static_cast<std::ptrdiff_t>(at_a_time); ++at) {
      const bool is_new_page = at == to || page_of(place(*at)) != page_of(place(*(at - 1)));
      if (is_new_page && ++pages > most_pages_in_turns)
        break;
      nth = is_new_page ? 0 : nth + 1;
      parts[nth % turns].push_back(*at);
    }
    for (std::vector<Row>& part : parts) {
      to = std::copy(part.begin(), part.end(), to);
      part.clear();
    }
  }
}

} // namespace pg_retention::core
