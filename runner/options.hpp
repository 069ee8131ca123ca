// What the command line asks for: one struct, and one place where its parts are weighed against each other.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace pg_retention::runner {

/// The documented exit codes; no other value leaves the program.
enum class ExitCode : int { done = 0, policy_failed = 1, usage = 2, cannot_connect = 3, refused = 4, fuse = 5 };

enum class Command { run, preview, restore, status, help, version };
enum class LogFormat { text, json };
enum class PasswordPrompt { if_needed, never, always };
enum class Verbosity { quiet, normal, verbose };
enum class VacuumWhen { automatic, always, never };

/// The most connections of a run, and the most slices that the server cuts a policy into.
inline constexpr int most_jobs = 64;

/// How far and how gently a run goes; what is absent is left to the server.
struct RunLimits {
  std::optional<std::int64_t> max_rows;
  std::optional<std::string> max_runtime; ///< a PostgreSQL interval
  std::optional<std::int64_t> batch_rows;
  std::optional<std::int64_t> max_rows_per_second;
  std::optional<std::string> sleep; ///< a PostgreSQL interval
  bool strict = true;
};

/// Everything the command line says; a connection value that is absent is left to libpq (environment, service,
/// default).
struct Options {
  Command command = Command::help;
  std::vector<std::string> policies;
  std::int64_t run_id = 0; ///< the run to take back
  bool partial = false;
  bool all = false;
  int jobs = 1;
  RunLimits limits;
  bool single_transaction = false;
  bool progress = false;
  VacuumWhen vacuum = VacuumWhen::automatic;

  std::optional<std::string> dbname; ///< a name, a conninfo string or a URI
  std::optional<std::string> host;
  std::optional<std::string> port;
  std::optional<std::string> user;
  PasswordPrompt prompt = PasswordPrompt::if_needed;

  LogFormat format = LogFormat::text;
  Verbosity verbosity = Verbosity::normal;
};

/// The command line cannot be followed; the text is the primary message.
class UsageError : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// Reads the arguments after the program's name; throws UsageError when they cannot be followed.
[[nodiscard]] Options parse_options(const std::vector<std::string>& arguments);

/// Copies the arguments after the program's name, then blanks in the process list what may hold a password.
[[nodiscard]] std::vector<std::string> take_arguments(int argc, char** argv);

/// The whole text of --help.
[[nodiscard]] std::string help_text();

/// The line of --version.
[[nodiscard]] std::string version_text();

} // namespace pg_retention::runner
