#include "extension/core/json.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <optional>
#include <vector>

namespace pg_retention::core {
namespace {

TEST(JsonString, EscapesQuotesAndBackslashes) { EXPECT_EQ(json_string("a\"b\\c"), "\"a\\\"b\\\\c\""); }

TEST(JsonString, EscapesControlCharacters) {
  EXPECT_EQ(json_string("a\nb"), "\"a\\u000ab\"");
  EXPECT_EQ(json_string(std::string_view("\x01\x1f", 2)), "\"\\u0001\\u001f\"");
}

TEST(JsonString, PassesBytesAbove127Through) { EXPECT_EQ(json_string("ü🛒\xff"), "\"ü🛒\xff\""); }

TEST(JsonString, MayBeEmpty) { EXPECT_EQ(json_string(""), "\"\""); }

TEST(JsonObject, MayBeEmpty) { EXPECT_EQ(JsonObject().text(), "{}"); }

TEST(JsonObject, KeepsTheOrderOfItsFields) {
  EXPECT_EQ(JsonObject().set("b", "x").set("a", std::int64_t{1}).text(), "{\"b\": \"x\", \"a\": 1}");
}

TEST(JsonObject, WritesEachTypeAsItself) {
  EXPECT_EQ(JsonObject().set("t", true).set("f", false).text(), "{\"t\": true, \"f\": false}");
  EXPECT_EQ(JsonObject().set("n", std::numeric_limits<std::int64_t>::min()).text(), "{\"n\": -9223372036854775808}");
  EXPECT_EQ(JsonObject().set("s", std::string("1")).text(), "{\"s\": \"1\"}");
}

TEST(JsonObject, WritesAnAbsentTextAsNull) {
  std::string told;
  for (const std::optional<std::string>& text : std::vector<std::optional<std::string>>{std::nullopt, "", "y"})
    told += JsonObject().set("x", text).text();
  EXPECT_EQ(told, "{\"x\": null}{\"x\": \"\"}{\"x\": \"y\"}");
}

TEST(JsonObject, EscapesKeys) { EXPECT_EQ(JsonObject().set("a\"b", true).text(), "{\"a\\\"b\": true}"); }

TEST(JsonObject, TakesRawJsonAsItIs) {
  EXPECT_EQ(JsonObject().raw("list", "[1, 2]").raw("of", JsonObject().set("x", true).text()).text(),
            "{\"list\": [1, 2], \"of\": {\"x\": true}}");
}

} // namespace
} // namespace pg_retention::core
