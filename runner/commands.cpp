#include "commands.hpp"

#include "connection.hpp"
#include "report.hpp"

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string_view>
#include <utility>

namespace pg_retention::runner {
namespace {

constexpr std::string_view query_canceled = "57014";
constexpr std::string_view insufficient_privilege = "42501";
constexpr std::string_view read_only_transaction = "25006";

/// The program does not start the work; nothing has been changed.
class Refused : public std::runtime_error {
public:
  explicit Refused(const std::string& message, std::string hint = {})
      : std::runtime_error(message), hint_(std::move(hint)) {}

  /// What the user may do about it, or nothing.
  [[nodiscard]] const std::string& hint() const noexcept { return hint_; }

private:
  std::string hint_;
};

/// SQL for an instant in RFC 3339 and UTC, whatever DateStyle and TimeZone the session has.
std::string instant(const std::string& expression, const std::string& name) {
  return "COALESCE(pg_catalog.to_char(pg_catalog.timezone('UTC', " + expression +
         "), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), (" + expression + ")::pg_catalog.text) AS " + name;
}

/// The statement that runs one policy.
std::string run_statement() {
  return "SELECT r.success, r.message, r.policy, r.run_id, r.action, r.affected, r.subjects, r.dependents, "
         "r.skipped_locked, r.skipped_blocked, r.skipped_held, r.skipped_returned, " +
         instant("r.cutoff", "cutoff") + ", " + instant("r.started", "started") + ", " +
         instant("r.finished", "finished") +
         ", pg_catalog.date_part('epoch', pg_catalog.timestamptz_mi(r.finished, r.started)) AS seconds, "
         "r.batches, r.stop_reason, r.sqlstate, r.error_detail FROM retention.apply($1) AS r";
}

/// The statement that previews one policy.
std::string preview_statement() {
  return "SELECT p.relation, p.role, p.expected_rows, p.blocked, p.held, " + instant("p.oldest", "oldest") + ", " +
         instant("p.newest", "newest") + ", p.sample_keys FROM retention.preview($1) AS p";
}

/// The statement that lists the policies and their last runs.
std::string status_statement() {
  return "SELECT s.policy, s.paused, s.target, s.action, s.expire_after, s.last_run_id, " +
         instant("s.last_started", "last_started") + ", " + instant("s.last_finished", "last_finished") +
         ", s.last_outcome, s.last_affected, " + instant("s.last_success", "last_success") +
         ", s.runs, s.failures FROM retention.status AS s ORDER BY s.policy";
}

/// The entry function that the command calls, or nothing for the command that reads a view.
std::string_view entry_function(Command command) {
  switch (command) {
  case Command::run:
    return "apply";
  case Command::preview:
    return "preview";
  default:
    return {};
  }
}

/// Refuses versions that differ: each part may rely on what only its own version of the others has.
void compare_versions(const std::string& library, const std::string& extension) {
  const std::string client = PG_RETENTION_VERSION;
  if (client == library && library == extension)
    return;
  std::string advice;
  if (library != extension)
    advice = "Run ALTER EXTENSION pg_retention UPDATE in this database.";
  if (client != library)
    advice += std::string(advice.empty() ? "" : " ") +
              "Install the matching packages: the program and the library must have the same version.";
  throw Refused("versions differ: program " + client + ", library " + library + ", extension " + extension, advice);
}

/// Makes sure, before any work, that the database has the extension in this version and lets this user use it.
void prepare(Connection& connection, const Options& options) {
  const Rows extension = connection.query("SELECT e.extversion FROM pg_catalog.pg_extension AS e "
                                          "WHERE e.extname OPERATOR(pg_catalog.=) 'pg_retention'");
  if (extension.count() == 0)
    throw Refused("the extension \"pg_retention\" is not installed in this database",
                  "Run CREATE EXTENSION pg_retention in the database that holds the policies.");

  const Rows library = connection.query("SELECT retention.library_version() AS version");
  const std::string library_version = library.value(0, "version").value_or("unknown");
  const std::string extension_version = extension.value(0, "extversion").value_or("unknown");
  if (options.verbosity == Verbosity::verbose)
    note("versions: program " PG_RETENTION_VERSION ", library " + library_version + ", extension " + extension_version +
         ", server " + connection.server_version());
  compare_versions(library_version, extension_version);

  if (options.command == Command::run) {
    const Rows recovery = connection.query("SELECT pg_catalog.pg_is_in_recovery() AS standby");
    if (recovery.value(0, "standby") == "t")
      throw Refused("cannot run policies on a server in recovery",
                    "Connect to the primary server; preview and status work here.");
  }
  if (const std::string_view function = entry_function(options.command); !function.empty()) {
    const Rows right =
        connection.query("SELECT pg_catalog.bool_or(pg_catalog.has_function_privilege(p.oid, 'EXECUTE')) AS allowed "
                         "FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n "
                         "ON n.oid OPERATOR(pg_catalog.=) p.pronamespace "
                         "WHERE n.nspname OPERATOR(pg_catalog.=) 'retention' AND p.proname OPERATOR(pg_catalog.=) $1",
                         {std::string(function)});
    if (right.value(0, "allowed") != "t")
      throw Refused("permission denied for function retention." + std::string(function),
                    "Ask for EXECUTE on it, or connect as a user who may run policies.");
  }
}

/// The policies that the command is about: those named, or the run list.
std::vector<std::string> chosen_policies(Connection& connection, const Options& options) {
  if (!options.policies.empty())
    return options.policies;
  const Rows list = connection.query("SELECT l.policy FROM retention.run_list() AS l");
  std::vector<std::string> policies;
  for (int row = 0; row < list.count(); ++row)
    policies.push_back(list.value(row, "policy").value_or(""));
  if (policies.empty() && options.verbosity != Verbosity::quiet)
    note("there are no policies to " + std::string(options.command == Command::run ? "run" : "preview"));
  return policies;
}

/// The result row of a run.
Outcome outcome_of(const Rows& rows, int row, const std::string& policy) {
  const auto value = [&](const char* name) { return rows.value(row, name); };
  Outcome outcome;
  outcome.policy = value("policy").value_or(policy);
  outcome.success = value("success") == "t";
  outcome.message = value("message").value_or("");
  outcome.run_id = value("run_id");
  outcome.action = value("action");
  outcome.affected = value("affected");
  outcome.subjects = value("subjects");
  outcome.dependents = value("dependents");
  outcome.skipped_locked = value("skipped_locked");
  outcome.skipped_blocked = value("skipped_blocked");
  outcome.skipped_held = value("skipped_held");
  outcome.skipped_returned = value("skipped_returned");
  outcome.cutoff = value("cutoff");
  outcome.started = value("started");
  outcome.finished = value("finished");
  if (const auto seconds = value("seconds"))
    outcome.duration_ms = std::strtod(seconds->c_str(), nullptr) * 1000;
  outcome.batches = value("batches");
  outcome.stop_reason = value("stop_reason");
  outcome.sqlstate = value("sqlstate");
  outcome.error_detail = value("error_detail");
  return outcome;
}

/// A policy that ended without a result row.
Outcome failed(const std::string& policy, std::string message, const std::string& sqlstate = {}) {
  Outcome outcome;
  outcome.policy = policy;
  outcome.message = std::move(message);
  if (!sqlstate.empty())
    outcome.sqlstate = sqlstate;
  return outcome;
}

/// A policy whose statement the server refused; detail and hint stay with it.
Outcome failed(const std::string& policy, const ServerError& failure) {
  Outcome outcome = failed(policy, failure.what(), failure.sqlstate());
  std::string detail = failure.detail;
  if (!failure.hint.empty())
    detail += (detail.empty() ? "HINT:  " : "\nHINT:  ") + failure.hint;
  if (!detail.empty())
    outcome.error_detail = detail;
  return outcome;
}

/// The walk over the policies, the same for run and preview: a failure stops nothing, a request to stop everything.
class Walk {
public:
  Walk(Connection& connection, const Options& options) : connection_(connection), options_(options), report_(options) {}

