#include "extension/core/statement.hpp"

#include "extension/core/failure.hpp"

#include <gtest/gtest.h>

namespace pg_retention::core {
namespace {

const Relation items{1, "s", "cart_items", 'r'}, carts{2, "s", "carts", 'r'}, users{3, "s", "users", 'r'},
    messages{4, "s", "messages", 'r'};

ForeignKey key(const Relation& child, const std::string& column, const Relation& parent) {
  return {column + "_fkey", child, parent, {column}, {"id"}, {"OPERATOR(pg_catalog.=)"}};
}

TimeColumn at(const char* column) {
  TimeColumn time;
  time.column = column;
  return time;
}

Rule by_age() {
  Rule rule;
  rule.target = items;
  rule.times = {at("created_at")};
  return rule;
}

Rule by_user() {
  Rule rule;
  rule.target = items;
  rule.path = {key(items, "cart_id", carts), key(carts, "user_id", users)};
  rule.times = {at("last_active")};
  return rule;
}

Rule by_messages() {
  Rule rule = by_user();
  rule.times.clear();
  rule.activities = {{messages, at("sent"), "activity.user_id = subject.id", "activity.sender = 'user'"}};
  return rule;
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST(RuleSubject, IsTheEndOfThePathOrTheTarget) {
  EXPECT_EQ(by_age().subject().oid, items.oid);
  EXPECT_EQ(by_user().subject().oid, users.oid);
  EXPECT_EQ(subject_alias(by_age()), "target");
  EXPECT_EQ(subject_alias(by_user()), "subject");
}

TEST(StepAlias, EndsWithTheSubject) {
  EXPECT_EQ(step_alias(by_user(), 0), "step_1");
  EXPECT_EQ(step_alias(by_user(), 1), "subject");
}

TEST(VictimsSelect, OfARuleOfAge) {
  EXPECT_EQ(victims_select(by_age()), "SELECT target.tableoid, target.ctid FROM \"s\".\"cart_items\" AS target WHERE "
                                      "((target.\"created_at\" < $1 AND target.\"created_at\" > '-infinity'))");
}

TEST(VictimsSelect, JoinsThePathByItsKeys) {
  const std::string sql = victims_select(by_user());
  EXPECT_TRUE(
      has(sql, "SELECT target.tableoid, target.ctid, step_1.tableoid, step_1.ctid, subject.tableoid, subject.ctid"));
  EXPECT_TRUE(
      has(sql, "JOIN ONLY \"s\".\"carts\" AS step_1 ON (step_1.\"id\" OPERATOR(pg_catalog.=) target.\"cart_id\")"));
  EXPECT_TRUE(
      has(sql, "JOIN ONLY \"s\".\"users\" AS subject ON (subject.\"id\" OPERATOR(pg_catalog.=) step_1.\"user_id\")"));
  EXPECT_TRUE(has(sql, "subject.\"last_active\" < $1"));
}

TEST(VictimsSelect, AddsTheInstantWhereAsked) {
  EXPECT_TRUE(has(victims_select(by_age(), true), "target.ctid, target.\"created_at\" FROM"));
  EXPECT_TRUE(has(victims_select(by_messages(), true), "NULL::pg_catalog.timestamptz"));
}

TEST(VictimsSelect, KeepsAConditionInItsBrackets) {
  Rule rule = by_age();
  rule.conditions = {"true OR target.id = 1 -- not the end"};
  EXPECT_TRUE(has(victims_select(rule), " AND (true OR target.id = 1 -- not the end\n)"));
}

TEST(VictimsSelect, NamesTheTargetAsSubjectForUsersSql) {
  Rule rule = by_age();
  rule.conditions = {"subject.id > 0"};
  EXPECT_TRUE(has(victims_select(rule), "CROSS JOIN LATERAL (SELECT target.*) AS subject"));
}

TEST(VictimsSelect, LooksForYoungActivity) {
  const std::string sql = victims_select(by_messages());
  EXPECT_TRUE(
      has(sql, "NOT EXISTS (SELECT 1 FROM \"s\".\"messages\" AS activity WHERE (activity.user_id = subject.id\n) AND "
               "(activity.sender = 'user'\n) AND (activity.\"sent\" >= $1 OR activity.\"sent\" IS NULL))"));
}

TEST(VictimsSelect, WantsSomethingThatExpires) {
  Rule rule;
  rule.target = items;
  EXPECT_THROW((void)victims_select(rule), Failure);
}

TEST(VictimsSelect, TakesSeveralTimesTogetherOrOneOfThem) {
  Rule rule = by_age();
  rule.times.push_back(at("seen"));
  EXPECT_TRUE(has(times_expired(rule), ") AND (target.\"seen\" < $1"));
  EXPECT_TRUE(has(deciding_instant(rule), "GREATEST("));
  rule.match = TimeMatch::any;
  EXPECT_TRUE(has(times_expired(rule), ") OR (target.\"seen\" < $1"));
  EXPECT_TRUE(has(deciding_instant(rule), "LEAST("));
}

TEST(ExpiredSubjectsCount, CountsThemWithOrWithoutVictims) {
  EXPECT_EQ(expired_subjects_count(by_user()),
            "SELECT pg_catalog.count(*) FROM ONLY \"s\".\"users\" AS subject WHERE "
            "((subject.\"last_active\" < $1 AND subject.\"last_active\" > '-infinity'))");
}

TEST(SubjectsSource, HasEverySubject) {
  EXPECT_TRUE(has(subjects_source(by_user()),
                  " FROM ONLY \"s\".\"users\" AS subject LEFT JOIN (\"s\".\"cart_items\" AS target JOIN"));
}

TEST(ChainsSelect, LeavesTheTargetOut) {
  const std::string sql = chains_select(by_user());
  EXPECT_FALSE(has(sql, "cart_items"));
  EXPECT_TRUE(has(sql, "SELECT step_1.tableoid, step_1.ctid, subject.tableoid, subject.ctid, step_1.\"id\" FROM"));
}

TEST(ReturnedSubjectsSelect, AsksAmongGivenRows) {
  const std::string sql = returned_subjects_select(by_messages());
  EXPECT_TRUE(has(sql, "subject.ctid = ANY ($2)"));
  EXPECT_TRUE(has(sql, "AND EXISTS (SELECT 1 FROM \"s\".\"messages\""));
  EXPECT_FALSE(has(sql, " UNION ALL ")) << "without an index of the time, a subject's activities are read once";
}

TEST(ReturnedSubjectsSelect, AsksForEachHalfWhereAnIndexHasTheTime) {
  Rule rule = by_messages();
  rule.activities.at(0).time_is_indexed = true;
  EXPECT_TRUE(has(returned_subjects_select(rule), " UNION ALL "));
}

TEST(ReturnedSubjectsSelect, AsksOnlyForActivityThatHasCome) {
  Rule rule = by_messages();
  rule.activities.at(0).time_is_indexed = true;
  const std::string sql = returned_subjects_select(rule, true);
  EXPECT_TRUE(has(sql, "activity.ctid = ANY ($3) AND "));
  EXPECT_FALSE(has(sql, " UNION ALL ")) << "few places are looked at once";
}

TEST(ActivityProbe, HasTheWholeTestButTheTime) {
  const Rule rule = by_messages();
  const std::string sql = activity_probe(rule, rule.activities.at(0));
  EXPECT_TRUE(has(sql, rule.activities.at(0).join_condition));
  EXPECT_FALSE(has(sql, "$1"));
}

TEST(ChildrenSelect, FollowsAForeignKeyWithoutInheritance) {
  EXPECT_EQ(children_select(bond_of(key(items, "cart_id", carts))),
            "SELECT dependent.tableoid, dependent.ctid, target.tableoid, target.ctid FROM ONLY \"s\".\"cart_items\" AS "
            "dependent JOIN "
            "ONLY \"s\".\"carts\" AS target ON (target.\"id\" OPERATOR(pg_catalog.=) dependent.\"cart_id\"\n) WHERE "
            "target.ctid = ANY ($1)");
}

TEST(BoundOfInstants, ReadsTwoLocalTimesWhereTheZoneKeepsTheirOrder) {
  Rule rule = by_user();
  rule.times = {{"last_active", TimeKind::timestamp, TimeUnit::none, "UTC", {}, WhenNull::keep}};
  EXPECT_EQ(bound_of_instants(rule, "min"), "pg_catalog.timezone('UTC', pg_catalog.min(subject.\"last_active\"))");
  rule.times.front().zone = "Europe/Berlin";
  EXPECT_EQ(bound_of_instants(rule, "max"),
            "pg_catalog.max(pg_catalog.timezone('Europe/Berlin', subject.\"last_active\"))");
}

TEST(BondProbe, HasTheConditionAlone) {
  EXPECT_EQ(
      bond_probe(bond_of(key(items, "cart_id", carts))),
      "SELECT (target.\"id\" OPERATOR(pg_catalog.=) dependent.\"cart_id\"\n) FROM \"s\".\"cart_items\" AS dependent "
      "CROSS JOIN \"s\".\"carts\" AS target");
}

TEST(ChangeStatement, DeletesByPlace) {
  RowChange change;
  change.leaf = change.root = items;
  const std::string sql = change_statement({change});
  EXPECT_TRUE(has(sql, "DELETE FROM ONLY \"s\".\"cart_items\" AS target WHERE target.ctid = ANY ($1)"));
}

TEST(ChangeStatement, UpdatesALeafThroughItsRoot) {
  RowChange change;
  change.leaf = {9, "s", "part", 'r'};
  change.root = {1, "s", "cart_items", 'p'};
  change.set_clause = "status = 'Expired' -- done";
  change.through_root = true;
  const std::string sql = change_statement({change}, "id");
  EXPECT_TRUE(has(sql, "UPDATE \"s\".\"cart_items\" AS target SET status = 'Expired' -- done\n WHERE target.ctid = ANY "
                       "($1) AND target.tableoid = 9"));
  EXPECT_TRUE(has(sql, "LIMIT 1000"));
}

TEST(ChangeStatement, UpdatesALeafByItself) {
  RowChange change;
  change.leaf = {9, "s", "part", 'r'};
  change.root = {1, "s", "cart_items", 'p'};
  change.set_clause = "status = 'Expired'";
  EXPECT_TRUE(
      has(change_statement({change}),
          "UPDATE ONLY \"s\".\"part\" AS target SET status = 'Expired'\n WHERE target.ctid = ANY ($1) RETURNING"));
}

TEST(ChangeStatement, ChangesSeveralTablesAtOnce) {
  RowChange one, two;
  one.leaf = one.root = items;
  two.leaf = two.root = carts;
  const std::string sql = change_statement({one, two});
  EXPECT_TRUE(has(sql, "= ANY ($1)"));
  EXPECT_TRUE(has(sql, "= ANY ($2)"));
  EXPECT_EQ(sql.find("WITH "), 0u);
}

} // namespace
} // namespace pg_retention::core
