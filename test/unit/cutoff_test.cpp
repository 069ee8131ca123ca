#include "extension/core/cutoff.hpp"

#include "extension/core/failure.hpp"

#include <gtest/gtest.h>

namespace pg_retention::core {
namespace {

std::string refusal(std::string_view type, TimeUnit unit) {
  try {
    (void)time_kind(type, unit, "c");
  } catch (const Failure& failure) {
    return failure.sqlstate();
  }
  return "";
}

TimeColumn time_of(TimeKind kind, TimeUnit unit = TimeUnit::none) {
  TimeColumn time;
  time.column = "At";
  time.kind = kind;
  time.unit = unit;
  return time;
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST(TimeKindOf, EachTypeThatHoldsAnInstant) {
  EXPECT_EQ(time_kind("timestamptz", TimeUnit::none, "c"), TimeKind::timestamptz);
  EXPECT_EQ(time_kind("timestamp", TimeUnit::none, "c"), TimeKind::timestamp);
  EXPECT_EQ(time_kind("date", TimeUnit::none, "c"), TimeKind::date);
  EXPECT_EQ(time_kind("uuid", TimeUnit::none, "c"), TimeKind::uuid);
  EXPECT_EQ(time_kind("int4", TimeUnit::seconds, "c"), TimeKind::integer);
  EXPECT_EQ(time_kind("int8", TimeUnit::microseconds, "c"), TimeKind::integer);
}

TEST(TimeKindOf, AnIntegerNeedsItsUnit) {
  EXPECT_EQ(refusal("int4", TimeUnit::none), "22023");
  EXPECT_EQ(refusal("int8", TimeUnit::none), "22023");
}

TEST(TimeKindOf, NothingElseHasAUnit) {
  EXPECT_EQ(refusal("timestamptz", TimeUnit::seconds), "22023");
  EXPECT_EQ(refusal("text", TimeUnit::seconds), "22023");
}

TEST(TimeKindOf, OtherTypesHoldNoTime) {
  EXPECT_EQ(refusal("text", TimeUnit::none), "42804");
  EXPECT_EQ(refusal("numeric", TimeUnit::none), "42804");
}

TEST(Expired, ComparesStrictlyWithTheColumnBareOnItsSide) {
  EXPECT_EQ(expired("subject", time_of(TimeKind::timestamptz), "$1"),
            "(subject.\"At\" < $1 AND subject.\"At\" > '-infinity')");
}

TEST(Expired, BringsTheCutoffIntoTheColumnsZone) {
  TimeColumn time = time_of(TimeKind::timestamp);
  time.zone = "Asia/Karachi";
  EXPECT_EQ(expired("subject", time, "$1"),
            "(subject.\"At\" < pg_catalog.timezone('Asia/Karachi', $1) AND subject.\"At\" > '-infinity')");
}

TEST(Expired, QuotesTheZone) {
  TimeColumn time = time_of(TimeKind::timestamp);
  time.zone = "a'b";
  EXPECT_TRUE(has(expired("t", time, "$1"), "'a''b'"));
}

TEST(Expired, ComparesADateWithTheCutoffsDay) {
  EXPECT_TRUE(
      has(expired("t", time_of(TimeKind::date), "$1"), "t.\"At\" < (pg_catalog.timezone('UTC', $1))::pg_catalog.date"));
}

TEST(Expired, CountsIntegersInTheirUnitAndRoundsDown) {
  EXPECT_TRUE(has(expired("t", time_of(TimeKind::integer, TimeUnit::seconds), "$1"),
                  "pg_catalog.floor(EXTRACT(epoch FROM $1) * 1)"));
  EXPECT_TRUE(has(expired("t", time_of(TimeKind::integer, TimeUnit::milliseconds), "$1"), "* 1000)"));
  EXPECT_TRUE(has(expired("t", time_of(TimeKind::integer, TimeUnit::microseconds), "$1"), "* 1000000)"));
}

TEST(Expired, TrustsOnlyUuidsOfVersionSeven) {
  EXPECT_TRUE(
      has(expired("t", time_of(TimeKind::uuid), "$1"), "pg_catalog.substr(t.\"At\"::pg_catalog.text, 15, 1) = '7'"));
}

TEST(Expired, LeavesValuesThatMeanNever) {
  TimeColumn time = time_of(TimeKind::integer, TimeUnit::seconds);
  time.never = {"0", "-1"};
  const std::string sql = expired("t", time, "$1");
  EXPECT_TRUE(has(sql, "t.\"At\" <> '0'"));
  EXPECT_TRUE(has(sql, "t.\"At\" <> '-1'"));
}

TEST(Expired, TakesNullOnlyWhereToldTo) {
  TimeColumn time = time_of(TimeKind::timestamptz);
  EXPECT_FALSE(has(expired("t", time, "$1"), "IS NULL"));
  time.when_null = WhenNull::expire;
  EXPECT_EQ(expired("t", time, "$1"), "(t.\"At\" IS NULL OR (t.\"At\" < $1 AND t.\"At\" > '-infinity'))");
}

TEST(Alive, IsAtOrAfterTheCutoffOrUnknown) {
  EXPECT_EQ(alive("activity", time_of(TimeKind::timestamptz), "$1"),
            "(activity.\"At\" >= $1 OR activity.\"At\" IS NULL)");
}

TEST(Instant, ReadsEachKindAsTimestamptz) {
  EXPECT_EQ(instant("t", time_of(TimeKind::timestamptz)), "t.\"At\"");
  EXPECT_EQ(instant("t", time_of(TimeKind::timestamp)), "pg_catalog.timezone('UTC', t.\"At\")");
  EXPECT_EQ(instant("t", time_of(TimeKind::date)), "pg_catalog.timezone('UTC', t.\"At\"::pg_catalog.timestamp)");
  EXPECT_TRUE(has(instant("t", time_of(TimeKind::integer, TimeUnit::milliseconds)), "/ 1000"));
}

TEST(Statements, QuoteColumns) {
  TimeColumn time = time_of(TimeKind::timestamptz);
  time.column = "a\"b";
  EXPECT_TRUE(has(expired("t", time, "$1"), "t.\"a\"\"b\""));
  EXPECT_TRUE(has(alive("t", time, "$1"), "t.\"a\"\"b\""));
  EXPECT_TRUE(has(instant("t", time), "t.\"a\"\"b\""));
}

} // namespace
} // namespace pg_retention::core
