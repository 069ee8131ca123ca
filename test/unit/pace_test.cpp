#include "extension/core/pace.hpp"

#include <gtest/gtest.h>

using pg_retention::core::Pace;

TEST(Pace, BeginsSmallAndGrowsAtMostTwofold) {
  Pace pace(100, 50000);
  const std::size_t first = pace.next();
  pace.measured(first, 1);
  EXPECT_EQ(pace.next(), first * 2);
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
