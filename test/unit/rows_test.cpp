#include "extension/core/rows.hpp"

#include "extension/core/failure.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace pg_retention::core {
namespace {

TEST(RowKeyParts, ComeBackAsTheyWere) {
  const RowKey key = row_key(0xffff, 0xfffffffe, 0xfffd);
  EXPECT_EQ(leaf_of(key), 0xffff);
  EXPECT_EQ(block_of(key), 0xfffffffe);
  EXPECT_EQ(offset_of(key), 0xfffd);
}

TEST(RowKeyParts, SortInPhysicalOrder) {
  EXPECT_LT(row_key(0, 1, 9), row_key(0, 2, 1));
  EXPECT_LT(row_key(0, 1, 1), row_key(0, 1, 2));
  EXPECT_LT(row_key(0, 0xffffffff, 0xffff), row_key(1, 0, 0));
}

TEST(KeyNumbers, KnowsNothingAtFirst) {
  const KeyNumbers numbers;
  EXPECT_EQ(numbers.find(0), KeyNumbers::none);
  EXPECT_EQ(numbers.size(), 0u);
}

TEST(KeyNumbers, KeepsTheFirstNumberOfAKey) {
  KeyNumbers numbers;
  EXPECT_EQ(numbers.find_or_add(7, 0), 0u);
  EXPECT_EQ(numbers.find_or_add(7, 1), 0u);
  EXPECT_EQ(numbers.find(7), 0u);
  EXPECT_EQ(numbers.size(), 1u);
}

TEST(KeyNumbers, TakesEveryKey) {
  KeyNumbers numbers;
  std::uint32_t next = 0;
  for (const std::uint64_t key : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}, std::uint64_t{1} << 63})
    numbers.find_or_add(key, next++);
  EXPECT_EQ(numbers.find(0), 0u);
  EXPECT_EQ(numbers.find(~std::uint64_t{0}), 2u);
  EXPECT_EQ(numbers.find(2), KeyNumbers::none);
}

TEST(KeyNumbers, AgreesWithAMapWhileItGrows) {
  KeyNumbers numbers;
  std::map<std::uint64_t, std::uint32_t> truth;
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t key = i % 3 == 0 ? random() : static_cast<std::uint64_t>(i) << 24;
    const auto next = static_cast<std::uint32_t>(truth.size());
    ASSERT_EQ(numbers.find_or_add(key, next), truth.emplace(key, next).first->second);
  }
  ASSERT_EQ(numbers.size(), truth.size());
  for (const auto& [key, number] : truth)
    ASSERT_EQ(numbers.find(key), number);
}

TEST(LeavesSeen, AreNumberedOnce) {
  Leaves leaves;
  EXPECT_EQ(leaves.number(500), 0);
  EXPECT_EQ(leaves.number(600), 1);
  EXPECT_EQ(leaves.number(500), 0);
  EXPECT_EQ(leaves.oid(1), 600u);
  EXPECT_EQ(leaves.size(), 2u);
}

TEST(LeavesSeen, EndAt65536) {
  Leaves leaves;
  for (std::uint32_t oid = 1; oid <= 65536; ++oid)
    ASSERT_EQ(leaves.number(oid), oid - 1);
  EXPECT_THROW((void)leaves.number(70000), Failure);
  EXPECT_EQ(leaves.number(65536), 65535);
}

TEST(GuardChains, AreDeterminedByTheirFirstRow) {
  Guards guards(2);
  const RowKey a[] = {10, 100}, b[] = {11, 100}, again[] = {10, 100};
  EXPECT_EQ(guards.chain(a), 0u);
  EXPECT_EQ(guards.chain(b), 1u);
  EXPECT_EQ(guards.chain(again), 0u);
  EXPECT_EQ(guards.size(), 2u);
  EXPECT_EQ(guards.key(1, 0), 11u);
  EXPECT_EQ(guards.key(1, 1), 100u);
}

