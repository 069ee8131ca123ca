#include "extension/core/statement.hpp"

#include "extension/core/failure.hpp"

namespace pg_retention::core {
namespace {

constexpr const char* cutoff = "$1";

/// Makes `subject` a name for the target's own row where users' SQL may say it; the planner folds it away.
std::string own_subject(const Rule& rule, std::string_view alias) {
  if (!rule.path.empty() || (rule.conditions.empty() && rule.activities.empty())) return "";
  return " CROSS JOIN LATERAL (SELECT " + std::string(alias) + ".*) AS subject";
}

/// True where some row of `source` keeps the subject alive.
std::string is_alive(const ActivitySource& source) {
  std::string sql = "EXISTS (SELECT 1 FROM " + source.relation.sql() + " AS activity WHERE (" +
                    source.join_condition + "\n)";
  if (!source.condition.empty()) sql += " AND (" + source.condition + "\n)";
  return sql + " AND " + alive("activity", source.time, cutoff) + ")";
}

std::string any_alive(const Rule& rule) {
  std::vector<std::string> terms;
  for (const ActivitySource& source : rule.activities) terms.push_back(is_alive(source));
  return join(terms, " OR ");
}

/// What makes the subject expired.
std::vector<std::string> expiry(const Rule& rule) {
  std::vector<std::string> terms;
  if (rule.time) terms.push_back(expired(subject_alias(rule), *rule.time, cutoff));
  for (const ActivitySource& source : rule.activities) terms.push_back("NOT " + is_alive(source));
  if (terms.empty())
    throw Failure(sqlstate::not_in_prerequisite_state, "policy on " + rule.target.label() + " has nothing that expires",
                  "It has neither a time column nor an activity.",
                  "Give it a time_column, or an activity with retention.add_activity.");
  return terms;
}

std::string where(const std::vector<std::string>& terms) { return " WHERE " + join(terms, " AND "); }

} // namespace

std::string step_alias(const Rule& rule, std::size_t step) {
  return step + 1 == rule.path.size() ? "subject" : "step_" + std::to_string(step + 1);
}

std::string subject_alias(const Rule& rule) { return rule.path.empty() ? "target" : "subject"; }

std::string victims_source(const Rule& rule) {
  std::string from = rule.target.sql() + " AS target";
  std::string before = "target";
  for (std::size_t i = 0; i < rule.path.size(); ++i) {
    const std::string alias = step_alias(rule, i);
    from += " JOIN " + rule.path[i].parent.sql_only() + " AS " + alias + " ON (" +
            rule.path[i].condition(before, alias) + ")";
    before = alias;
  }
  std::vector<std::string> terms = expiry(rule);
  for (const std::string& condition : rule.conditions) terms.push_back("(" + condition + "\n)");
  return " FROM " + from + own_subject(rule, "target") + where(terms);
}

std::string victims_select(const Rule& rule, bool with_instant) {
  std::string columns = "target.tableoid, target.ctid";
  for (std::size_t i = 0; i < rule.path.size(); ++i)
    columns += ", " + step_alias(rule, i) + ".tableoid, " + step_alias(rule, i) + ".ctid";
  if (with_instant) columns += ", " + (rule.time ? instant(subject_alias(rule), *rule.time) : "NULL::timestamptz");
  return "SELECT " + columns + victims_source(rule);
}

std::string chains_select(const Rule& rule) {
  std::string before = step_alias(rule, 0);
  std::string from = rule.path[0].parent.sql_only() + " AS " + before, columns;
  for (std::size_t i = 0; i < rule.path.size(); ++i) {
    const std::string alias = step_alias(rule, i);
    columns += alias + ".tableoid, " + alias + ".ctid, ";
    if (i == 0) continue;
    from += " JOIN " + rule.path[i].parent.sql_only() + " AS " + alias + " ON (" + rule.path[i].condition(before, alias) + ")";
    before = alias;
  }
  return "SELECT " + columns + step_alias(rule, 0) + "." + quote_identifier(rule.path[0].parent_columns[0]) + " FROM " + from +
         where(expiry(rule));
}

std::string subjects_source(const Rule& rule) {
  std::string inner = rule.target.sql() + " AS target";
  std::string before = "target";
  for (std::size_t i = 0; i + 1 < rule.path.size(); ++i) {
    const std::string alias = step_alias(rule, i);
    inner += " JOIN " + rule.path[i].parent.sql_only() + " AS " + alias + " ON (" +
             rule.path[i].condition(before, alias) + ")";
    before = alias;
  }
  return " FROM " + rule.subject().sql_only() + " AS subject LEFT JOIN (" + inner + ") ON (" +
         rule.path.back().condition(before, "subject") + ")";
}

std::string expired_subjects_count(const Rule& rule) {
  const std::string alias = subject_alias(rule);
  return "SELECT pg_catalog.count(*) FROM " + rule.subject().sql_only() + " AS " + alias + own_subject(rule, alias) +
         where(expiry(rule));
}

std::string returned_subjects_select(const Rule& rule) {
  const std::string alias = subject_alias(rule);
  return "SELECT " + alias + ".tableoid, " + alias + ".ctid FROM " + rule.subject().sql() + " AS " + alias +
         own_subject(rule, alias) + " WHERE " + alias + ".ctid = ANY ($2) AND (" + any_alive(rule) + ")";
}

std::string children_select(const ForeignKey& key) {
  return "SELECT child.tableoid, child.ctid, parent.tableoid, parent.ctid FROM " + key.child.sql_only() +
         " AS child JOIN " + key.parent.sql_only() + " AS parent ON (" + key.condition("child", "parent") +
         ") WHERE parent.ctid = ANY ($1)";
}

std::string change_statement(const std::vector<RowChange>& changes, const std::string& key) {
  std::string ctes, counts;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const RowChange& change = changes[i];
    const std::string name = "c" + std::to_string(i + 1), rows = "$" + std::to_string(i + 1);
    // An update may move a row to another partition, which only the root knows how to do.
    const bool through_root = change.is_update && change.root.oid != change.leaf.oid;
    const std::string table =
        through_root ? change.root.sql() : (change.leaf.kind == 'p' ? "" : "ONLY ") + change.leaf.sql();
    ctes += i == 0 ? "WITH " : ", ";
    ctes += name + " AS (" + (change.is_update ? "UPDATE " : "DELETE FROM ") + table + " AS target";
    if (change.is_update) ctes += " SET " + change.set_clause + "\n";
    ctes += " WHERE target.ctid = ANY (" + rows + ")";
    if (through_root) ctes += " AND target.tableoid = " + std::to_string(change.leaf.oid);
    ctes += " RETURNING " + (i == 0 && !key.empty() ? "target." + quote_identifier(key) + "::text AS key" : "1") + ")";
    counts += (i == 0 ? "" : ", ") + std::string("(SELECT pg_catalog.count(*) FROM ") + name + ")";
  }
  if (!key.empty()) counts += ", ARRAY(SELECT key FROM c1 LIMIT 1000)";
  return ctes + " SELECT " + counts;
}

} // namespace pg_retention::core
