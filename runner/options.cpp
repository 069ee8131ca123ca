#include "options.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstring>
#include <string_view>

#ifndef PG_RETENTION_VERSION
#error "PG_RETENTION_VERSION must be given on the compile line, as a string"
#endif

namespace pg_retention::runner {
namespace {

/// Finds where an argument may begin to hold a password: after "://", or after "password =" of a conninfo string.
std::size_t secret_begin(std::string_view argument) {
  const std::size_t scheme = argument.find("://");
  std::size_t begin = scheme == std::string_view::npos ? scheme : scheme + 3;
  constexpr std::string_view word = "password";
  for (std::size_t at = argument.find(word); at != std::string_view::npos; at = argument.find(word, at + 1)) {
    const std::size_t equals = argument.find_first_not_of(" \t\r\n\f\v", at + word.size());
    if (equals != std::string_view::npos && argument[equals] == '=') {
      begin = std::min(begin, equals + 1);
      break;
    }
  }
  return begin;
}

/// Names an argument in a message, without the part of it that may be a password.
std::string shown(std::string_view argument) {
  const std::size_t begin = secret_begin(argument);
  const bool hidden = begin != std::string_view::npos;
  return '"' + std::string(hidden ? argument.substr(0, begin) : argument) + (hidden ? "...\"" : "\"");
}

/// Words the first argument that nothing asked for.
std::string unexpected(const std::string& argument) {
  if (argument.size() > 1 && argument.front() == '-')
    return "unrecognized option " + shown(argument);
  return "too many command-line arguments (first is " + shown(argument) + ")";
}

/// The flags as they were given, before they are weighed against each other.
struct Flags {
  bool no_password = false;
  bool password = false;
  bool quiet = false;
  bool verbose = false;
  bool help = false;
  bool version = false;
  std::string format = "text";
};

/// The one place where options that contradict each other are refused.
void settle(Options& options, const Flags& flags) {
  if (flags.no_password && flags.password)
    throw UsageError("options -w/--no-password and -W/--password cannot be used together");
  if (flags.quiet && flags.verbose)
    throw UsageError("options -q/--quiet and -v/--verbose cannot be used together");
  if (flags.format != "text" && flags.format != "json")
    throw UsageError("invalid value " + shown(flags.format) + " for option --log-format: must be text or json");
  if (flags.quiet && options.command != Command::run)
    throw UsageError("option -q/--quiet can be used only with the command \"run\"");
  if (options.all && options.command != Command::run)
    throw UsageError("option -a/--all can be used only with the command \"run\"");
  if (options.all && !options.policies.empty())
    throw UsageError("cannot run every policy (-a/--all) and named policies (POLICY) at the same time");
  if (options.command == Command::run && !options.all && options.policies.empty())
    throw UsageError("nothing to run: name one or more policies (POLICY), or give -a/--all");
  if (std::any_of(options.policies.begin(), options.policies.end(), [](const auto& name) { return name.empty(); }))
    throw UsageError("a policy name cannot be empty");

  if (flags.no_password)
    options.prompt = PasswordPrompt::never;
  if (flags.password)
    options.prompt = PasswordPrompt::always;
  if (flags.quiet)
    options.verbosity = Verbosity::quiet;
  if (flags.verbose)
    options.verbosity = Verbosity::verbose;
  options.format = flags.format == "json" ? LogFormat::json : LogFormat::text;
}

} // namespace

std::vector<std::string> take_arguments(int argc, char** argv) {
  std::vector<std::string> arguments;
  for (int i = 1; i < argc; ++i) {
    arguments.emplace_back(argv[i]);
    const std::size_t begin = secret_begin(arguments.back());
    if (begin != std::string::npos)
      std::memset(argv[i] + begin, '*', arguments.back().size() - begin);
  }
  return arguments;
}

Options parse_options(const std::vector<std::string>& arguments) {
  Options options;
  Flags flags;

  CLI::App app{"pg_retention", "pg_retention"};
  app.set_help_flag();
  app.require_subcommand(0, 1);
  app.add_flag("-?,--help", flags.help);
  app.add_flag("-V,--version", flags.version);
  app.add_option("-h,--host", options.host)->take_last();
  app.add_option("-p,--port", options.port)->take_last();
  app.add_option("-U,--username", options.user)->take_last();
  app.add_option("-d,--dbname", options.dbname)->take_last();
  app.add_flag("-w,--no-password", flags.no_password);
  app.add_flag("-W,--password", flags.password);
  app.add_option("--log-format", flags.format)->take_last();
  app.add_flag("-q,--quiet", flags.quiet);
  app.add_flag("-v,--verbose", flags.verbose);
  app.add_flag("-a,--all", options.all);

  CLI::App* run = app.add_subcommand("run")->fallthrough();
  CLI::App* preview = app.add_subcommand("preview")->fallthrough();
  CLI::App* status = app.add_subcommand("status")->fallthrough();
  for (CLI::App* command : {run, preview, status})
    command->set_help_flag();
  run->add_option("policy", options.policies);
  preview->add_option("policy", options.policies);

  try {
    // CLI11 reads a vector from its end.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ExtrasError&) {
    if (!flags.help && !flags.version) {
      const std::vector<std::string> extras = app.remaining(true);
      if (!app.get_subcommands().empty() || extras.front().front() == '-')
        throw UsageError(unexpected(extras.front()));
      throw UsageError("unknown command " + shown(extras.front()));
    }
  } catch (const CLI::ArgumentMismatch& mismatch) {
    const std::string_view text = mismatch.what();
    throw UsageError("option " + shown(text.substr(0, text.find(':'))) + " requires an argument");
  } catch (const CLI::ParseError&) {
    // What remains is a value for an option that takes none; it is not repeated, it may be a password.
    throw UsageError("an option was given a value that it does not take");
  }

  // Asking for help is never an error, whatever stands beside it.
  if (flags.help || flags.version) {
    options.command = flags.help ? Command::help : Command::version;
    return options;
  }
  if (run->parsed())
    options.command = Command::run;
  else if (preview->parsed())
    options.command = Command::preview;
  else if (status->parsed())
    options.command = Command::status;
  else
    throw UsageError("no command given: run, preview or status");

  settle(options, flags);
  return options;
}

std::string version_text() { return "pg_retention " PG_RETENTION_VERSION "\n"; }

std::string help_text() {
  return R"(pg_retention runs the data retention policies of a PostgreSQL database.

Usage:
  pg_retention run [OPTION]... POLICY...
  pg_retention run [OPTION]... --all
  pg_retention preview [OPTION]... [POLICY]...
  pg_retention status [OPTION]...

Commands:
  run                       run the named policies, one after the other, each in its own
                            transaction; a policy that fails does not stop the others
  preview                   show what a run would do now, and change nothing; without
                            POLICY: every policy that "run --all" would run
  status                    show each policy and how its last run went

General options:
  -a, --all                 run every policy that is not paused (with "run" only)
      --log-format=FORMAT   text (the default) or json: one line for each policy on
                            standard output, with RFC 3339 times in UTC
  -q, --quiet               show only failures and errors (with "run" only)
  -v, --verbose             also show versions, statements and server notices, on
                            standard error
  -V, --version             show the version, then exit
  -?, --help                show this help, then exit

Connection options:
  -h, --host=HOST           database server host or socket directory
  -p, --port=PORT           database server port
  -U, --username=NAME       user name to connect as
  -d, --dbname=DBNAME       database to connect to: a name, a conninfo string or a URI;
                            --host, --port and --username override what it says
  -w, --no-password         never ask for a password
  -W, --password            ask for the password before connecting

Without -w and -W a password is asked for, on the terminal, when the server needs one
and neither PGPASSWORD nor a password file gives it. A password in a conninfo string or
a URI is blanked in the process list as the program starts; a password file is safer.

Environment:
  PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSWORD, PGPASSFILE, PGSERVICE,
  PGSERVICEFILE, PGSSLMODE, PGCONNECT_TIMEOUT, PGOPTIONS and the other variables that
  libpq reads, as for psql.

Signals:
  SIGINT and SIGTERM cancel the running statement, which undoes what it did; that policy
  is reported as cancelled, those after it as not run, and the exit code is 1.

Exit codes:
  0  done
  1  a policy failed, was cancelled or was not run; or a report could not be written
  2  the command line is wrong
  3  cannot connect to the server
  4  refused: the extension is missing, its versions differ, the server is read only,
     or the user may not run policies
)";
}

} // namespace pg_retention::runner
