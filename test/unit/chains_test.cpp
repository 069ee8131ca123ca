#include "extension/core/chains.hpp"
#include "extension/core/slice.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace pg_retention::core {
namespace {

/// A chain of a cart on block `cart` and a user on block `user`, written by transactions 7 and 9.
void add(Chains& chains, std::uint64_t key, std::uint32_t cart, std::uint32_t user) {
  const Version versions[] = {{row_key(0, cart, 1), 7}, {row_key(1, user, 1), 9}};
  (void)chains.add(key, versions);
}

TEST(Chains, AKeyThatIsKnownKeepsItsNumber) {
  Chains chains(2);
  add(chains, 10, 1, 1);
  const Version other[] = {{row_key(0, 5, 1), 1}, {row_key(1, 5, 1), 1}};
  EXPECT_EQ(chains.add(10, other), 0U);
  EXPECT_EQ(chains.size(), 1U);
}

TEST(Chains, RowsOfAStepStandOnceAndInPhysicalOrder) {
  Chains chains(2);
  add(chains, 1, 30, 4);
  add(chains, 2, 10, 4);
  add(chains, 3, 20, 2);
  chains.seal();
  EXPECT_EQ(chains.step(0).rows, (std::vector<RowKey>{row_key(0, 10, 1), row_key(0, 20, 1), row_key(0, 30, 1)}));
  EXPECT_EQ(chains.step(1).rows, (std::vector<RowKey>{row_key(1, 2, 1), row_key(1, 4, 1)}));
}

TEST(Chains, AChainFindsItsRowsAfterTheyWereSorted) {
  Chains chains(2);
  add(chains, 1, 30, 4);
  add(chains, 2, 10, 4);
  chains.seal();
  const std::uint32_t chain = chains.keys().find(1);
  EXPECT_EQ(chains.row(chain, 0), row_key(0, 30, 1));
  EXPECT_EQ(chains.row(chain, 1), row_key(1, 4, 1));
  EXPECT_EQ(chains.step(1).xmins[chains.row_of(chain, 1)], 9U);
}

TEST(Chains, APageHasItsRowsAndNoOthers) {
  Chains chains(1);
  const Version versions[] = {{row_key(0, 3, 2), 1}, {row_key(0, 3, 9), 1}, {row_key(0, 8, 1), 1}};
  for (std::uint64_t key = 0; key < 3; ++key)
    (void)chains.add(key, &versions[key]);
  chains.seal();
  const Step& step = chains.step(0);
  ASSERT_EQ(step.pages.size(), 2U);
  EXPECT_EQ(step.pages[0].key, row_key(0, 3, 0));
  EXPECT_EQ(step.pages[0].first, 0U);
  EXPECT_EQ(step.end_of(0), 2U);
  EXPECT_EQ(step.end_of(1), 3U);
  EXPECT_EQ(step.page_of, (std::vector<std::uint32_t>{0, 0, 1}));
}

TEST(Chains, OneChangedRowTakesTheTrustOfEveryChainThroughItAndOfNoOther) {
  Chains chains(2);
  add(chains, 1, 30, 4);
  add(chains, 2, 10, 4);
  add(chains, 3, 20, 2);
  chains.seal();
  chains.step(1).is_as_judged[1] = 0; // the user on block 4
  EXPECT_FALSE(chains.is_as_judged(chains.keys().find(1)));
  EXPECT_FALSE(chains.is_as_judged(chains.keys().find(2)));
  EXPECT_TRUE(chains.is_as_judged(chains.keys().find(3)));
}

TEST(Chains, MemoryGrowsWithTheChains) {
  Chains few(2), many(2);
  for (std::uint64_t key = 0; key < 5000; ++key)
    add(many, key, static_cast<std::uint32_t>(key), 1);
  add(few, 1, 1, 1);
  EXPECT_GT(many.memory(), few.memory() + 5000 * 2 * sizeof(Version));
}

/// Every key of `keys` is found with its number, and nothing between them.
void expect_exact(const std::vector<std::int64_t>& keys, std::int64_t step) {
  KeyNumbers numbers;
  for (std::uint32_t i = 0; i < keys.size(); ++i)
    (void)numbers.find_or_add(static_cast<std::uint64_t>(keys[i]), i);
  const KeyIndex index(numbers);
  for (std::uint32_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(index.find(static_cast<std::uint64_t>(keys[i])), i);
    if (step == 1)
      continue;
    EXPECT_EQ(index.find(static_cast<std::uint64_t>(keys[i] - 1)), KeyNumbers::none);
    EXPECT_EQ(index.find(static_cast<std::uint64_t>(keys[i] + 1)), KeyNumbers::none);
  }
}

TEST(KeyIndex, OfNothingFindsNothing) {
  EXPECT_EQ(KeyIndex().find(0), KeyNumbers::none);
  EXPECT_EQ(KeyIndex(KeyNumbers()).find(0), KeyNumbers::none);
}

TEST(KeyIndex, IsExactForKeysThatLieCloseTogetherAndForOthers) {
  for (const std::int64_t step : {1, 3, 7, 9, 1000, 123456789}) {
    std::vector<std::int64_t> keys;
    for (std::int64_t i = -500; i < 500; ++i)
      keys.push_back(i * step);
    expect_exact(keys, step);
  }
}

TEST(KeyIndex, HoldsTheWholeRangeOfIntegers) {
  constexpr auto least = std::numeric_limits<std::int64_t>::min(), greatest = std::numeric_limits<std::int64_t>::max();
  KeyNumbers numbers;
  (void)numbers.find_or_add(static_cast<std::uint64_t>(least), 0);
  (void)numbers.find_or_add(static_cast<std::uint64_t>(greatest), 1);
  const KeyIndex index(numbers);
  EXPECT_EQ(index.find(static_cast<std::uint64_t>(least)), 0U);
  EXPECT_EQ(index.find(static_cast<std::uint64_t>(greatest)), 1U);
  EXPECT_EQ(index.find(0), KeyNumbers::none);
}

TEST(Slice, EveryBlockIsInExactlyOneOfThem) {
  for (std::uint32_t of = 1; of <= 5; ++of)
    for (std::uint32_t block = 0; block < 6 * Slice::stretch; block += 37) {
      int holders = 0;
      for (std::uint32_t number = 1; number <= of; ++number)
        holders += Slice{number, of}.has(block) ? 1 : 0;
      EXPECT_EQ(holders, 1) << block << " of " << of;
    }
}

TEST(Slice, NextIsTheFirstBlockOfItsOwnFromThereOn) {
  const Slice second{2, 3};
  EXPECT_EQ(second.next(0), Slice::stretch);
  EXPECT_EQ(second.next(Slice::stretch + 5), Slice::stretch + 5);
  EXPECT_EQ(second.next(2 * Slice::stretch), 4 * Slice::stretch);
  EXPECT_EQ(second.end(Slice::stretch + 5), 2 * Slice::stretch);
}

TEST(Slice, TheWholeTableHasNoEnd) {
  EXPECT_EQ(Slice{}.next(4000000000U), 4000000000U);
  EXPECT_GT(Slice{}.end(4000000000U), 4000000000U);
}

} // namespace
} // namespace pg_retention::core
