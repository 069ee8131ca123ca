#include "extension/core/pace.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

using pg_retention::core::Pace;

TEST(Pace, BeginsSmallAndGrowsAtMostTwofold) {
  Pace pace(100, 50000);
  const std::size_t first = pace.next();
  pace.measured(first, 1);
  EXPECT_EQ(pace.next(), first * 2);
}

TEST(Pace, BeginsWithFewerRowsWhereABatchShallBeShort) {
  EXPECT_EQ(Pace(100, 50000).next(), 2000U);
  EXPECT_EQ(Pace(10000, 50000).next(), 2000U);
  EXPECT_EQ(Pace(10, 50000).next(), 200U);
  EXPECT_EQ(Pace(2, 50000).next(), 100U);
  EXPECT_EQ(Pace(2, 1).next(), 100U);
}

TEST(Pace, LearnsFromTheFewestRowsThatABatchOfAnySizeIsDear) {
  Pace pace(2, 200000);
  for (int i = 0; i < 40; ++i) {
    pace.measured(pace.next(), 50000 + static_cast<std::int64_t>(pace.next()) * 5);
    EXPECT_TRUE(i < 10 || pace.next() == 10000U) << i;
  }
}

TEST(Pace, StaysWithTheFewestRowsWhereTheyAreDear) {
  Pace pace(2, 200000);
  std::size_t most = 0, sum = 0;
  for (int i = 0; i < 90; ++i) {
    most = std::max(most, pace.next());
    sum += pace.next();
    pace.measured(pace.next(), static_cast<std::int64_t>(pace.next()) * 100);
  }
  EXPECT_EQ(most, 200U) << "once in a while";
  EXPECT_LT(sum, 90 * 115U);
}

TEST(Pace, SettlesWhereABatchTakesItsTime) {
  Pace pace(100, 1000000);
  for (int i = 0; i < 20; ++i)
    pace.measured(pace.next(), static_cast<std::int64_t>(pace.next()) * 10);
  EXPECT_EQ(pace.next(), 10000U);
}

TEST(Pace, ShrinksAtOnceWhenABatchWasLong) {
  Pace pace(100, 50000);
  pace.measured(2000, 1000000);
  EXPECT_EQ(pace.next(), 200U);
}

TEST(Pace, StaysBetweenAHundredAndTheMost) {
  Pace pace(100, 3000);
  pace.measured(2000, 1);
  EXPECT_EQ(pace.next(), 3000U);
  pace.measured(3000, 3600000000LL);
  EXPECT_EQ(pace.next(), 100U);
}

TEST(Pace, LearnsNothingFromAnEmptyBatch) {
  Pace pace(100, 50000);
  const std::size_t before = pace.next();
  pace.measured(0, 5);
  EXPECT_EQ(pace.next(), before);
}

namespace {

/// Batches over `rows` rows in all, each of `fixed` microseconds and `a_row` for each row: how long all of them took.
std::int64_t all_batches(std::size_t rows, std::int64_t fixed, double a_row, std::size_t* largest = nullptr) {
  Pace pace(100, 200000);
  std::int64_t sum = 0;
  for (std::size_t done = 0; done < rows;) {
    const std::size_t batch = std::min(pace.next(), rows - done);
    const auto took = fixed + static_cast<std::int64_t>(a_row * static_cast<double>(batch));
    pace.measured(batch, took);
    sum += took;
    done += batch;
    if (largest != nullptr)
      *largest = std::max(*largest, batch);
  }
  return sum;
}

} // namespace

TEST(Pace, WorkThatEveryBatchRepeatsDoesNotTakeOver) {
  // A million rows, 10 microseconds each, and 400 milliseconds a batch whatever its size.
  EXPECT_LT(all_batches(1000000, 400000, 10), 3 * 10000000);
  // Ten times the rows are ten times the work, not a hundred times.
  EXPECT_LT(all_batches(10000000, 400000, 10), 11 * all_batches(1000000, 400000, 10));
}

TEST(Pace, WorkThatEveryBatchRepeatsIsNotAnExcuseWhereItIsSmall) {
  std::size_t largest = 0;
  (void)all_batches(1000000, 30000, 10, &largest);
  EXPECT_LE(largest, 10000U);
}

TEST(Pace, AFewSlowBatchesAreNotTakenForWorkThatEveryBatchRepeats) {
  Pace pace(100, 1000000);
  for (int i = 0; i < 40; ++i)
    pace.measured(pace.next(), static_cast<std::int64_t>(pace.next()) * (i % 7 == 3 ? 60 : 10));
  EXPECT_LE(pace.next(), 10000U);
}

namespace {

/// The longest batch, in microseconds, after the first two, over rows whose first turn of eight costs five times as
/// much as the others.
std::int64_t longest_over_turns(bool is_expected, std::size_t& batches) {
  constexpr std::size_t turn = 45000, all = turn * 8 * 6;
  Pace pace(100, 200000);
  if (is_expected)
    pace.expect_stretches();
  std::int64_t longest = 0;
  batches = 0;
  for (std::size_t done = 0; done < all;) {
    const std::size_t rows = std::min(pace.next(), all - done);
    std::int64_t took = 1000;
    for (std::size_t row = done; row < done + rows; ++row)
      took += row / turn % 8 == 0 ? 10 : 2;
    pace.measured(rows, took);
    done += rows;
    if (++batches > 2)
      longest = std::max(longest, took);
  }
  return longest;
}

} // namespace

TEST(Pace, TheFirstBatchOfADearStretchIsNoLongOne) {
  std::size_t batches = 0, unaware = 0;
  EXPECT_GT(longest_over_turns(false, unaware), 400000);
  EXPECT_LT(longest_over_turns(true, batches), 250000);
  EXPECT_LT(batches, 4 * unaware);
}

TEST(Pace, RemaindersDoNotMakeStretchesDear) {
  Pace pace(100, 200000);
  pace.expect_stretches();
  for (int i = 0; i < 20; ++i)
    pace.measured(pace.next(), static_cast<std::int64_t>(pace.next()) * 5);
  const std::size_t before = pace.next();
  pace.measured(1, 5000);
  for (int i = 0; i < 12; ++i)
    pace.measured(pace.next(), static_cast<std::int64_t>(pace.next()) * 5);
  EXPECT_GE(pace.next(), before / 2);
}
