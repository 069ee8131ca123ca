#include "extension/core/restoration.hpp"

namespace pg_retention::core {
namespace {

std::string of_run(const std::string& alias) { return alias + "." + archive_run + " = $1"; }

std::string equal(const std::string& a, const std::string& op, const std::string& b) { return a + " " + op + " " + b; }

} // namespace

std::string archived_select(const Relation& archive) {
  return "SELECT archived.tableoid, archived.ctid FROM " + archive.sql() + " AS archived WHERE " + of_run("archived");
}

std::string archived_where(const Relation& archive, const std::string& term) {
  return archived_select(archive) + " AND (" + term + "\n)";
}

std::string archived_links(const Relation& child, const Relation& parent, const std::string& condition) {
  return "SELECT dependent.tableoid, dependent.ctid, target.tableoid, target.ctid FROM " + child.sql() +
         " AS dependent JOIN " + parent.sql() + " AS target ON (" + condition + "\n) WHERE " + of_run("dependent") +
         " AND " + of_run("target");
}

std::string archived_orphans(const Relation& child, const std::vector<std::string>& columns,
                             const std::string& condition, const Relation& parent, const Relation& parent_archive) {
  std::string sql =
      "SELECT dependent.tableoid, dependent.ctid FROM " + child.sql() + " AS dependent WHERE " + of_run("dependent");
  for (const std::string& column : columns)
    sql += " AND dependent." + quote_identifier(column) + " IS NOT NULL";
  if (parent.oid != 0)
    sql += " AND NOT EXISTS (SELECT 1 FROM " + parent.sql_only() + " AS target WHERE " + condition + "\n)";
  if (parent_archive.oid != 0)
    sql += " AND NOT EXISTS (SELECT 1 FROM " + parent_archive.sql() + " AS target WHERE " + of_run("target") +
           " AND (" + condition + "\n))";
  return sql;
}

std::string archived_with_taken_key(const Relation& archive, const Relation& table,
                                    const std::vector<std::string>& columns,
                                    const std::vector<std::string>& operators) {
  std::vector<std::string> terms;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::string column = quote_identifier(columns[i]);
    terms.push_back(equal("target." + column, operators[i], "archived." + column));
  }
  return archived_select(archive) + " AND EXISTS (SELECT 1 FROM " + table.sql_only() + " AS target WHERE " +
         join(terms, " AND ") + ")";
}

std::string return_statement(const std::vector<RowReturn>& returns, std::int64_t run) {
  std::vector<std::string> queries, taken, put;
  for (std::size_t i = 0; i < returns.size(); ++i) {
    const RowReturn& back = returns[i];
    const std::string number = std::to_string(i + 1);
    std::string columns;
    for (const std::string& column : back.columns)
      columns += (columns.empty() ? "" : ", ") + quote_identifier(column);
    queries.push_back("t" + number + " AS (DELETE FROM ONLY " + back.part.sql() +
                      " AS archived WHERE archived.ctid = ANY ($" + number + ") AND archived." + archive_run + " = " +
                      std::to_string(run) + " RETURNING archived.*)");
    queries.push_back("p" + number + " AS (INSERT INTO " + back.table.sql() + " (" + columns +
                      ") OVERRIDING SYSTEM VALUE SELECT " + columns + " FROM t" + number + " RETURNING 1)");
    taken.push_back("(SELECT pg_catalog.count(*) FROM t" + number + ")");
    put.push_back("(SELECT pg_catalog.count(*) FROM p" + number + ")");
  }
  return "WITH " + join(queries, ", ") + " SELECT " + join(taken, ", ") + ", " + join(put, ", ");
}

} // namespace pg_retention::core