  /// Takes the policies in order and tells how it went.
  ExitCode over(const std::vector<std::string>& policies) {
    for (const std::string& policy : policies) {
      if (const auto signal = stop_request(); signal && halted_.empty())
        halted_ = "stopped by " + std::string(*signal);
      if (!halted_.empty())
        fail(failed(policy, "not run: " + halted_));
      else
        take(policy);
    }
    return exit_;
  }

private:
  /// Does the work of one policy and reports it.
  void take(const std::string& policy) {
    const auto begun = std::chrono::steady_clock::now();
    Outcome outcome;
    try {
      if (options_.command == Command::run)
        run(policy);
      else
        preview(policy);
      return;
    } catch (const ConnectionLost& lost) {
      halted_ = "connection lost";
      outcome = failed(policy, std::string("connection lost: ") + lost.what(), lost.sqlstate());
      error("policy \"" + policy + "\": " + outcome.message);
    } catch (const ServerError& failure) {
      outcome = failed(policy, failure);
      const auto signal = stop_request();
      if (signal && failure.sqlstate() == query_canceled)
        outcome.message = "cancelled by " + std::string(*signal);
      error("policy \"" + policy + "\": " + (signal ? outcome.message + ": " : std::string()) + whole(failure));
      if (options_.command == Command::run && failure.sqlstate() == read_only_transaction) {
        halted_ = "the server refuses changes";
        exit_ = ExitCode::refused;
      }
    }
    const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - begun;
    outcome.duration_ms = spent.count();
    fail(outcome);
  }