TEST(GuardChains, GiveEachRowOfAStepOnceInPhysicalOrder) {
  Guards guards(2);
  for (const auto& [cart, user] : {std::pair<RowKey, RowKey>{30, 3}, {10, 3}, {20, 1}}) {
    const RowKey keys[] = {cart, user};
    guards.chain(keys);
  }
  EXPECT_EQ(guards.rows(0), (std::vector<RowKey>{10, 20, 30}));
  EXPECT_EQ(guards.rows(1), (std::vector<RowKey>{1, 3}));
}

TEST(GuardChains, OfNoPathAreNone) { EXPECT_EQ(Guards(0).size(), 0u); }

/// A family of rows 1, 2, ..., the first `victims` of which were chosen.
struct Kin {
  explicit Kin(std::uint32_t rows) {
    for (std::uint32_t row = 0; row < rows; ++row)
      family.add(row + 1);
  }
  std::vector<bool> going(std::uint32_t victims) {
    family.settle(victims);
    std::vector<bool> out;
    for (std::uint32_t row = 0; row < family.size(); ++row)
      out.push_back(family.goes(row));
    return out;
  }
  Family family;
};

using Going = std::vector<bool>;

TEST(FamilyRows, AreKnownByTheirKey) {
  Family family;
  EXPECT_EQ(family.add(5), 0u);
  EXPECT_EQ(family.add(6), 1u);
  EXPECT_EQ(family.add(5), 0u);
  EXPECT_EQ(family.find(6), 1u);
  EXPECT_FALSE(family.find(7));
  EXPECT_EQ(family.key(1), 6u);
}

TEST(FamilySettle, OfNobodyIsNobody) { EXPECT_EQ(Kin(0).going(0), Going{}); }

TEST(FamilySettle, LetsVictimsGoWithTheirDependents) {
  Kin kin(3); // victims 0, 1; row 2 hangs on 0
  kin.family.link(0, 2);
  EXPECT_EQ(kin.going(2), (Going{true, true, true}));
}

TEST(FamilySettle, KeepsAVictimWhoseDependentCannotGo) {
  Kin kin(4); // 0 <- 2, 1 <- 3
  kin.family.link(0, 2);
  kin.family.link(1, 3);
  kin.family.keep(2, Fate::locked);
  EXPECT_EQ(kin.going(2), (Going{false, true, false, true}));
  EXPECT_EQ(kin.family.fate(0), Fate::locked);
}

TEST(FamilySettle, KeepsTheOtherDependentsOfAKeptVictim) {
  Kin kin(3); // 0 <- 1, 0 <- 2
  kin.family.link(0, 1);
  kin.family.link(0, 2);
  kin.family.keep(1, Fate::blocked);
  EXPECT_EQ(kin.going(1), (Going{false, false, false}));
}

TEST(FamilySettle, CarriesAReasonUpAnyDepth) {
  Kin kin(5);
  for (std::uint32_t row = 0; row < 4; ++row)
    kin.family.link(row, row + 1);
  kin.family.keep(4, Fate::held);
  EXPECT_EQ(kin.going(1), (Going{false, false, false, false, false}));
  EXPECT_EQ(kin.family.fate(0), Fate::held);
}

TEST(FamilySettle, OfADiamondLetsItGoWhole) {
  Kin kin(4); // 0 <- 1, 0 <- 2, both <- 3
  kin.family.link(0, 1);
  kin.family.link(0, 2);
  kin.family.link(1, 3);
  kin.family.link(2, 3);
  EXPECT_EQ(kin.going(1), (Going{true, true, true, true}));
}

TEST(FamilySettle, OfADiamondKeepsItWhole) {
  Kin kin(4);
  kin.family.link(0, 1);
  kin.family.link(0, 2);
  kin.family.link(1, 3);
  kin.family.link(2, 3);
  kin.family.keep(3, Fate::blocked);
  EXPECT_EQ(kin.going(1), (Going{false, false, false, false}));
}

