#include "extension/core/cron.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace pg_retention::core {
namespace {

/// The next due minute as `YYYY-MM-DD HH:MM`; `never` for none.
std::string next(std::string_view schedule, const CivilMinute& after) {
  const auto due = next_due(schedule, after);
  if (!due)
    return "never";
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d", due->year, due->month, due->day, due->hour, due->minute);
  return text;
}

constexpr CivilMinute noon{2025, 10, 26, 12, 0}; // a Sunday

TEST(CivilDays, BeginAt1970) {
  EXPECT_EQ(days_of(1970, 1, 1), 0);
  EXPECT_EQ(days_of(1970, 1, 2), 1);
  EXPECT_EQ(days_of(1969, 12, 31), -1);
  EXPECT_EQ(days_of(2000, 3, 1), 11017);
}

TEST(CivilDays, GoThereAndBack) {
  for (std::int64_t day = -800000; day <= 800000; day += 37) {
    const CivilMinute date = date_of(day);
    ASSERT_EQ(days_of(date.year, date.month, date.day), day);
    ASSERT_TRUE(date.month >= 1 && date.month <= 12 && date.day >= 1 && date.day <= 31);
  }
}

TEST(CivilDays, KnowLeapYears) {
  EXPECT_EQ(days_of(2024, 3, 1) - days_of(2024, 2, 28), 2);
  EXPECT_EQ(days_of(2025, 3, 1) - days_of(2025, 2, 28), 1);
  EXPECT_EQ(days_of(2100, 3, 1) - days_of(2100, 2, 28), 1);
  EXPECT_EQ(days_of(2000, 3, 1) - days_of(2000, 2, 28), 2);
}

TEST(NextDue, IsStrictlyLater) {
  EXPECT_EQ(next("* * * * *", noon), "2025-10-26 12:01");
  EXPECT_EQ(next("0 12 * * *", noon), "2025-10-27 12:00");
}

TEST(NextDue, OfEveryFifteenMinutes) {
  EXPECT_EQ(next("*/15 * * * *", noon), "2025-10-26 12:15");
  EXPECT_EQ(next("*/15 * * * *", {2025, 10, 26, 23, 50}), "2025-10-27 00:00");
}

TEST(NextDue, OfTheDailyJob) {
  EXPECT_EQ(next("0 3 * * *", noon), "2025-10-27 03:00");
  EXPECT_EQ(next("0 3 * * *", {2025, 10, 26, 2, 59}), "2025-10-26 03:00");
}

TEST(NextDue, CrossesMonthsAndYears) {
  EXPECT_EQ(next("0 0 * * *", {2025, 12, 31, 0, 0}), "2026-01-01 00:00");
  EXPECT_EQ(next("0 0 31 * *", {2025, 10, 31, 0, 0}), "2025-12-31 00:00");
}

TEST(NextDue, OfTheLeapDay) {
  EXPECT_EQ(next("0 0 29 2 *", noon), "2028-02-29 00:00");
  EXPECT_EQ(next("0 0 29 2 *", {2024, 2, 28, 12, 0}), "2024-02-29 00:00");
}

TEST(NextDue, OfADayThatNeverComes) { EXPECT_EQ(next("0 0 30 2 *", noon), "never"); }

TEST(NextDue, TakesDayOfMonthAndDayOfWeekAsAlternatives) {
  EXPECT_EQ(next("0 0 1 * 1", noon), "2025-10-27 00:00");                  // a Monday
  EXPECT_EQ(next("0 0 1 * 1", {2025, 10, 27, 12, 0}), "2025-11-01 00:00"); // the first
}

TEST(NextDue, TakesOneOfThemWhereTheOtherIsAStar) {
  EXPECT_EQ(next("0 0 * * 1", {2025, 10, 27, 12, 0}), "2025-11-03 00:00");
  EXPECT_EQ(next("0 0 1 * *", noon), "2025-11-01 00:00");
}

TEST(NextDue, CountsSundayAsZeroAndSeven) {
  EXPECT_EQ(next("0 0 * * 0", noon), "2025-11-02 00:00");
  EXPECT_EQ(next("0 0 * * 7", noon), "2025-11-02 00:00");
  EXPECT_EQ(next("0 0 * * 5-7", {2025, 11, 1, 0, 0}), "2025-11-02 00:00");
}

TEST(NextDue, ReadsNamesInAnyCase) {
  EXPECT_EQ(next("0 0 * jan *", noon), "2026-01-01 00:00");
  EXPECT_EQ(next("0 0 * * MON", noon), "2025-10-27 00:00");
  EXPECT_EQ(next("0 0 * Nov-Dec Fri", noon), "2025-11-07 00:00");
}

TEST(NextDue, ReadsListsRangesAndSteps) {
  EXPECT_EQ(next("5,10 * * * *", {2025, 10, 26, 12, 5}), "2025-10-26 12:10");
  EXPECT_EQ(next("10-20/5 * * * *", {2025, 10, 26, 12, 15}), "2025-10-26 12:20");
  EXPECT_EQ(next("10-20/5 * * * *", {2025, 10, 26, 12, 20}), "2025-10-26 13:10");
  EXPECT_EQ(next("0 22-23,1 * * *", noon), "2025-10-26 22:00");
  EXPECT_EQ(next("50/5 * * * *", noon), "2025-10-26 12:50");
}

TEST(NextDue, ReadsWords) {
  EXPECT_EQ(next("@hourly", noon), "2025-10-26 13:00");
  EXPECT_EQ(next("@daily", noon), "2025-10-27 00:00");
  EXPECT_EQ(next("@midnight", noon), "2025-10-27 00:00");
  EXPECT_EQ(next("@weekly", noon), "2025-11-02 00:00");
  EXPECT_EQ(next("@monthly", noon), "2025-11-01 00:00");
  EXPECT_EQ(next("@yearly", noon), "2026-01-01 00:00");
  EXPECT_EQ(next("@annually", noon), "2026-01-01 00:00");
}

TEST(NextDue, IsNothingWhereTheCalendarSaysNothing) {
  EXPECT_EQ(next("@reboot", noon), "never");
  EXPECT_EQ(next("30 seconds", noon), "never");
}

TEST(NextDue, AllowsMoreThanOneSpace) { EXPECT_EQ(next("  0   3 * *  * ", noon), "2025-10-27 03:00"); }

class Unreadable : public testing::TestWithParam<const char*> {};
TEST_P(Unreadable, IsNever) { EXPECT_EQ(next(GetParam(), noon), "never"); }
INSTANTIATE_TEST_SUITE_P(NextDue, Unreadable,
                         testing::Values("", " ", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *",
                                         "* * 32 * *", "* * * 0 *", "* * * 13 *", "* * * * 8", "-1 * * * *",
                                         "a * * * *", "5-1 * * * *", "*/0 * * * *", "*/ * * * *", "1,,2 * * * *",
                                         ", * * * *", "1/2/3 * * * *", "1-2-3 * * * *", "* * * anf *", "* * * janx *",
                                         "99999999999999999999 * * * *", "1e1 * * * *", "@never"));

} // namespace
} // namespace pg_retention::core
