#include "extension/server/advise.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/erase.hpp"
#include "extension/server/failures.hpp"
#include "extension/server/fuse.hpp"
#include "extension/server/holds.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/rows.hpp"
#include "extension/server/run.hpp"
#include "extension/server/store.hpp"

#include <algorithm>

namespace pg_retention::server {
namespace {

using boundary::Arg;
using boundary::Row;
using boundary::Rows;
using boundary::Text;

/// Collects findings about one policy.
class Advisor {
public:
  explicit Advisor(const core::Policy& policy) : policy_(policy) {}

  Rows run() {
    look_at_life();
    const auto broken = boundary::attempt([&] {
      const std::string zone = zone_of(policy_);
      const Authority before = act_as(runs_as(policy_), zone);
      const Resolved resolved = resolve(policy_);
      require_rights(resolved);
      look_at_indexes(resolved);
      look_at_keys(resolved);
      look_at_tables(resolved);
      look_at_archives(resolved);
      look_at_holds(resolved);
      look_at_views(resolved.rule.target);
      look_at_backlog(resolved, zone);
      look_at_plan(resolved, zone);
      give_back(before);
    });
    if (broken)
      add("error", policy_.target_name, "the policy cannot run: " + broken->message + " (" + broken->sqlstate + ")",
          broken->hint);
    return std::move(rows_);
  }

private:
  const core::Policy& policy_;
  Rows rows_;

  void add(const char* severity, const std::string& object, const std::string& finding, const std::string& remedy) {
    rows_.push_back({std::string(severity), policy_.name, object, finding, remedy.empty() ? Text() : Text(remedy)});
  }

  /// Whether it runs at all, and when it last did.
  void look_at_life() {
    const std::string run = "SELECT * FROM retention.apply(" + core::quote_literal(policy_.name) + ");";
    const std::string resume = "SELECT retention.resume_policy(" + core::quote_literal(policy_.name) + ");";
    if (policy_.id != 0 && !store::is_at_home(policy_.name))
      add("warning", policy_.name, "at rest: this database is a copy of the one the policy was made in", resume);
    else if (policy_.paused)
      add("info", policy_.name, "paused", resume);
    Outcome next = new_outcome(policy_);
    if (const Fuse fuse(policy_, ""); !fuse.may_begin(next))
      add("warning", policy_.name, next.message,
          "SELECT retention.approve(" + core::quote_literal(policy_.name) + ", " + std::to_string(fuse.waits_for()) +
              ", 'the reason');");
    look_at_failures();
    const Rows last = as_keeper([&] {
      return boundary::query(
          "SELECT pg_catalog.max(id) IS NULL, pg_catalog.max(finished) FILTER (WHERE success), "
          "pg_catalog.now() - pg_catalog.max(finished) FILTER (WHERE success) > interval '2 days' "
          "FROM retention.run WHERE policy = $1 AND stop_reason <> 'paused' AND action IS DISTINCT FROM 'restore'",
          {Arg::of(policy_.name)});
    });
    if (last[0][0] == "t")
      add("warning", policy_.name, "has never run", run);
    else if (!last[0][1])
      add("error", policy_.name, "has never run successfully",
          "SELECT * FROM retention.runs WHERE policy = " + core::quote_literal(policy_.name) + " ORDER BY id DESC;");
    else if (last[0][2] == "t")
      add("warning", policy_.name, "last success was at " + *last[0][1] + ", more than two days ago", run);
  }

  /// Rows that could not be removed, by what they raised.
  void look_at_failures() {
    if (!Failures::are_kept())
      return;
    const Rows found = as_keeper([&] {
      return boundary::query(
          "SELECT f.relation::pg_catalog.text, pg_catalog.count(*), f.sqlstate, (pg_catalog.array_agg(f.message ORDER "
          "BY "
          "f.last_seen DESC))[1], pg_catalog.min(f.next_try) FROM retention.failure f WHERE f.policy = $1 GROUP BY "
          "f.relation, f.sqlstate ORDER BY 2 DESC, 1, 3",
          {Arg::of(policy_.name)});
    });
    const std::string policy = core::quote_literal(policy_.name);
    for (const Row& row : found)
      add("warning", *row[0],
          (row[1] == "1" ? "1 row" : *row[1] + " rows") + " could not be removed: " + *row[3] + " (" + *row[2] +
              "); next try from " + *row[4] + " on",
          "SELECT * FROM retention.failures WHERE policy = " + policy +
              "; -- mend what keeps them, then SELECT retention.retry_failures(" + policy + ");");
  }

