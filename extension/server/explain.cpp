#include "extension/server/explain.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/direct.hpp"
#include "extension/server/holds.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/rows.hpp"
#include "extension/server/run.hpp"
#include "extension/server/strategy.hpp"
#include "extension/server/walk.hpp"

namespace pg_retention::server {
namespace {

using boundary::Arg;
using boundary::Row;
using boundary::Rows;
using boundary::Text;

/// The indexes that the planner would use for a statement, as text[]; NULL where it uses none.
Text indexes_of(const std::string& statement, const std::vector<Arg>& args) {
  const Text plan = boundary::single("EXPLAIN (FORMAT JSON) " + statement, args);
  return boundary::single(
      "SELECT pg_catalog.array_agg(DISTINCT i #>> '{}') FROM pg_catalog.jsonb_path_query($1::pg_catalog.jsonb, "
      "'$.**.\"Index Name\"') AS i",
      {Arg::of(plan)});
}

/// Collects the steps of one explanation.
class Plan {
public:
  Plan(const Resolved& resolved, TimestampTz cutoff) : resolved_(resolved), cutoff_(cutoff) {}

  Rows steps(const core::Policy& policy) {
    const core::Rule& rule = resolved_.rule;
    const std::string since =
        policy.expire_after + (policy.expiry_expression.empty() ? "" : " (the expression gives the instant of expiry)");
    add("cutoff", rule.subject().label(), Text(),
        "now less " + since + ", by the calendar of " + resolved_.zone + ": " + iso(cutoff_), Text());
    choose();
    walk();
    hold();
    for (const Edge& edge : resolved_.edges)
      follow(edge);
    keep_held();
    change();
    return std::move(rows_);
  }

private:
  const Resolved& resolved_;
  TimestampTz cutoff_;
  Rows rows_;

  void add(const char* what, const std::string& relation, const Text& statement, const std::string& reason,
           const Text& indexes) {
    rows_.push_back({std::to_string(rows_.size() + 1), std::string(what), relation, statement, reason, indexes});
  }

  void choose() {
    const core::Rule& rule = resolved_.rule;
    const std::string statement = core::victims_select(rule);
    const Text indexes = indexes_of(statement, {Arg::time(cutoff_)});
    if (may_walk_blocks(rule) && planner_reads_whole_target(rule, cutoff_))
      add("choose", rule.target.label(), core::chains_select(rule),
          "walk over the blocks: the planner would read the whole target, so the keys of the expired subjects become a "
          "set in memory and "
          "one scan of the target looks each row up in it",
          Text());
    else
      add("choose", rule.target.label(), statement,
          indexes ? "walk through the indexes that the planner chose" : "one statement; the planner uses no index",
          indexes);
  }

  /// How a committed run goes about it.
  void walk() {
    push_latest_snapshot();
    const Strategy strategy = choose_strategy(resolved_, cutoff_, {});
    pop_snapshot();
    add("walk", resolved_.rule.target.label(), Text(),
        std::string("retention.run: over ") + (walk_name(strategy.way)[0] == 'b' ? "the blocks: " : "a list: ") +
            strategy.reason,
        Text());
  }

  void hold() {
    const core::Rule& rule = resolved_.rule;
    const Text none;
    for (std::size_t i = 0; i < rule.path.size(); ++i) {
      const bool is_watched = i + 1 == rule.path.size() && !rule.activities.empty();
      add("hold", rule.path[i].parent.label(), none,
          std::string("rows on the path to the subject are locked ") + (is_watched ? "FOR UPDATE" : "FOR SHARE") +
              " where they stand, skipping what others hold; one that changed since it was read takes its victims out",
          none);
    }
    if (rule.activities.empty())
      return;
    const std::string statement = core::returned_subjects_select(rule);
    add("judge again", rule.subject().label(), statement,
        "activity that was committed by then keeps the subject's rows",
        indexes_of(statement, {Arg::time(cutoff_), Arg::null(TIDARRAYOID)}));
  }

  void follow(const Edge& edge) {
    const bool is_update = !resolved_.rule.set_clause.empty();
    const char* reason = edge.action == EdgeAction::remove
                             ? (is_update ? "rows found are updated too" : "rows found go with the victim")
                         : edge.action == EdgeAction::set_null ? "rows found have their key set to NULL"
                         : edge.action == EdgeAction::clear
                             ? "the schema clears the key of rows found (ON DELETE SET NULL or SET DEFAULT)"
                             : "a row found that does not go itself keeps the victim: blocked";
    const std::string statement = core::children_select(edge.bond);
    add("dependents", edge.label, statement, reason, indexes_of(statement, {Arg::null(TIDARRAYOID)}));
  }

  /// The holds that stand: asked in every batch, before its rows go.
  void keep_held() {
    const TimestampTz now = boundary::server([] { return GetCurrentTransactionStartTimestamp(); });
    const LegalHolds holds(resolved_, now);
    for (const core::LegalHold& hold : holds.standing())
      add("legal hold", hold.relation.label(), core::held_rows_select(hold),
          "hold " + std::to_string(hold.id) + (hold.until.empty() ? "" : " (until " + hold.until + ")") +
              " keeps these rows, and what refers to them by foreign keys: " + hold.reason,
          Text());
  }

  void change() {
    const core::Rule& rule = resolved_.rule;
    core::Leaves leaves;
    const Selection none(leaves, rule.path.size());
    const std::string why = why_not_direct(resolved_, none);
    if (why.empty()) {
      add("change", rule.target.label(), Text(),
          "direct: rows are removed through the table access method, because nothing would miss them", Text());
      return;
    }
    core::RowChange change;
    change.leaf = change.root = rule.target;
    change.set_clause = rule.set_clause;
    add("change", rule.target.label(), core::change_statement({change}), "SQL: " + why, Text());
  }
};

} // namespace

Rows explain_rows(const core::Policy& policy) {
  const std::string zone = zone_of(policy);
  const Authority before = act_as(runs_as(policy), zone);
  const Resolved resolved = resolve(policy);
  Rows rows = Plan(resolved, cutoff_before_now(policy.expire_after, zone, true)).steps(policy);
  give_back(before);
  return rows;
}

} // namespace pg_retention::server
