#include "extension/core/turns.hpp"

#include <gtest/gtest.h>

namespace pg_retention::core {
namespace {

std::vector<RowKey> in_turns(std::vector<RowKey> rows, std::size_t at_a_time = most_rows_in_turns) {
  take_turns(rows, at_a_time, [](RowKey row) { return row; });
  return rows;
}

/// `count` rows of each of `pages` pages, in physical order.
std::vector<RowKey> full_pages(std::uint32_t pages, std::uint16_t count) {
  std::vector<RowKey> rows;
  for (std::uint32_t page = 0; page < pages; ++page)
    for (std::uint16_t offset = 1; offset <= count; ++offset)
      rows.push_back(row_key(0, page, offset));
  return rows;
}

TEST(Turns, RowsOfAPageGoOneAfterTheOther) {
  EXPECT_EQ(in_turns({row_key(0, 1, 1), row_key(0, 1, 2), row_key(0, 2, 5), row_key(0, 2, 6)}),
            (std::vector<RowKey>{row_key(0, 1, 1), row_key(0, 2, 5), row_key(0, 1, 2), row_key(0, 2, 6)}));
}

TEST(Turns, TheSameBlockOfAnotherLeafIsAnotherPage) {
  EXPECT_EQ(in_turns({row_key(0, 1, 1), row_key(0, 1, 2), row_key(1, 1, 1), row_key(1, 1, 2)}),
            (std::vector<RowKey>{row_key(0, 1, 1), row_key(1, 1, 1), row_key(0, 1, 2), row_key(1, 1, 2)}));
}

TEST(Turns, FewerRowsAtATimeAreDoneBeforeTheNext) {
  EXPECT_EQ(in_turns(full_pages(4, 2), 4),
            (std::vector<RowKey>{row_key(0, 0, 1), row_key(0, 1, 1), row_key(0, 0, 2), row_key(0, 1, 2),
                                 row_key(0, 2, 1), row_key(0, 3, 1), row_key(0, 2, 2), row_key(0, 3, 2)}));
}

TEST(Turns, ATurnHasOneInEightRowsOfAPage) {
  const std::vector<RowKey> rows = in_turns(full_pages(3, 16));
  for (std::size_t at = 0; at < rows.size(); ++at)
    EXPECT_EQ((offset_of(rows[at]) - 1) % turns, at / (rows.size() / turns)) << at;
}

TEST(Turns, ARowAloneOnItsPageHasTheFirst) {
  const std::vector<RowKey> rows = full_pages(1000, 1);
  EXPECT_EQ(in_turns(rows), rows);
}

TEST(Turns, NothingIsLostOrDoubled) {
  const std::vector<RowKey> rows = full_pages(2 * most_pages_in_turns + 7, 65);
  std::vector<RowKey> turned = in_turns(rows);
  EXPECT_NE(turned, rows);
  std::sort(turned.begin(), turned.end());
  EXPECT_EQ(turned, rows);
}

TEST(Turns, PagesFarApartDoNotTakeTurnsTogether) {
  const std::vector<RowKey> few = in_turns(full_pages(most_pages_in_turns + 1, 2));
  EXPECT_EQ(few[few.size() - 2], row_key(0, most_pages_in_turns, 1)) << "the last page begins when all others are done";
  EXPECT_EQ(few.back(), row_key(0, most_pages_in_turns, 2));
  const std::vector<RowKey> many = in_turns(full_pages(most_rows_in_turns / 256 + 1, 256));
  EXPECT_EQ(block_of(many[most_rows_in_turns - 1]), most_rows_in_turns / 256 - 1);
  EXPECT_EQ(block_of(many[most_rows_in_turns]), most_rows_in_turns / 256);
}

TEST(Turns, OfNothingIsNothing) { EXPECT_TRUE(in_turns({}).empty()); }

} // namespace
} // namespace pg_retention::core