  /// Whether a valid, complete index of the table begins with these columns, in any order.
  static bool has_index(const core::Relation& relation, const std::vector<std::string>& columns) {
    return boundary::single(R"(
      SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = $1 AND i.indisvalid AND i.indpred IS NULL AND $2::pg_catalog.text[] <@
        (SELECT pg_catalog.array_agg(a.attname::pg_catalog.text) FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k (no, n)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.no
          WHERE k.n <= pg_catalog.cardinality($2::pg_catalog.text[])) LIMIT 1)",
                            {Arg::oid(relation.oid), Arg::of(core::array_text(columns))})
        .has_value();
  }

  void want_index(const core::Relation& relation, const std::vector<std::string>& columns, const std::string& why) {
    if (has_index(relation, columns))
      return;
    std::vector<std::string> quoted;
    for (const std::string& column : columns)
      quoted.push_back(core::quote(column));
    const char* how = relation.kind == 'p' ? "CREATE INDEX ON " : "CREATE INDEX CONCURRENTLY ON ";
    add("warning", relation.label(), "no index on " + core::join(quoted, ", ") + ", " + why,
        how + relation.sql() + " (" + core::join(quoted, ", ") + ");");
  }

  void look_at_indexes(const Resolved& resolved) {
    const core::Rule& rule = resolved.rule;
    for (const core::TimeColumn& time : rule.times)
      want_index(rule.subject(), {time.column}, "the time column");
    for (const core::ForeignKey& step : rule.path)
      want_index(step.child, step.child_columns, "the key on the path to the subject");
    for (const Edge& edge : resolved.edges)
      if (edge.bond.is_key)
        want_index(edge.bond.child, edge.bond.columns, "the key that refers to " + edge.bond.parent.label());
  }

  void look_at_keys(const Resolved& resolved) {
    for (const core::ForeignKey& key : catalog::foreign_keys())
      for (const Edge& edge : resolved.edges)
        if (key.on_delete == core::OnDelete::cascade && key.child.oid == edge.bond.child.oid &&
            key.parent.oid == edge.bond.parent.oid)
          add("info", key.child.label(),
              "foreign key " + core::quote(key.name) +
                  " is ON DELETE CASCADE: a plain DELETE would remove its "
                  "rows without a word; a run locks and counts them",
              "");
  }

