#include "extension/core/graph.hpp"

#include "extension/core/failure.hpp"

#include <gtest/gtest.h>

namespace pg_retention::core {
namespace {

const Relation items{1, "s", "items", 'r'}, carts{2, "s", "carts", 'r'}, users{3, "s", "users", 'r'},
    shops{4, "s", "shops", 'r'};

ForeignKey key(const std::string& name, const Relation& child, const Relation& parent) {
  return {name, child, parent, {parent.name + "_id"}, {"id"}, {"OPERATOR(pg_catalog.=)"}};
}

const ForeignKey item_cart = key("item_cart", items, carts), cart_user = key("cart_user", carts, users),
                 item_user = key("item_user", items, users), user_shop = key("user_shop", users, shops);

std::vector<std::string> names(const Path& path) {
  std::vector<std::string> out;
  for (const ForeignKey& step : path)
    out.push_back(step.name);
  return out;
}

using Names = std::vector<std::string>;

template <class Body>
Failure refused(Body body) {
  try {
    (void)body();
  } catch (const Failure& failure) {
    return failure;
  }
  return Failure("00000", "nothing was refused");
}

TEST(ForeignKeyCondition, JoinsColumnByColumn) {
  ForeignKey composite = item_cart;
  composite.child_columns = {"tenant", "cart"};
  composite.parent_columns = {"t", "i\"d"};
  composite.operators = {"OPERATOR(pg_catalog.=)", "OPERATOR(public.=)"};
  EXPECT_EQ(composite.condition("child", "parent"), "parent.\"t\" OPERATOR(pg_catalog.=) child.\"tenant\" AND "
                                                    "parent.\"i\"\"d\" OPERATOR(public.=) child.\"cart\"");
}

TEST(ForeignKeyCondition, SaysWhichCollationWhereTheColumnsDiffer) {
  ForeignKey composite = item_cart;
  composite.child_columns = {"tenant", "cart"};
  composite.parent_columns = {"t", "id"};
  composite.operators = {"OPERATOR(pg_catalog.=)", "OPERATOR(pg_catalog.=)"};
  composite.collations = {"", "public.\"C;\""};
  EXPECT_EQ(composite.condition("child", "parent"),
            "parent.\"t\" OPERATOR(pg_catalog.=) child.\"tenant\" AND "
            "parent.\"id\" OPERATOR(pg_catalog.=) child.\"cart\" COLLATE public.\"C;\"");
}

TEST(ForeignKeyLabel, SaysFromWhereToWhere) { EXPECT_EQ(item_cart.label(), "s.items.\"item_cart\" -> s.carts"); }

TEST(Paths, FindsTheOneWay) {
  const auto found = paths({cart_user, item_cart, user_shop}, items.oid, users.oid);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(names(found[0]), (Names{"item_cart", "cart_user"}));
}

TEST(Paths, LeadsOverNoTemporalKey) {
  ForeignKey temporal = item_user;
  temporal.is_temporal = true;
  EXPECT_EQ(paths({temporal, item_cart, cart_user}, items.oid, users.oid).size(), 1u);
  const Failure failure = refused([&] { return the_path({temporal}, items, users, {}); });
  EXPECT_EQ(failure.sqlstate(), sqlstate::undefined_object);
  EXPECT_NE(failure.detail().find("\"item_user\", a key with PERIOD"), std::string::npos);
}

TEST(Paths, FindsNoneAgainstTheArrows) {
  EXPECT_TRUE(paths({item_cart, cart_user}, users.oid, items.oid).empty());
  EXPECT_TRUE(paths({}, items.oid, users.oid).empty());
}

TEST(Paths, GivesTheShortestFirst) {
  const auto found = paths({item_cart, cart_user, item_user}, items.oid, users.oid);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(names(found[0]), Names{"item_user"});
  EXPECT_EQ(names(found[1]), (Names{"item_cart", "cart_user"}));
}

TEST(Paths, TellsTwoKeysBetweenTheSameTablesApart) {
  EXPECT_EQ(paths({key("a", items, users), key("b", items, users)}, items.oid, users.oid).size(), 2u);
}

TEST(Paths, VisitsNoTableTwice) {
  const ForeignKey back = key("back", users, items), self = key("self", carts, carts), loop = key("loop", carts, items);
  const auto found = paths({item_cart, self, loop, cart_user, back}, items.oid, users.oid);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(names(found[0]), (Names{"item_cart", "cart_user"}));
}

TEST(Paths, EndAtTheirGoal) {
  EXPECT_EQ(paths({item_cart, cart_user, key("round", users, carts)}, items.oid, carts.oid).size(), 1u);
}

TEST(Paths, StopsAtTheMostThatIsAskedFor) {
  std::vector<ForeignKey> keys;
  for (int i = 0; i < 10; ++i)
    keys.push_back(key("k" + std::to_string(i), items, users));
  EXPECT_EQ(paths(keys, items.oid, users.oid, 3).size(), 3u);
}

TEST(ThePath, IsTheOnlyOne) {
  EXPECT_EQ(names(the_path({item_cart, cart_user}, items, users, {})), (Names{"item_cart", "cart_user"}));
}

TEST(ThePath, IsAnErrorWhereThereIsNone) {
  EXPECT_EQ(refused([] { return the_path({item_cart}, items, users, {}); }).sqlstate(), "42704");
}

TEST(ThePath, ListsThemAllWhereThereAreSeveral) {
  const Failure failure = refused([] { return the_path({item_cart, cart_user, item_user}, items, users, {}); });
  EXPECT_EQ(failure.sqlstate(), "42P08");
  EXPECT_NE(failure.detail().find("\"item_user\""), std::string::npos);
  EXPECT_NE(failure.detail().find("\"item_cart\""), std::string::npos);
  EXPECT_NE(failure.hint().find("path => ARRAY['item_user']"), std::string::npos);
}

TEST(ThePath, IsTheChosenOne) {
  const std::vector<ForeignKey> keys{item_cart, cart_user, item_user};
  EXPECT_EQ(names(the_path(keys, items, users, {"item_cart", "cart_user"})), (Names{"item_cart", "cart_user"}));
  EXPECT_EQ(names(the_path(keys, items, users, {"item_user"})), Names{"item_user"});
}

TEST(ThePath, RefusesAChoiceThatDoesNotLeadThere) {
  const std::vector<ForeignKey> keys{item_cart, cart_user, item_user};
  EXPECT_EQ(refused([&] { return the_path(keys, items, users, {"item_cart"}); }).sqlstate(), "42704");
  EXPECT_EQ(refused([&] { return the_path(keys, items, users, {"cart_user", "item_cart"}); }).sqlstate(), "42704");
  EXPECT_EQ(refused([&] { return the_path(keys, items, users, {"nothing"}); }).sqlstate(), "42704");
}

} // namespace
} // namespace pg_retention::core