  /// Runs one policy as one statement, which is its own transaction.
  void run(const std::string& policy) {
    const Rows rows = connection_.query(run_statement(), {policy});
    if (rows.count() == 0)
      fail(failed(policy, "the server returned no result"));
    for (int row = 0; row < rows.count(); ++row) {
      const Outcome outcome = outcome_of(rows, row, policy);
      if (outcome.success) {
        report_.outcome(outcome);
        continue;
      }
      error("policy \"" + outcome.policy + "\": " + outcome.message +
            (outcome.sqlstate ? " (SQLSTATE " + *outcome.sqlstate + ")" : std::string()) +
            (outcome.error_detail ? "\nDETAIL:  " + *outcome.error_detail : std::string()));
      fail(outcome);
    }
  }

  /// Previews one policy in a transaction that cannot change anything.
  void preview(const std::string& policy) {
    connection_.query("BEGIN TRANSACTION READ ONLY");
    try {
      report_.preview(policy, connection_.query(preview_statement(), {policy}));
    } catch (const ServerError&) {
      if (!stop_request())
        connection_.query("ROLLBACK");
      throw;
    }
    connection_.query("COMMIT");
  }

  /// Reports a policy that failed or was not run.
  void fail(const Outcome& outcome) {
    if (options_.command == Command::run)
      report_.outcome(outcome);
    else
      report_.preview_failure(outcome);
    if (exit_ == ExitCode::done)
      exit_ = ExitCode::policy_failed;
  }

  Connection& connection_;
  const Options& options_;
  Report report_;
  std::string halted_;
  ExitCode exit_ = ExitCode::done;
};

/// Shows every policy and its last run; the interval is written the same in every session.
ExitCode show_status(Connection& connection, const Options& options) {
  connection.query("BEGIN TRANSACTION READ ONLY");
  connection.query(options.format == LogFormat::json ? "SET LOCAL intervalstyle = 'iso_8601'"
                                                     : "SET LOCAL intervalstyle = 'postgres'");
  const Rows policies = connection.query(status_statement());
  connection.query("COMMIT");
  if (policies.count() == 0)
    note("there are no policies");
  else
    Report(options).status(policies);
  return ExitCode::done;
}

/// Connects, prepares and does the command; server errors outside a policy leave as exceptions.
ExitCode work(const Options& options) {
  Connection connection(options);
  try {
    prepare(connection, options);
    if (options.command == Command::status)
      return show_status(connection, options);
    return Walk(connection, options).over(chosen_policies(connection, options));
  } catch (const ServerError& failure) {
    if (const auto signal = stop_request(); signal && failure.sqlstate() == query_canceled) {
      error("cancelled by " + std::string(*signal) + " before any policy was run");
      return ExitCode::policy_failed;
    }
    error(whole(failure));
    if (failure.sqlstate() == insufficient_privilege)
      hint("Connect as a user who may use the schema \"retention\".");
    return ExitCode::refused;
  }
}

} // namespace

ExitCode execute(const Options& options) {
  if (options.command == Command::help || options.command == Command::version) {
    std::cout << (options.command == Command::help ? help_text() : version_text());
    return Report::complete() ? ExitCode::done : ExitCode::policy_failed;
  }
  watch_signals();
  ExitCode code = ExitCode::done;
  try {
    code = work(options);
  } catch (const CannotConnect& failure) {
    error(failure.what());
    hint(failure.hint());
    return ExitCode::cannot_connect;
  } catch (const ConnectionLost& failure) {
    error(std::string("connection lost before any policy was run: ") + failure.what());
    return ExitCode::cannot_connect;
  } catch (const Refused& refusal) {
    error(refusal.what());
    hint(refusal.hint());
    return ExitCode::refused;
  }
  if (!Report::complete()) {
    error("could not write to standard output");
    return code == ExitCode::done ? ExitCode::policy_failed : code;
  }
  return code;
}

} // namespace pg_retention::runner
