#include "extension/core/policy.hpp"

#include "extension/core/failure.hpp"

#include <gtest/gtest.h>

namespace pg_retention::core {
namespace {

using Items = std::vector<std::string>;

template <class Body>
std::string refusal(Body body) {
  try {
    (void)body();
  } catch (const Failure& failure) {
    return failure.sqlstate();
  }
  return "";
}

Fields fields(std::initializer_list<std::pair<const char*, const char*>> given) {
  Fields out{{"name", "p"}, {"target", "100"}, {"expire_after", "1 day"}};
  for (const auto& [name, value] : given)
    out[name] = value;
  return out;
}

TEST(TimeUnitOf, KnowsThree) {
  EXPECT_EQ(time_unit(""), TimeUnit::none);
  EXPECT_EQ(time_unit("s"), TimeUnit::seconds);
  EXPECT_EQ(time_unit("ms"), TimeUnit::milliseconds);
  EXPECT_EQ(time_unit("us"), TimeUnit::microseconds);
}

TEST(TimeUnitOf, RefusesOthers) {
  EXPECT_EQ(refusal([] { return time_unit("S"); }), "22023");
  EXPECT_EQ(refusal([] { return time_unit("min"); }), "22023");
}

TEST(ArrayItems, ReadsPlainAndQuotedItems) {
  EXPECT_EQ(array_items("{}"), Items{});
  EXPECT_EQ(array_items("{a}"), Items{"a"});
  EXPECT_EQ(array_items("{a,\"b c\",\"\"}"), (Items{"a", "b c", ""}));
  EXPECT_EQ(array_items("{\"a\\\"b\",\"c\\\\d\"}"), (Items{"a\"b", "c\\d"}));
  EXPECT_EQ(array_items("{\"a,b\",\"{c}\"}"), (Items{"a,b", "{c}"}));
}

TEST(ArrayItems, RefusesNullButNotTheWord) {
  EXPECT_EQ(refusal([] { return array_items("{a,NULL}"); }), "22004");
  EXPECT_EQ(array_items("{\"NULL\"}"), Items{"NULL"});
}

TEST(ArrayItems, RefusesMoreDimensions) {
  EXPECT_EQ(refusal([] { return array_items("{{a},{b}}"); }), "22023");
}

TEST(ArrayItems, RefusesWhatIsNoArray) {
  EXPECT_EQ(refusal([] { return array_items(""); }), "22023");
  EXPECT_EQ(refusal([] { return array_items("a"); }), "22023");
  EXPECT_EQ(refusal([] { return array_items("{"); }), "22023");
}

TEST(ArrayText, IsReadBackTheSame) {
  const Items hostile{"", "a", "NULL", "a,b", "{}", "\"", "\\", "it's", " x ", "ü", "\\\"{,"};
  EXPECT_EQ(array_items(array_text(hostile)), hostile);
  EXPECT_EQ(array_items(array_text({})), Items{});
}

TEST(ReadPolicy, TakesEveryField) {
  const Policy policy = read_policy(fields({{"id", "7"},
                                            {"version", "3"},
                                            {"owner", "4294967295"},
                                            {"preset", "inactive_carts"},
                                            {"paused", "t"},
                                            {"subject", "200"},
                                            {"path", "{a,b}"},
                                            {"time_zone", "UTC"},
                                            {"time_column", "at"},
                                            {"when_null", "expire"},
                                            {"condition", "true"},
                                            {"dependents", "cascade"},
                                            {"target_name", "s.t"},
                                            {"never", "{0,-1}"}}));
  EXPECT_EQ(policy.name, "p");
  EXPECT_EQ(policy.id, 7);
  EXPECT_EQ(policy.version, 3);
  EXPECT_EQ(policy.owner, 4294967295u);
  EXPECT_EQ(policy.preset, "inactive_carts");
  EXPECT_TRUE(policy.paused);
  EXPECT_EQ(policy.target, 100u);
  EXPECT_EQ(policy.subject, 200u);
  EXPECT_EQ(policy.path, (Items{"a", "b"}));
  EXPECT_EQ(policy.never, (Items{"0", "-1"}));
  EXPECT_EQ(policy.when_null, WhenNull::expire);
  EXPECT_EQ(policy.dependents, OnDependents::cascade);
  EXPECT_EQ(policy.expire_after, "1 day");
  EXPECT_EQ(policy.target_name, "s.t");
}

TEST(ReadPolicy, HasTheSafeDefaults) {
  const Policy policy = read_policy(fields({}));
  EXPECT_EQ(policy.action, Action::remove);
  EXPECT_EQ(policy.when_null, WhenNull::keep);
  EXPECT_EQ(policy.dependents, OnDependents::refuse);
  EXPECT_FALSE(policy.paused);
  EXPECT_EQ(policy.subject, 0u);
}

TEST(ReadPolicy, TreatsAnAbsentFieldAsNull) {
  Fields given = fields({});
  given["when_null"] = std::nullopt;
  given["condition"] = std::nullopt;
  EXPECT_EQ(read_policy(given).when_null, WhenNull::keep);
  EXPECT_EQ(read_policy(given).condition, "");
}

TEST(ReadPolicy, KnowsThatATargetMayBeItsOwnSubject) {
  EXPECT_EQ(read_policy(fields({{"subject", "100"}})).subject, 0u);
}

TEST(ReadPolicy, RefusesUnknownWords) {
  EXPECT_EQ(refusal([] { return read_policy(fields({{"action", "drop"}})); }), "22023");
  EXPECT_EQ(refusal([] { return read_policy(fields({{"when_null", "maybe"}})); }), "22023");
  EXPECT_EQ(refusal([] { return read_policy(fields({{"dependents", "CASCADE"}})); }), "22023");
  EXPECT_EQ(refusal([] { return read_policy(fields({{"time_column", "at"}, {"time_unit", "h"}})); }), "22023");
}

TEST(ReadPolicy, WantsASetClauseForUpdatesAlone) {
  EXPECT_EQ(refusal([] { return read_policy(fields({{"action", "update"}})); }), "22023");
  EXPECT_EQ(refusal([] { return read_policy(fields({{"set_clause", "a = 1"}})); }), "22023");
  EXPECT_EQ(read_policy(fields({{"action", "update"}, {"set_clause", "a = 1"}})).action, Action::update);
}

TEST(ReadPolicy, RefusesLimitsThatCannotBe) {
  EXPECT_EQ(refusal([] { return read_policy(fields({{"max_rows", "-1"}})); }), "22023");
  EXPECT_EQ(refusal([] { return read_policy(fields({{"max_fraction", "1.5"}})); }), "22023");
  EXPECT_EQ(refusal([] { return read_policy(fields({{"max_fraction", "NaN"}})); }), "22023");
  for (const char* factor : {"0.5", "-1", "NaN", "Infinity", "0.9999999"})
    EXPECT_EQ(refusal([&] { return read_policy(fields({{"max_deviation", factor}})); }), "22023") << factor;
  for (const char* factor : {"0", "1", "2.5"})
    EXPECT_EQ(read_policy(fields({{"max_deviation", factor}})).max_deviation, std::stod(factor));
  EXPECT_EQ(refusal([] { return read_policy(fields({{"keep_latest", "0"}, {"time_column", "at"}})); }), "22023");
  EXPECT_EQ(read_policy(fields({{"max_rows", "0"}})).max_rows, 0);
}

TEST(ReadPolicy, RefusesAColumnTwice) {
  EXPECT_EQ(refusal([] { return read_policy(fields({{"time_columns", "{at,at}"}})); }), "22023");
  EXPECT_EQ(refusal([] { return read_policy(fields({{"time_columns", "{at,due}"}})); }), "");
  EXPECT_EQ(refusal([] {
              return read_policy(fields({{"time_column", "at"}, {"keep_latest", "1"}, {"keep_per", "{a,b,a}"}}));
            }),
            "22023");
}

TEST(ActionName, IsWhatUsersWrite) {
  EXPECT_EQ(action_name(Action::remove), "delete");
  EXPECT_EQ(action_name(Action::update), "update");
  EXPECT_EQ(action_name(Action::archive), "archive");
}

TEST(DependentActionName, GoesThereAndBack) {
  for (const char* word : {"delete", "set_null", "keep", "refuse"})
    EXPECT_EQ(dependent_action_name(dependent_action(word)), word);
  EXPECT_EQ(refusal([] { return dependent_action("cascade"); }), "22023");
}

TEST(FailureParts, AreWhatAUserReads) {
  const Failure failure("22023", "a message", "A detail.", "A hint.");
  EXPECT_STREQ(failure.what(), "a message");
  EXPECT_EQ(failure.sqlstate(), "22023");
  EXPECT_EQ(failure.detail(), "A detail.");
  EXPECT_EQ(failure.hint(), "A hint.");
}

} // namespace
} // namespace pg_retention::core