TEST(FamilySettle, KeepsBothOwnersOfASharedDependentThatStays) {
  Kin kin(3); // 0 <- 2, 1 <- 2
  kin.family.link(0, 2);
  kin.family.link(1, 2);
  kin.family.keep(2, Fate::locked);
  EXPECT_EQ(kin.going(2), (Going{false, false, false}));
}

TEST(FamilySettle, LetsASharedDependentGoWithTheVictimThatGoes) {
  Kin kin(3); // 0 <- 2, 1 <- 2; 0 stays for a reason of its own
  kin.family.link(0, 2);
  kin.family.link(1, 2);
  kin.family.keep(0, Fate::locked);
  EXPECT_EQ(kin.going(2), (Going{false, true, true}));
}

TEST(FamilySettle, OfACycleLetsItGoWhole) {
  Kin kin(2);
  kin.family.link(0, 1);
  kin.family.link(1, 0);
  EXPECT_EQ(kin.going(2), (Going{true, true}));
}

TEST(FamilySettle, OfACycleKeepsItWhole) {
  Kin kin(3);
  kin.family.link(0, 1);
  kin.family.link(1, 2);
  kin.family.link(2, 0);
  kin.family.keep(1, Fate::returned);
  EXPECT_EQ(kin.going(3), (Going{false, false, false}));
}

TEST(FamilySettle, TakesARowThatRefersToItself) {
  Kin kin(1);
  kin.family.link(0, 0);
  EXPECT_EQ(kin.going(1), Going{true});
}

TEST(FamilySettle, KeepsTheFirstReason) {
  Kin kin(1);
  kin.family.keep(0, Fate::locked);
  kin.family.keep(0, Fate::blocked);
  kin.going(1);
  EXPECT_EQ(kin.family.fate(0), Fate::locked);
}

TEST(FamilySettle, DropsWhatNoVictimReaches) {
  Kin kin(3); // 1 is no victim and hangs on nobody
  kin.family.link(0, 2);
  EXPECT_EQ(kin.going(1), (Going{true, false, true}));
}

TEST(FamilySettle, AgreesWithASimpleRuleOnRandomFamilies) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const std::uint32_t rows = 1 + random() % 12, victims = 1 + random() % rows;
    Kin kin(rows);
    std::vector<std::pair<std::uint32_t, std::uint32_t>> links;
    for (std::uint32_t n = random() % 16; n > 0; --n) {
      links.emplace_back(random() % rows, random() % rows);
      kin.family.link(links.back().first, links.back().second);
    }
    std::vector<bool> stays(rows, false), goes(rows, false);
    for (std::uint32_t row = 0; row < rows; ++row)
      if (random() % 8 == 0) {
        kin.family.keep(row, Fate::blocked);
        stays[row] = true;
      }
    for (std::uint32_t pass = 0; pass < rows; ++pass)
      for (const auto& [parent, child] : links)
        if (stays[child])
          stays[parent] = true;
    for (std::uint32_t row = 0; row < victims; ++row)
      goes[row] = !stays[row];
    for (std::uint32_t pass = 0; pass < rows; ++pass)
      for (const auto& [parent, child] : links)
        if (goes[parent])
          goes[child] = true;
    ASSERT_EQ(kin.going(victims), goes);
  }
}

TEST(Rows, ForEachLeafVisitsEachStretchOnce) {
  const std::vector<RowKey> rows{row_key(0, 1, 1), row_key(0, 2, 1), row_key(3, 1, 1), row_key(0, 9, 1)};
  std::vector<std::pair<std::size_t, std::size_t>> seen;
  for_each_leaf(rows, itself, [&](std::size_t first, std::size_t last) { seen.emplace_back(first, last); });
  EXPECT_EQ(seen, (std::vector<std::pair<std::size_t, std::size_t>>{{0, 2}, {2, 3}, {3, 4}}));
  for_each_leaf(std::vector<RowKey>{}, itself, [](std::size_t, std::size_t) { FAIL(); });
}

} // namespace
} // namespace pg_retention::core