  void look_at_tables(const Resolved& resolved) {
    std::vector<core::Relation> tables{resolved.rule.target};
    for (const Edge& edge : resolved.edges)
      if (edge.action == EdgeAction::remove)
        tables.push_back(edge.bond.child);
    for (const core::Relation& table : tables) {
      const Rows facts = boundary::query(R"(
        SELECT c.relrowsecurity,
               EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 8 <> 0),
               EXISTS (SELECT 1 FROM pg_catalog.pg_publication_tables p JOIN pg_catalog.pg_publication u ON u.pubname = p.pubname
                        WHERE p.schemaname = $2 AND p.tablename = $3 AND u.pubdelete)
                 AND (c.relreplident = 'n' OR c.relreplident = 'd' AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary))
          FROM pg_catalog.pg_class c WHERE c.oid = $1)",
                                         {Arg::oid(table.oid), Arg::of(table.schema), Arg::of(table.name)});
      if (facts[0][0] == "t")
        add("warning", table.label(),
            "row security is on: where it would hide rows from the policy's owner, a run is an error",
            "ALTER ROLE " + core::quote(role_name(resolved.owner)) + " BYPASSRLS;");
      if (facts[0][1] == "t")
        add("info", table.label(), "triggers on DELETE fire for every row: the direct hand is not used", "");
      if (facts[0][2] == "t")
        add("error", table.label(), "published, with no replica identity: DELETE is an error",
            "ALTER TABLE " + table.sql() + " REPLICA IDENTITY FULL;");
    }
  }

  /// Whether the archives can take what they will be given: tables are altered, and dependents come, after them.
  void look_at_archives(const Resolved& resolved) {
    if (resolved.archive.oid == InvalidOid)
      return;
    std::vector<core::Relation> tables{resolved.rule.target};
    for (const Edge& edge : resolved.edges)
      if (edge.action == EdgeAction::remove)
        tables.push_back(edge.bond.child);
    for (const core::Relation& table : tables)
      for (const core::Relation& leaf : catalog::leaves(table))
        if (const auto unfit = boundary::attempt([&] { (void)archiving(resolved, leaf); }))
          add("error", leaf.label(), "rows of it cannot be archived: " + unfit->message, unfit->hint);
  }

  /// Which holds stand over its rows, and whether they can be judged: where not, no run removes anything.
  void look_at_holds(const Resolved& resolved) {
    const TimestampTz now = boundary::server([] { return GetCurrentTransactionStartTimestamp(); });
    const LegalHolds holds(resolved, now);
    for (const core::LegalHold& hold : holds.standing())
      add("info", hold.relation.label(),
          "hold " + std::to_string(hold.id) + " stands" + (hold.until.empty() ? "" : " until " + hold.until) + ": " +
              hold.reason,
          "SELECT * FROM retention.holds WHERE id = " + std::to_string(hold.id) + ";");
    const auto in_doubt = boundary::attempt([&] { holds.try_out(); });
    if (in_doubt)
      add("error", resolved.rule.target.label(), "no run removes anything: " + in_doubt->message, in_doubt->hint);
  }

  void look_at_views(const core::Relation& target) {
    for (const Row& row : boundary::query("SELECT DISTINCT r.ev_class::pg_catalog.regclass::pg_catalog.text FROM "
                                          "pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid "
                                          "JOIN pg_catalog.pg_class c ON c.oid = r.ev_class WHERE d.classid = "
                                          "'pg_catalog.pg_rewrite'::pg_catalog.regclass "
                                          "AND d.refobjid = $1 AND c.relkind = 'm'",
                                          {Arg::oid(target.oid)}))
      add("info", *row[0], "a materialized view over " + target.label() + " still shows the rows until it is refreshed",
          "REFRESH MATERIALIZED VIEW " + *row[0] + ";");
  }

  /// Rows that should have gone a whole period ago.
  void look_at_backlog(const Resolved& resolved, const std::string& zone) {
    const core::Rule& rule = resolved.rule;
    if (rule.times.empty() && rule.expiry_expression.empty())
      return;
    const TimestampTz cutoff = cutoff_before_now(policy_.expire_after, zone, true);
    const TimestampTz late = cutoff_before(policy_.expire_after, zone, true, iso(cutoff));
    const Rows found = boundary::query("SELECT pg_catalog.count(*), pg_catalog.min(" + core::deciding_instant(rule) +
                                           ")" + core::victims_source(rule),
                                       {Arg::time(late)});
    if (found[0][0] != "0" && late < cutoff)
      add("warning", rule.target.label(),
          *found[0][0] + " rows expired more than one whole period ago, the oldest at " + found[0][1].value_or("?"),
          "SELECT * FROM retention.apply(" + core::quote_literal(policy_.name) + ");");
  }

  /// A condition that makes the planner read everything for little.
  void look_at_plan(const Resolved& resolved, const std::string& zone) {
    const core::Rule& rule = resolved.rule;
    if (rule.conditions.empty())
      return;
    const Text plan = boundary::single("EXPLAIN (FORMAT JSON) " + core::victims_select(rule),
                                       {Arg::time(cutoff_before_now(policy_.expire_after, zone, true))});
    const Text reads_all = boundary::single(
        "SELECT 1 WHERE pg_catalog.jsonb_path_exists($1::pg_catalog.jsonb, '$.** ? (@.\"Node Type\" == \"Seq Scan\" && "
        "@.Alias starts with \"target\")') "
        "AND ($1::pg_catalog.jsonb #>> '{0,Plan,Plan Rows}')::pg_catalog.float8 < 0.05 * (SELECT "
        "pg_catalog.sum(GREATEST(c.reltuples, 0)) FROM "
        "pg_catalog.pg_class c WHERE c.oid = $2 OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree($2)))",
        {Arg::of(plan), Arg::oid(rule.target.oid)});
    if (reads_all)
      add("info", rule.target.label(),
          "the planner finds no index for the condition and reads the whole table for few rows",
          "EXPLAIN " + core::victims_select(rule) + ";");
  }
};

} // namespace

Rows findings(const core::Policy& policy) { return Advisor(policy).run(); }

} // namespace pg_retention::server
