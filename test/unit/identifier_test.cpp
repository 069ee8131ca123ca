#include "extension/core/identifier.hpp"

#include <gtest/gtest.h>

namespace pg_retention::core {
namespace {

TEST(Identifier, IsAlwaysQuoted) {
  EXPECT_EQ(quote_identifier("users"), "\"users\"");
  EXPECT_EQ(quote_identifier("select"), "\"select\"");
}

TEST(Identifier, DoublesEmbeddedQuotes) {
  EXPECT_EQ(quote_identifier("a\"b"), "\"a\"\"b\"");
  EXPECT_EQ(quote_identifier("\""), "\"\"\"\"");
}

TEST(Identifier, LeavesOtherCharactersAsTheyAre) {
  EXPECT_EQ(quote_identifier("a.b c'd\\e;--"), "\"a.b c'd\\e;--\"");
  EXPECT_EQ(quote_identifier("Größe·数量"), "\"Größe·数量\"");
}

TEST(Identifier, MayBeEmptyInMessages) { EXPECT_EQ(quote(""), "\"\""); }

TEST(Literal, DoublesSingleQuotes) {
  EXPECT_EQ(quote_literal("it's"), "'it''s'");
  EXPECT_EQ(quote_literal(""), "''");
  EXPECT_EQ(quote_literal("''"), "''''''");
}

TEST(Literal, SaysThatItHasEscapesWhereItHasBackslashes) {
  EXPECT_EQ(quote_literal("a\\b"), "E'a\\\\b'");
  EXPECT_EQ(quote_literal("\\'"), "E'\\\\'''");
}

TEST(Relation, IsQualifiedInStatementsAndPlainForPeople) {
  const Relation relation{1, "my schema", "Table", 'r'};
  EXPECT_EQ(relation.sql(), "\"my schema\".\"Table\"");
  EXPECT_EQ(relation.label(), "my schema.Table");
}

TEST(Relation, OfAForeignKeyLeavesInheritanceChildrenOut) {
  EXPECT_EQ((Relation{1, "s", "t", 'r'}).sql_only(), "ONLY \"s\".\"t\"");
}

TEST(Relation, OfAForeignKeyKeepsPartitions) { EXPECT_EQ((Relation{1, "s", "t", 'p'}).sql_only(), "\"s\".\"t\""); }

TEST(Join, PutsSeparatorsBetweenItemsOnly) {
  EXPECT_EQ(join({}, ", "), "");
  EXPECT_EQ(join({"a"}, ", "), "a");
  EXPECT_EQ(join({"a", "b", "c"}, ", "), "a, b, c");
}

} // namespace
} // namespace pg_retention::core
