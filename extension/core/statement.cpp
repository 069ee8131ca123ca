#include "extension/core/statement.hpp"

#include "extension/core/failure.hpp"

namespace pg_retention::core {
namespace {

constexpr const char* cutoff = "$1";

/// Makes `subject` a name for the target's own row where users' SQL may say it; the planner folds it away.
std::string own_subject(const Rule& rule, std::string_view alias) {
  if (!rule.path.empty() || (rule.conditions.empty() && rule.activities.empty() && rule.expiry_expression.empty()))
    return "";
  return " CROSS JOIN LATERAL (SELECT " + std::string(alias) + ".*) AS subject";
}

std::string target_sql(const Rule& rule) { return rule.is_leaf ? rule.target.sql_only() : rule.target.sql(); }

/// A row's place, and with `with_versions` who wrote it.
std::string columns_of(const std::string& alias, bool with_versions) {
  return alias + ".tableoid, " + alias + ".ctid" + (with_versions ? ", " + alias + ".xmin" : "");
}

/// The columns of the target's row and of each row of its path.
std::string row_columns(const Rule& rule, bool with_versions) {
  std::string columns = columns_of("target", with_versions);
  for (std::size_t i = 0; i < rule.path.size(); ++i)
    columns += ", " + columns_of(step_alias(rule, i), with_versions);
  return columns;
}

/// The target (or what stands for it) joined to the first `steps` tables of its path.
std::string joined_path(const Rule& rule, std::size_t steps, const std::string& target) {
  std::string from = target + " AS target";
  std::string before = "target";
  for (std::size_t i = 0; i < steps; ++i) {
    const std::string alias = step_alias(rule, i);
    from += " JOIN " + rule.path[i].parent.sql_only() + " AS " + alias + " ON (" +
            rule.path[i].condition(before, alias) + ")";
    before = alias;
  }
  return from;
}

/// True where some row of `source` proves life by the test `time` of its time.
std::string has_activity(const ActivitySource& source, const std::string& time) {
  std::string sql =
      "EXISTS (SELECT 1 FROM " + source.relation.sql() + " AS activity WHERE (" + source.join_condition + "\n)";
  if (!source.condition.empty())
    sql += " AND (" + source.condition + "\n)";
  return sql + " AND " + time + ")";
}

/// True where some row of `source` keeps the subject alive.
std::string is_alive(const ActivitySource& source) {
  return has_activity(source, alive("activity", source.time, cutoff));
}

/// What makes the subject expired.
std::vector<std::string> expiry(const Rule& rule) {
  std::vector<std::string> terms;
  if (!rule.times.empty())
    terms.push_back(times_expired(rule));
  if (!rule.expiry_expression.empty())
    terms.push_back("((" + rule.expiry_expression + "\n) < $1 AND (" + rule.expiry_expression + "\n) > '-infinity')");
  for (const ActivitySource& source : rule.activities)
    terms.push_back("NOT " + is_alive(source));
  if (terms.empty())
    throw Failure(sqlstate::not_in_prerequisite_state, "policy on " + rule.target.label() + " has nothing that expires",
                  "It has neither a time column nor an activity.",
                  "Give it a time_column, or an activity with retention.add_activity.");
  return terms;
}

/// True where the row is not among the newest of its group, of those that satisfy the conditions.
std::string not_among_latest(const Rule& rule) {
  std::vector<std::string> group;
  for (const std::string& column : rule.keep_per)
    group.push_back("target." + quote_identifier(column));
  std::string ranked = "SELECT target.tableoid AS o, target.ctid AS c, pg_catalog.row_number() OVER (" +
                       (group.empty() ? "" : "PARTITION BY " + join(group, ", ") + " ") + "ORDER BY " +
                       deciding_instant(rule) + " DESC NULLS LAST, target.tableoid, target.ctid DESC) AS n FROM " +
                       rule.target.sql() + " AS target" + own_subject(rule, "target");
  std::vector<std::string> terms;
  for (const std::string& condition : rule.conditions)
    terms.push_back("(" + condition + "\n)");
  if (!terms.empty())
    ranked += " WHERE " + join(terms, " AND ");
  return "NOT EXISTS (SELECT 1 FROM (" + ranked + ") AS latest WHERE latest.n <= " + std::to_string(rule.keep_latest) +
         " AND latest.o = target.tableoid AND latest.c = target.ctid)";
}

std::string where(const std::vector<std::string>& terms) { return " WHERE " + join(terms, " AND "); }

} // namespace

std::string step_alias(const Rule& rule, std::size_t step) {
  return step + 1 == rule.path.size() ? "subject" : "step_" + std::to_string(step + 1);
}

std::string subject_alias(const Rule& rule) { return rule.path.empty() ? "target" : "subject"; }

std::string deciding_instant(const Rule& rule) {
  if (!rule.expiry_expression.empty())
    return "(" + rule.expiry_expression + "\n)";
  std::vector<std::string> instants;
  for (const TimeColumn& time : rule.times)
    instants.push_back(instant(subject_alias(rule), time));
  if (instants.empty())
    return "NULL::pg_catalog.timestamptz";
  if (instants.size() == 1)
    return instants.front();
  if (rule.match == TimeMatch::any)
    return "LEAST(" + join(instants, ", ") + ")";
  // One unknown time makes the latest unknown, which GREATEST would overlook.
  std::vector<std::string> unknown;
  for (const std::string& each : instants)
    unknown.push_back("(" + each + ") IS NULL");
  return "CASE WHEN NOT (" + join(unknown, " OR ") + ") THEN GREATEST(" + join(instants, ", ") + ") END";
}

std::string bound_of_instants(const Rule& rule, const std::string& bound) {
  // UTC keeps the order of its local times, so that two of them are read instead of all.
  const bool keeps_order = rule.expiry_expression.empty() && rule.times.size() == 1 &&
                           rule.times.front().kind == TimeKind::timestamp && rule.times.front().zone == "UTC";
  if (!keeps_order)
    return "pg_catalog." + bound + "(" + deciding_instant(rule) + ")";
  return "pg_catalog.timezone('UTC', pg_catalog." + bound + "(" + subject_alias(rule) + "." +
         quote_identifier(rule.times.front().column) + "))";
}

std::string times_expired(const Rule& rule) {
  std::vector<std::string> terms;
  for (const TimeColumn& time : rule.times)
    terms.push_back(expired(subject_alias(rule), time, cutoff));
  return "(" + join(terms, rule.match == TimeMatch::all ? " AND " : " OR ") + ")";
}

std::string scope(const Rule& rule) {
  const std::string own = rule.path.empty() ? " CROSS JOIN LATERAL (SELECT target.*) AS subject" : "";
  return joined_path(rule, rule.path.size(), target_sql(rule)) + own;
}

std::string scope_of_target(const Rule& rule) {
  // The second item has no columns to speak of; with it, names are written out with their table.
  return rule.target.sql() + " AS target CROSS JOIN (SELECT) AS pg_retention_nothing";
}

std::string expression_probe(const Rule& rule) {
  return "SELECT (" + rule.expiry_expression + "\n) FROM " + scope(rule);
}

std::string victims_source(const Rule& rule) {
  std::vector<std::string> terms = expiry(rule);
  for (const std::string& condition : rule.conditions)
    terms.push_back("(" + condition + "\n)");
  if (rule.keep_latest > 0)
    terms.push_back(not_among_latest(rule));
  return " FROM " + joined_path(rule, rule.path.size(), target_sql(rule)) + own_subject(rule, "target") + where(terms);
}

std::string victims_by_first_step(const Rule& rule, const std::string& victims) {
  std::vector<std::string> columns;
  for (const std::string& column : rule.path[0].child_columns)
    columns.push_back("target." + quote_identifier(column));
  const std::string key = join(columns, ", ");
  const std::string counted =
      "(SELECT " + key + ", pg_catalog.count(*) AS pg_retention_victims" + victims + " GROUP BY " + key + ")";
  return " FROM " + joined_path(rule, rule.path.size(), counted);
}

std::string victims_select(const Rule& rule, bool with_instant) {
  return "SELECT " + row_columns(rule, false) + (with_instant ? ", " + deciding_instant(rule) : "") +
         victims_source(rule);
}

std::string victim_versions_select(const Rule& rule) {
  return "SELECT " + row_columns(rule, true) + victims_source(rule);
}

std::string victims_between_select(const Rule& rule) {
  return "SELECT " + columns_of("target", true) + victims_source(rule) + " AND target.ctid >= $2 AND target.ctid < $3";
}

std::string conditions_probe(const Rule& rule) {
  std::vector<std::string> columns;
  for (const std::string& condition : rule.conditions)
    columns.push_back("(" + condition + "\n)");
  if (!rule.expiry_expression.empty())
    columns.push_back("(" + rule.expiry_expression + "\n)");
  return columns.empty() ? "" : "SELECT " + join(columns, ", ") + " FROM " + scope(rule);
}

std::string chains_select(const Rule& rule, bool with_versions) {
  std::string before = step_alias(rule, 0);
  std::string from = rule.path[0].parent.sql_only() + " AS " + before, columns;
  for (std::size_t i = 0; i < rule.path.size(); ++i) {
    const std::string alias = step_alias(rule, i);
    columns += columns_of(alias, with_versions) + ", ";
    if (i == 0)
      continue;
    from += " JOIN " + rule.path[i].parent.sql_only() + " AS " + alias + " ON (" +
            rule.path[i].condition(before, alias) + ")";
    before = alias;
  }
  return "SELECT " + columns + step_alias(rule, 0) + "." + quote_identifier(rule.path[0].parent_columns[0]) + " FROM " +
         from + where(expiry(rule));
}

std::string subjects_source(const Rule& rule) {
  const std::size_t last = rule.path.size() - 1;
  return " FROM " + rule.subject().sql_only() + " AS subject LEFT JOIN (" + joined_path(rule, last, target_sql(rule)) +
         ") ON (" + rule.path[last].condition(last == 0 ? "target" : step_alias(rule, last - 1), "subject") + ")";
}

std::string expired_subjects_count(const Rule& rule) {
  const std::string alias = subject_alias(rule);
  return "SELECT pg_catalog.count(*) FROM " + rule.subject().sql_only() + " AS " + alias + own_subject(rule, alias) +
         where(expiry(rule));
}

std::string returned_subjects_select(const Rule& rule, bool is_among) {
  const std::string alias = subject_alias(rule);
  const std::string subjects = "SELECT " + columns_of(alias, false) + " FROM " + rule.subject().sql() + " AS " + alias +
                               own_subject(rule, alias) + " WHERE " + alias + ".ctid = ANY ($2) AND ";
  // Where an index has the time, one look-up for each half of the test, rather than every activity of the subject.
  std::vector<std::string> selects;
  for (const ActivitySource& source : rule.activities) {
    if (is_among || !source.time_is_indexed) {
      const std::string time = alive("activity", source.time, cutoff);
      selects.push_back(subjects + has_activity(source, is_among ? "activity.ctid = ANY ($3) AND " + time : time));
      continue;
    }
    selects.push_back(subjects + has_activity(source, young("activity", source.time, cutoff)));
    selects.push_back(subjects + has_activity(source, "(" + timeless("activity", source.time) + ")"));
  }
  return join(selects, " UNION ALL ");
}

std::string activity_probe(const Rule& rule, const ActivitySource& source) {
  const std::string alias = subject_alias(rule);
  return "SELECT (" + source.join_condition + "\n)" +
         (source.condition.empty() ? "" : ", (" + source.condition + "\n)") + " FROM " + rule.subject().sql() + " AS " +
         alias + own_subject(rule, alias) + " CROSS JOIN " + source.relation.sql() + " AS activity";
}

std::vector<std::string> probes_of(const Rule& rule) {
  std::vector<std::string> probes;
  if (std::string conditions = conditions_probe(rule); !conditions.empty())
    probes.push_back(std::move(conditions));
  for (const ActivitySource& source : rule.activities)
    probes.push_back(activity_probe(rule, source));
  return probes;
}

Bond bond_of(const ForeignKey& key) {
  return {key.child, key.parent, key.condition("dependent", "target"), key.child_columns, true};
}

std::string bond_probe(const Bond& bond) {
  return "SELECT (" + bond.condition + "\n) FROM " + bond.child.sql() + " AS dependent CROSS JOIN " +
         bond.parent.sql() + " AS target";
}

std::vector<std::string> probes_of(const Bond& bond) {
  return bond.is_key ? std::vector<std::string>() : std::vector<std::string>{bond_probe(bond)};
}

namespace {

/// Rows that hang on others, with more columns and terms.
std::string children_select_with(const Bond& bond, const std::string& columns, const std::string& terms) {
  const std::string child = bond.is_key ? bond.child.sql_only() : bond.child.sql();
  const std::string parent = bond.is_key ? bond.parent.sql_only() : bond.parent.sql();
  return "SELECT dependent.tableoid, dependent.ctid, target.tableoid, target.ctid" + columns + " FROM " + child +
         " AS dependent JOIN " + parent + " AS target ON (" + bond.condition + "\n) WHERE target.ctid = ANY ($1)" +
         terms;
}

} // namespace

std::string children_select(const Bond& bond) { return children_select_with(bond, "", ""); }

std::string child_versions_select(const Bond& bond) { return children_select_with(bond, ", dependent.xmin", ""); }

std::string children_among_select(const Bond& bond) {
  return children_select_with(bond, "", " AND dependent.ctid = ANY ($2)");
}

namespace {

/// The statement of a change over the rows `rows`, up to its RETURNING.
std::string statement_of(const RowChange& change, const std::string& rows) {
  const bool is_update = !change.set_clause.empty();
  const std::string table =
      change.through_root ? change.root.sql() : (change.leaf.kind == 'p' ? "" : "ONLY ") + change.leaf.sql();
  std::string sql = (is_update ? "UPDATE " : "DELETE FROM ") + table + " AS target";
  if (is_update)
    sql += " SET " + change.set_clause + "\n";
  sql += " WHERE target.ctid = ANY (" + rows + ")";
  if (change.through_root)
    sql += " AND target.tableoid = " + std::to_string(change.leaf.oid);
  return sql;
}

/// The same as a query named `name` that returns what changed.
std::string change_query(const RowChange& change, const std::string& name, const std::string& rows,
                         const std::string& key) {
  const std::string sql = name + " AS (" + statement_of(change, rows) + " RETURNING ";
  if (change.archive.oid != 0)
    return sql + "target.*)";
  return sql + (key.empty() ? "1" : key + "::pg_catalog.text AS key") + ")";
}

/// The part that puts what `from` deleted into the archive.
std::string archive_query(const RowChange& change, const std::string& name, const std::string& from) {
  std::string columns;
  for (const std::string& column : change.archived_columns)
    columns += quote_identifier(column) + ", ";
  return name + " AS (INSERT INTO " + change.archive.sql() + " (" + columns + "retention_run_id, archived_at) SELECT " +
         columns + std::to_string(change.run_id) + ", pg_catalog.now() FROM " + from + " RETURNING 1)";
}

} // namespace

std::string update_probe(const Relation& table, const std::string& set_clause) {
  return "UPDATE " + table.sql() + " AS target SET " + set_clause + "\n";
}

std::string plain_statement(const RowChange& change) { return statement_of(change, "$1"); }

std::string change_statement(const std::vector<RowChange>& changes, const std::string& key) {
  std::vector<std::string> queries, counts, archived;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const std::string number = std::to_string(i + 1), changed = "c" + number, archive = "a" + number;
    queries.push_back(change_query(changes[i], changed, "$" + number, i == 0 ? key : ""));
    counts.push_back("(SELECT pg_catalog.count(*) FROM " + changed + ")");
    if (changes[i].archive.oid == 0)
      continue;
    queries.push_back(archive_query(changes[i], archive, changed));
    archived.push_back("(SELECT pg_catalog.count(*) FROM " + archive + ")");
  }
  counts.insert(counts.end(), archived.begin(), archived.end());
  if (!key.empty())
    counts.push_back("ARRAY(SELECT key FROM c1 LIMIT 1000)");
  return "WITH " + join(queries, ", ") + " SELECT " + join(counts, ", ");
}

} // namespace pg_retention::core
