#include "vacuum.hpp"

#include "message.hpp"
#include "report.hpp"
#include "signals.hpp"

#include <chrono>
#include <cstdlib>
#include <memory>
#include <utility>

namespace pg_retention::runner {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view query_canceled = "57014";
constexpr std::string_view lock_not_available = "55P03";
constexpr std::string_view insufficient_privilege = "42501";
constexpr const char* no_right =
    "this needs its owner, the owner of the database, or the right MAINTAIN (PostgreSQL 17)";

/// No policy is run from here on: nothing needs the user's search_path any more, and nothing may mislead ours.
constexpr const char* no_search_path = "pg_catalog.set_config('search_path', 'pg_catalog', false)";

/// A table that a run changed.
struct Table {
  std::string oid;
  bool is_allowed = false;
  Vacuumed outcome;
};

/// Bytes of a table, its indexes, and what it keeps out of line; without the maps of free and visible space, which a
/// vacuum may make first.
std::string size_of(const std::string& oid) {
  return "(SELECT COALESCE(sum(pg_relation_size(part)), 0)::int8 FROM (SELECT " + oid +
         " AS part UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid = " + oid +
         " UNION ALL SELECT reltoastrelid FROM pg_class WHERE oid = " + oid +
         " AND reltoastrelid <> 0 UNION ALL SELECT i.indexrelid FROM pg_class AS t"
         " JOIN pg_index AS i ON i.indrelid = t.reltoastrelid WHERE t.oid = " +
         oid + ") AS parts)";
}

/// Whether the user may vacuum a table: the server only warns, and skips it, where not.
std::string is_allowed(int server_version) {
  return std::string("(pg_has_role(c.relowner, 'USAGE') OR pg_has_role(d.datdba, 'USAGE')") +
         (server_version >= 170000 ? " OR has_table_privilege(c.oid, 'MAINTAIN'))" : ")");
}

/// The tables that the runs changed, with what autovacuum would make of each: its dead rows against
/// autovacuum_vacuum_threshold + autovacuum_vacuum_scale_factor * rows, up to autovacuum_vacuum_max_threshold where the
/// server knows that; options of the table go before settings. What a table keeps out of line is judged by itself.
/// A table with partitions or heirs stands for those that have dead rows.
Statement tables_statement(const std::vector<std::string>& run_ids, int server_version) {
  std::string ids = "{";
  for (const std::string& id : run_ids)
    ids += (ids.size() == 1 ? "" : ",") + id;
  const std::string option = "(SELECT o.option_value::float8 FROM pg_options_to_table(options) AS o "
                             "WHERE o.option_name = 'autovacuum_vacuum_";
  return {
      "WITH RECURSIVE named AS (SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
      "WHERE n.nspname || '.' || c.relname IN "
      "(SELECT l.relation FROM retention.ledger AS l WHERE l.run = ANY ($1::int8[]))), "
      "family AS (SELECT oid, true AS is_named FROM named "
      "UNION SELECT i.inhrelid, false FROM family AS f JOIN pg_inherits AS i ON i.inhparent = f.oid), "
      "changed AS (SELECT oid, bool_or(is_named) AS is_named FROM family GROUP BY oid) "
      "SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, " +
          is_allowed(server_version) + " AS allowed, s.dead, s.called_for, " + size_of("c.oid") +
          " AS size FROM changed AS f JOIN pg_class AS c ON c.oid = f.oid "
          "JOIN pg_namespace AS n ON n.oid = c.relnamespace "
          "JOIN pg_database AS d ON d.datname = current_database() "
          "LEFT JOIN pg_class AS t ON t.oid = c.reltoastrelid, LATERAL ("
          "SELECT sum(pg_stat_get_dead_tuples(part)) AS dead, bool_or(pg_stat_get_dead_tuples(part) > "
          "least(CASE WHEN most >= 0 THEN most ELSE 'infinity' END, base + scale * greatest(rows, 0))) AS called_for "
          "FROM (SELECT part, rows, COALESCE(NULLIF(" +
          option + "threshold'), -1), current_setting('autovacuum_vacuum_threshold')::float8) AS base, " +
          "COALESCE(NULLIF(" + option +
          "scale_factor'), -1), current_setting('autovacuum_vacuum_scale_factor')::float8) AS scale, COALESCE(" +
          option +
          "max_threshold'), current_setting('autovacuum_vacuum_max_threshold', true)::float8, -1) AS most FROM ("
          "VALUES (c.oid, c.reltuples, c.reloptions), (t.oid, t.reltuples, COALESCE(t.reloptions, c.reloptions))) "
          "AS p (part, rows, options) WHERE part IS NOT NULL) AS judged) AS s "
          "WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND (s.dead > 0 OR (f.is_named AND NOT EXISTS "
          "(SELECT FROM pg_inherits AS h WHERE h.inhparent = c.oid))) ORDER BY name",
      {ids + "}"}};
}

/// Vacuums one table and measures it again.
class VacuumTask : public Task {
public:
  VacuumTask(Table& table, bool is_patient, Report& report, ExitCode& exit)
      : table_(table), is_patient_(is_patient), report_(report), exit_(exit) {}

