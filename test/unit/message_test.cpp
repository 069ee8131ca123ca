#include "extension/core/message.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace pg_retention::core {
namespace {

TEST(Counted, HasASingularForOneAlone) {
  EXPECT_EQ(counted(0, "cart item"), "0 cart items");
  EXPECT_EQ(counted(1, "cart item"), "1 cart item");
  EXPECT_EQ(counted(2, "cart item"), "2 cart items");
}

TEST(Counted, HoldsAnyNumber) {
  EXPECT_EQ(counted(std::numeric_limits<std::uint64_t>::max(), "row"), "18446744073709551615 rows");
}

TEST(SkippedTail, IsEmptyForNothingSkipped) { EXPECT_EQ(skipped_tail(0, 0, 0, 0), ""); }

TEST(SkippedTail, NamesTheReasonsThatThereAre) {
  EXPECT_EQ(skipped_tail(2, 0, 0, 1), "; skipped 3 (2 locked, 1 returned to activity)");
  EXPECT_EQ(skipped_tail(0, 5, 0, 0), "; skipped 5 (5 blocked)");
  EXPECT_EQ(skipped_tail(0, 1, 0, 0, 4), "; skipped 5 (1 blocked, 4 failed)");
  EXPECT_EQ(skipped_tail(1, 2, 3, 4), "; skipped 10 (1 locked, 2 blocked, 3 held, 4 returned to activity)");
}

} // namespace
} // namespace pg_retention::core
