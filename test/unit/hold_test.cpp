#include "extension/core/hold.hpp"

#include <gtest/gtest.h>

namespace pg_retention::core {
namespace {

Bond key(Relation child, Relation parent) {
  ForeignKey key;
  key.child = std::move(child);
  key.parent = std::move(parent);
  key.child_columns = {"p"};
  key.parent_columns = {"id"};
  key.operators = {"OPERATOR(pg_catalog.=)"};
  return bond_of(key);
}

const Relation users{1, "s", "users", 'r'}, carts{2, "s", "carts", 'r'}, items{3, "s", "my \"items", 'r'},
    other{4, "s", "other", 'r'}, tree{5, "s", "tree", 'p'}, leaf{6, "s", "leaf", 'r'};

TEST(Hold, ACommentInAConditionEndsWithItsLine) {
  LegalHold hold;
  hold.relation = items;
  hold.condition = "true -- for ever";
  EXPECT_EQ(
      held_rows_select(hold),
      "SELECT target.tableoid, target.ctid FROM \"s\".\"my \"\"items\" AS target WHERE target.ctid = ANY ($1) AND "
      "(true -- for ever\n)");
}

TEST(Hold, AKeyIsFollowedFromTheRowThatRefersWithItsHeirs) {
  EXPECT_EQ(referred_rows_select(key(carts, users)),
            "SELECT dependent.tableoid, dependent.ctid, target.tableoid, target.ctid FROM \"s\".\"carts\" AS dependent "
            "JOIN ONLY \"s\".\"users\" AS target ON (target.\"id\" OPERATOR(pg_catalog.=) dependent.\"p\"\n) WHERE "
            "dependent.ctid = ANY ($1)");
}

TEST(Hold, ADeclaredBondTakesTheHeirsOfItsParent) {
  const Bond bond{carts, users, "dependent.p = target.id -- so", {}, false};
  EXPECT_EQ(referred_rows_select(bond),
            "SELECT dependent.tableoid, dependent.ctid, target.tableoid, target.ctid FROM \"s\".\"carts\" AS dependent "
            "JOIN \"s\".\"users\" AS target ON (dependent.p = target.id -- so\n) WHERE dependent.ctid = ANY ($1)");
}

TEST(Hold, ATableAndItsPartsAreOneGroupInWhateverOrderTheyAreTold) {
  Clans clans;
  clans.join(11, 10);
  clans.join(13, 12);
  clans.join(12, 10);
  clans.join(11, 10);
  EXPECT_EQ(clans.of(11), clans.of(13));
  EXPECT_EQ(clans.of(10), clans.of(12));
  EXPECT_NE(clans.of(10), clans.of(14));
}

TEST(Hold, ReachGoesOverManyKeysInOneDirection) {
  Clans clans;
  const std::vector<Bond> keys{key(items, carts), key(carts, users), key(other, users)};
  EXPECT_EQ(groups_that_refer(keys, clans, {users.oid}), (TableSet{1, 2, 3, 4}));
  EXPECT_EQ(groups_that_refer(keys, clans, {carts.oid}), (TableSet{2, 3}));
  EXPECT_EQ(groups_referred_to(keys, clans, {items.oid}), (TableSet{1, 2, 3}));
  EXPECT_EQ(groups_referred_to(keys, clans, {users.oid}), (TableSet{1}));
}

TEST(Hold, ReachGoesOverPartsAndEndsInACycle) {
  Clans clans;
  clans.join(leaf.oid, tree.oid);
  const std::vector<Bond> keys{key(leaf, users), key(users, carts), key(carts, users), key(items, tree)};
  EXPECT_EQ(groups_referred_to(keys, clans, {items.oid}), (TableSet{1, 2, 3, 5}));
  EXPECT_EQ(groups_that_refer(keys, clans, {carts.oid}), (TableSet{1, 2, 3, 5}));
}

TEST(Hold, WhatRefersToAHeldRowAtAnyDepthIsHeldAndNothingElse) {
  Ancestry rows;
  for (const RowKey row : {1, 2, 3, 4, 5})
    EXPECT_TRUE(rows.add(row));
  EXPECT_FALSE(rows.add(3));
  rows.link(1, 2);
  rows.link(2, 3);
  rows.link(4, 5);
  rows.link(3, 3);
  rows.hold(3);
  EXPECT_EQ(rows.held_among({1, 2, 4, 5}), (std::unordered_set<RowKey>{1, 2}));
}

TEST(Hold, ARowIsNotHeldByWhatRefersToIt) {
  Ancestry rows;
  (void)rows.add(1);
  (void)rows.add(2);
  rows.link(1, 2);
  rows.hold(1);
  EXPECT_EQ(rows.held_among({1, 2}), (std::unordered_set<RowKey>{1}));
}

TEST(Hold, ACycleOfRowsIsHeldAsAWhole) {
  Ancestry rows;
  (void)rows.add(1);
  (void)rows.add(2);
  rows.link(1, 2);
  rows.link(2, 1);
  rows.hold(1);
  EXPECT_EQ(rows.held_among({1, 2}), (std::unordered_set<RowKey>{1, 2}));
}

} // namespace
} // namespace pg_retention::core
