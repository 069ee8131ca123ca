#include "commands.hpp"

#include "connection.hpp"
#include "message.hpp"
#include "outcome.hpp"
#include "report.hpp"
#include "run.hpp"
#include "signals.hpp"

#include <chrono>
#include <iostream>
#include <string_view>
#include <utility>

namespace pg_retention::runner {
namespace {

constexpr std::string_view query_canceled = "57014";
constexpr std::string_view insufficient_privilege = "42501";
constexpr std::string_view invalid_datetime = "22007";
constexpr std::string_view interval_overflow = "22015";

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
         ", s.runs, s.failures, s.needs_approval, s.fuse_run, s.fuse, s.fuse_expected, s.fuse_allowed "
         "FROM retention.status AS s ORDER BY s.policy";
}

/// The routine that the command calls and what SQL calls its kind; nothing for the command that reads a view.
std::pair<std::string, std::string> entry_routine(const Options& options) {
  switch (options.command) {
  case Command::run:
    return options.single_transaction ? std::pair{"function", "apply"} : std::pair{"procedure", "run"};
  case Command::preview:
    return {"function", "preview"};
  case Command::restore:
    return {"function", "restore"};
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
  const Rows extension = connection.query({"SELECT e.extversion FROM pg_catalog.pg_extension AS e "
                                           "WHERE e.extname OPERATOR(pg_catalog.=) 'pg_retention'"});
  if (extension.count() == 0)
    throw Refused("the extension \"pg_retention\" is not installed in this database",
                  "Run CREATE EXTENSION pg_retention in the database that holds the policies.");

  const Rows library = connection.query({"SELECT retention.library_version() AS version"});
  const std::string library_version = library.value(0, "version").value_or("unknown");
  const std::string extension_version = extension.value(0, "extversion").value_or("unknown");
  if (options.verbosity == Verbosity::verbose)
    note("versions: program " PG_RETENTION_VERSION ", library " + library_version + ", extension " + extension_version +
         ", server " + connection.server_version());
  compare_versions(library_version, extension_version);

  if (options.command == Command::run || options.command == Command::restore) {
    const Rows recovery = connection.query({"SELECT pg_catalog.pg_is_in_recovery() AS standby"});
    if (recovery.value(0, "standby") == "t")
      throw Refused(std::string("cannot ") + (options.command == Command::run ? "run policies" : "restore") +
                        " on a server in recovery",
                    "Connect to the primary server; preview and status work here.");
  }
  if (const auto [kind, routine] = entry_routine(options); !routine.empty()) {
    const Rows right =
        connection.query({"SELECT pg_catalog.bool_or(pg_catalog.has_function_privilege(p.oid, 'EXECUTE')) AS allowed "
                          "FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n "
                          "ON n.oid OPERATOR(pg_catalog.=) p.pronamespace "
                          "WHERE n.nspname OPERATOR(pg_catalog.=) 'retention' AND p.proname OPERATOR(pg_catalog.=) $1",
                          {routine}});
    if (right.value(0, "allowed") != "t")
      throw Refused("permission denied for " + kind + " retention." + routine,
                    "Ask for EXECUTE on it, or connect as a user who may run policies.");
  }
}

/// Refuses an interval that the server cannot read, before any policy is run with it.
void check_interval(Connection& connection, const char* option, const std::optional<std::string>& value) {
  if (!value)
    return;
  try {
    const Rows rows = connection.query(
        {"SELECT $1::pg_catalog.interval OPERATOR(pg_catalog.>) '0'::pg_catalog.interval AS positive", {*value}});
    if (rows.value(0, "positive") == "t")
      return;
  } catch (const ServerError& failure) {
    if (failure.sqlstate() != invalid_datetime && failure.sqlstate() != interval_overflow)
      throw;
  }
  throw UsageError("invalid value \"" + *value + "\" for option " + option +
                   ": must be an interval longer than zero, such as '10 min'");
}

/// The policies that the command is about: those named, or the run list.
std::vector<std::string> chosen_policies(Connection& connection, const Options& options) {
  if (!options.policies.empty())
    return options.policies;
  const Rows list = connection.query({"SELECT l.policy FROM retention.run_list() AS l"});
  std::vector<std::string> policies;
  for (int row = 0; row < list.count(); ++row)
    policies.push_back(list.value(row, "policy").value_or(""));
  if (policies.empty() && options.verbosity != Verbosity::quiet)
    note("there are no policies to " + std::string(options.command == Command::run ? "run" : "preview"));
  return policies;
}

/// The walk over the policies of a preview: a failure stops nothing, a request to stop everything.
class Previews {
public:
  Previews(Connection& connection, const Options& options) : connection_(connection), report_(options) {}

  /// Takes the policies in order and tells how it went.
  ExitCode over(const std::vector<std::string>& policies) {
    for (const std::string& policy : policies) {
      if (const auto signal = stop_request(); signal && halted_.empty())
        halted_ = "stopped by " + std::string(*signal);
      if (!halted_.empty())
        fail(failed({policy, 0, 0, {}}, "not run: " + halted_));
      else
        take(policy);
    }
    return exit_;
  }

private:
  /// Previews one policy and reports it.
  void take(const std::string& policy) {
    const auto begun = std::chrono::steady_clock::now();
    const Share share{policy, 0, 0, {}};
    Outcome outcome;
    try {
      preview(policy);
      return;
    } catch (const ConnectionLost& lost) {
      halted_ = "connection lost";
      outcome = failed(share, std::string("connection lost: ") + lost.what(), lost.sqlstate());
      error(name_of(policy, 0, 0) + ": " + outcome.message);
    } catch (const ServerError& failure) {
      outcome = failed(share, failure);
      const auto signal = stop_request();
      if (signal && failure.sqlstate() == query_canceled)
        outcome.message = "cancelled by " + std::string(*signal);
      error(name_of(policy, 0, 0) + ": " + (signal ? outcome.message + ": " : std::string()) + whole(failure));
    }
    const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - begun;
    outcome.duration_ms = spent.count();
    fail(outcome);
  }

  /// Previews one policy in a transaction that cannot change anything.
  void preview(const std::string& policy) {
    connection_.query({"BEGIN TRANSACTION READ ONLY"});
    try {
      report_.preview(policy, connection_.query({preview_statement(), {policy}}));
    } catch (const ServerError&) {
      if (!stop_request())
        connection_.query({"ROLLBACK"});
      throw;
    }
    connection_.query({"COMMIT"});
  }

  /// Reports a policy that failed or was not looked at.
  void fail(const Outcome& outcome) {
    report_.preview_failure(outcome);
    exit_ = ExitCode::policy_failed;
  }

  Connection& connection_;
  Report report_;
  std::string halted_;
  ExitCode exit_ = ExitCode::done;
};

/// Shows every policy and its last run; the interval is written the same in every session.
ExitCode show_status(Connection& connection, const Options& options) {
  connection.query({"BEGIN TRANSACTION READ ONLY"});
  connection.query({options.format == LogFormat::json ? "SET LOCAL intervalstyle = 'iso_8601'"
                                                      : "SET LOCAL intervalstyle = 'postgres'"});
  const Rows policies = connection.query({status_statement()});
  connection.query({"COMMIT"});
  if (policies.count() == 0)
    note("there are no policies");
  else
    Report(options).status(policies);
  return ExitCode::done;
}

/// Takes a run back and reports it; what stays in the archive is listed where this user may read that.
ExitCode restore_run(Connection& connection, const Options& options) {
  const Share share{"run " + std::to_string(options.run_id), 0, 0, {}};
  Report report(options);
  Outcome outcome;
  try {
    outcome = outcome_of(connection.query(restore_statement(options.run_id, options.partial)), share);
  } catch (const ServerError& failure) {
    const auto signal = stop_request();
    outcome = failed(share, failure);
    if (signal && failure.sqlstate() == query_canceled)
      outcome.message = "cancelled by " + std::string(*signal);
    error(share.policy + ": " + whole(failure));
  }
  report.outcome(outcome);
  if (!outcome.success)
    return ExitCode::policy_failed;
  try {
    report.unrestored(connection.query(
        {"SELECT u.run, u.relation, u.rows, u.sqlstate, u.message, u.sample_keys FROM retention.unrestored AS u WHERE "
         "u.run OPERATOR(pg_catalog.=) $1::pg_catalog.int8 ORDER BY u.relation, u.sqlstate",
         {outcome.run_id.value_or("0")}}));
  } catch (const ServerError& failure) {
    if (failure.sqlstate() != insufficient_privilege)
      throw;
  }
  return ExitCode::done;
}

/// Connects, prepares and does the command; server errors outside a policy leave as exceptions.
ExitCode work(const Options& options) {
  Login login(options);
  Connection connection = login.open();
  try {
    prepare(connection, options);
    if (options.command == Command::status)
      return show_status(connection, options);
    if (options.command == Command::restore)
      return restore_run(connection, options);
    const std::vector<std::string> policies = chosen_policies(connection, options);
    if (options.command == Command::preview)
      return Previews(connection, options).over(policies);
    check_interval(connection, "--max-runtime", options.limits.max_runtime);
    check_interval(connection, "--sleep", options.limits.sleep);
    return run_policies(policies, options, login, std::move(connection));
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