  Statement begin(const Connection&) override {
    begun_ = Clock::now();
    return {std::string("SELECT ") + no_search_path +
            // A vacuum that nobody asked for gives way to whoever holds the table for long.
            (is_patient_ ? ""
                         : ", pg_catalog.set_config('lock_timeout', COALESCE(NULLIF("
                           "pg_catalog.current_setting('lock_timeout'), '0'), '10s'), false)")};
  }

  std::optional<Statement> answered(const Rows& rows) override {
    switch (step_) {
    case Step::prepare:
      step_ = Step::vacuum;
      return Statement{"VACUUM " + table_.outcome.name};
    case Step::vacuum:
      table_.outcome.success = true;
      step_ = Step::measure;
      return measure();
    default:
      if (const auto size = rows.value(0, 0))
        table_.outcome.size_after = std::strtoll(size->c_str(), nullptr, 10);
      return end();
    }
  }

  std::optional<Statement> refused(const ServerError& failure) override {
    if (step_ == Step::measure)
      return end();
    const auto signal = stop_request();
    Vacuumed& outcome = table_.outcome;
    outcome.sqlstate = failure.sqlstate();
    outcome.message = signal && failure.sqlstate() == query_canceled ? "cancelled by " + std::string(*signal)
                                                                     : std::string(failure.what());
    if (!failure.detail.empty())
      outcome.error_detail = failure.detail;
    if (!is_patient_ && failure.sqlstate() == lock_not_available) {
      note("table " + outcome.name + " is not vacuumed: somebody else holds it; autovacuum will");
      return std::nullopt;
    }
    error("vacuum of " + outcome.name + ": " + whole(failure));
    return end();
  }

  void lost(const ConnectionLost& loss) override {
    table_.outcome.success = false;
    table_.outcome.message = std::string("connection lost: ") + loss.what();
    table_.outcome.sqlstate = loss.sqlstate();
    error("vacuum of " + table_.outcome.name + ": " + table_.outcome.message);
    (void)end();
  }

private:
  enum class Step { prepare, vacuum, measure };

  [[nodiscard]] Statement measure() const {
    return {"SELECT " + size_of("$1::oid") + " AS size", {table_.oid}, false, false};
  }

  std::optional<Statement> end() {
    const std::chrono::duration<double, std::milli> spent = Clock::now() - begun_;
    table_.outcome.duration_ms = spent.count();
    report_.vacuumed(table_.outcome);
    if (!table_.outcome.success)
      exit_ = ExitCode::policy_failed;
    return std::nullopt;
  }

  Table& table_;
  bool is_patient_;
  Report& report_;
  ExitCode& exit_;
  Step step_ = Step::prepare;
  Clock::time_point begun_;
};

/// The tables to vacuum, in the order of their names.
std::vector<Table> tables_of(const Rows& rows, const Options& options) {
  std::vector<Table> tables;
  for (int row = 0; row < rows.count(); ++row) {
    const auto number = [&](const char* name) {
      return std::strtoll(rows.value(row, name).value_or("0").c_str(), nullptr, 10);
    };
    Table table;
    table.oid = rows.value(row, "oid").value_or("");
    table.is_allowed = rows.value(row, "allowed") == "t";
    table.outcome.name = rows.value(row, "name").value_or("");
    table.outcome.dead_rows = number("dead");
    table.outcome.size_before = number("size");
    if (options.vacuum == VacuumWhen::always || rows.value(row, "called_for") == "t")
      tables.push_back(std::move(table));
    else if (options.verbosity == Verbosity::verbose)
      note("table " + table.outcome.name + " needs no vacuum: " + std::to_string(table.outcome.dead_rows) +
           " dead rows are below autovacuum's threshold");
  }
  return tables;
}

} // namespace

ExitCode vacuum_after(const std::vector<std::string>& run_ids, const Options& options, Jobs& jobs) {
  Connection* connection = jobs.usable();
  if (options.vacuum == VacuumWhen::never || run_ids.empty() || connection == nullptr || stop_request())
    return ExitCode::done;
  const bool is_asked_for = options.vacuum == VacuumWhen::always;
  Report report(options);
  ExitCode exit = ExitCode::done;
  std::vector<Table> tables;
  try {
    connection->query({std::string("SELECT ") + no_search_path});
    tables = tables_of(connection->query(tables_statement(run_ids, connection->server_version_number())), options);
  } catch (const DatabaseError& failure) {
    const std::string text = std::string("cannot tell which tables to vacuum: ") + failure.what();
    if (!is_asked_for && failure.sqlstate() == insufficient_privilege) {
      note(text);
      return ExitCode::done;
    }
    error(text);
    return ExitCode::policy_failed;
  }

  std::size_t at = 0;
  jobs.work([&]() -> std::unique_ptr<Task> {
    for (; at < tables.size() && !stop_request(); ++at) {
      Table& table = tables[at];
      if (table.is_allowed) {
        ++at;
        return std::make_unique<VacuumTask>(table, is_asked_for, report, exit);
      }
      if (!is_asked_for) {
        note("table " + table.outcome.name + " is not vacuumed: " + no_right);
        continue;
      }
      table.outcome.message = "permission denied to vacuum it";
      table.outcome.sqlstate = insufficient_privilege;
      table.outcome.error_detail = no_right;
      error("vacuum of " + table.outcome.name + ": permission denied: " + no_right);
      report.vacuumed(table.outcome);
      exit = ExitCode::policy_failed;
    }
    return nullptr;
  });
  return exit;
}

} // namespace pg_retention::runner
