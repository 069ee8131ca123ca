#include "extension/core/restoration.hpp"
#include "extension/core/reunion.hpp"

#include <gtest/gtest.h>

#include <set>

namespace pg_retention::core {
namespace {

constexpr std::uint32_t taken = 7, orphaned = 9;

std::set<std::uint32_t> rows_of(const Reunion& rows, std::uint32_t unit) { return {rows.begin(unit), rows.end(unit)}; }

TEST(Reunion, KnowsItsRowsAndNoStranger) {
  Reunion rows({10, 20, 30});
  EXPECT_EQ(rows.find(20), 1U);
  EXPECT_EQ(rows.find(25), Reunion::none);
}

TEST(Reunion, TogetherEverythingThatIsLinkedIsOneUnit) {
  Reunion rows({1, 2, 3, 4, 5});
  rows.link(3, 0);
  rows.link(4, 3);
  rows.link(4, 1);
  rows.settle(true);
  ASSERT_EQ(rows.units(), 2U);
  EXPECT_EQ(rows_of(rows, 0), (std::set<std::uint32_t>{0, 1, 3, 4}));
  EXPECT_EQ(rows_of(rows, 1), (std::set<std::uint32_t>{2}));
}

TEST(Reunion, TogetherOneRefusedRowKeepsAllUnderItsReason) {
  Reunion rows({1, 2, 3});
  rows.link(1, 0);
  rows.refuse(1, taken);
  rows.settle(true);
  EXPECT_FALSE(rows.may_return(0, orphaned));
  EXPECT_TRUE(rows.may_return(1, orphaned));
  EXPECT_EQ(rows.why(0), taken);
  EXPECT_EQ(rows.why(2), Reunion::none);
}

TEST(Reunion, ApartParentsStandBeforeChildren) {
  Reunion rows({1, 2, 3});
  rows.link(0, 1);
  rows.link(1, 2);
  rows.settle(false);
  ASSERT_EQ(rows.units(), 3U);
  EXPECT_EQ(*rows.begin(0), 2U);
  EXPECT_EQ(*rows.begin(1), 1U);
  EXPECT_EQ(*rows.begin(2), 0U);
}

TEST(Reunion, ApartACircleIsOneUnit) {
  Reunion rows({1, 2, 3, 4});
  rows.link(0, 1);
  rows.link(1, 2);
  rows.link(2, 0);
  rows.link(3, 0);
  rows.settle(false);
  ASSERT_EQ(rows.units(), 2U);
  EXPECT_EQ(rows_of(rows, 0), (std::set<std::uint32_t>{0, 1, 2}));
  EXPECT_EQ(rows_of(rows, 1), (std::set<std::uint32_t>{3}));
}

TEST(Reunion, ApartAChildStaysWithItsParentAndAParentReturnsWithoutItsChild) {
  Reunion rows({1, 2, 3});
  rows.link(1, 0);
  rows.link(2, 1);
  rows.refuse(1, taken);
  rows.settle(false);
  EXPECT_TRUE(rows.may_return(0, orphaned));
  EXPECT_FALSE(rows.may_return(1, orphaned));
  EXPECT_FALSE(rows.may_return(2, orphaned));
  EXPECT_EQ(rows.why(0), Reunion::none);
  EXPECT_EQ(rows.why(1), taken);
  EXPECT_EQ(rows.why(2), orphaned);
}

TEST(Reunion, TheFirstReasonStays) {
  Reunion rows({1});
  rows.refuse(0, taken);
  rows.refuse(0, orphaned);
  EXPECT_EQ(rows.why(0), taken);
}

TEST(Restoration, NamesAreQuotedAndTheRunIsNamed) {
  const Relation archive{1, "a b", "o\"x"}, table{2, "s", "select"};
  EXPECT_EQ(
      return_statement({{archive, table, {"from", "x"}}}, 5),
      "WITH t1 AS (DELETE FROM ONLY \"a b\".\"o\"\"x\" AS archived WHERE archived.ctid = ANY ($1) AND "
      "archived.retention_run_id = 5 RETURNING archived.*), p1 AS (INSERT INTO \"s\".\"select\" (\"from\", \"x\") "
      "OVERRIDING SYSTEM VALUE SELECT \"from\", \"x\" FROM t1 RETURNING 1) SELECT (SELECT pg_catalog.count(*) FROM "
      "t1), (SELECT pg_catalog.count(*) FROM p1)");
}

} // namespace
} // namespace pg_retention::core
