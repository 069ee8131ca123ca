#include "options.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

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

/// The options as they were given, before they are weighed against each other.
struct Given {
  bool no_password = false;
  bool password = false;
  bool quiet = false;
  bool verbose = false;
  bool help = false;
  bool version = false;
  bool no_strict = false;
  bool single_transaction = false;
  bool progress = false;
  bool partial = false;
  std::optional<std::string> run_id;
  std::string format = "text";
  std::optional<std::string> jobs, max_rows, max_runtime, batch_rows, max_rows_per_second, sleep, vacuum;
};

/// Words a value that its option cannot take.
UsageError wrong_value(const std::string& option, const std::string& value, const std::string& wanted) {
  return UsageError("invalid value " + shown(value) + " for option " + option + ": must be " + wanted);
}

/// A whole number from 1 to `most`; anything else is refused by the option's name.
std::int64_t whole_number(const std::string& option, const std::string& text,
                          std::int64_t most = std::numeric_limits<std::int64_t>::max()) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, failure] = std::from_chars(text.data(), end, number);
  if (failure != std::errc() || stopped != end || number < 1 || number > most)
    throw wrong_value(option, text, "a whole number from 1 to " + std::to_string(most));
  return number;
}

/// Refuses what only the command "run" knows beside another command.
void refuse_outside_run(const Options& options, const Given& given) {
  if (options.command == Command::run)
    return;
  const std::pair<bool, const char*> of_run[] = {
      {given.quiet, "-q/--quiet"},
      {options.all, "-a/--all"},
      {given.jobs.has_value(), "-j/--jobs"},
      {given.max_rows.has_value(), "--max-rows"},
      {given.max_runtime.has_value(), "--max-runtime"},
      {given.batch_rows.has_value(), "--batch-rows"},
      {given.max_rows_per_second.has_value(), "--max-rows-per-second"},
      {given.sleep.has_value(), "--sleep"},
      {given.no_strict, "--no-strict"},
      {given.single_transaction, "--single-transaction"},
      {given.progress, "--progress"},
      {given.vacuum.has_value(), "--vacuum"},
  };
  for (const auto& [is_given, name] : of_run)
    if (is_given)
      throw UsageError(std::string("option ") + name + " can be used only with the command \"run\"");
}

/// Refuses pairs that contradict each other, by both names.
void refuse_conflicts(const Given& given) {
  const auto apart = [](bool one, const char* first, bool other, const char* second) {
    if (one && other)
      throw UsageError(std::string("options ") + first + " and " + second + " cannot be used together");
  };
  apart(given.no_password, "-w/--no-password", given.password, "-W/--password");
  apart(given.quiet, "-q/--quiet", given.verbose, "-v/--verbose");
  apart(given.quiet, "-q/--quiet", given.progress, "--progress");
  // One transaction has no batches to limit, to pace, to share among connections, or to show before its end.
  const std::pair<bool, const char*> of_batches[] = {
      {given.jobs.has_value(), "-j/--jobs"},
      {given.max_rows.has_value(), "--max-rows"},
      {given.max_runtime.has_value(), "--max-runtime"},
      {given.batch_rows.has_value(), "--batch-rows"},
      {given.max_rows_per_second.has_value(), "--max-rows-per-second"},
      {given.sleep.has_value(), "--sleep"},
      {given.no_strict, "--no-strict"},
      {given.progress, "--progress"},
  };
  for (const auto& [is_given, name] : of_batches)
    apart(given.single_transaction, "--single-transaction", is_given, name);
}

/// The one place where options are weighed: values that cannot be, and options that contradict each other, are refused.
void settle(Options& options, const Given& given) {
  refuse_conflicts(given);
  if (given.format != "text" && given.format != "json")
    throw wrong_value("--log-format", given.format, "text or json");
  refuse_outside_run(options, given);
  if (given.partial && options.command != Command::restore)
    throw UsageError("option --partial can be used only with the command \"restore\"");
  if (options.command == Command::restore) {
    if (!given.run_id)
      throw UsageError("nothing to restore: name a run (RUN_ID), as \"run\" and retention.runs tell it");
    options.run_id = whole_number("RUN_ID", *given.run_id);
    options.partial = given.partial;
  }
  if (options.all && !options.policies.empty())
    throw UsageError("cannot run every policy (-a/--all) and named policies (POLICY) at the same time");
  if (options.command == Command::run && !options.all && options.policies.empty())
    throw UsageError("nothing to run: name one or more policies (POLICY), or give -a/--all");
  if (std::any_of(options.policies.begin(), options.policies.end(), [](const auto& name) { return name.empty(); }))
    throw UsageError("a policy name cannot be empty");

  if (given.jobs)
    options.jobs = static_cast<int>(whole_number("-j/--jobs", *given.jobs, most_jobs));
  if (given.max_rows)
    options.limits.max_rows = whole_number("--max-rows", *given.max_rows);
  if (given.batch_rows)
    options.limits.batch_rows = whole_number("--batch-rows", *given.batch_rows);
  if (given.max_rows_per_second)
    options.limits.max_rows_per_second = whole_number("--max-rows-per-second", *given.max_rows_per_second);
  options.limits.max_runtime = given.max_runtime;
  options.limits.sleep = given.sleep;
  options.limits.strict = !given.no_strict;
  options.single_transaction = given.single_transaction;
  options.progress = given.progress;
  if (given.vacuum) {
    if (*given.vacuum == "always")
      options.vacuum = VacuumWhen::always;
    else if (*given.vacuum == "never")
      options.vacuum = VacuumWhen::never;
    else if (*given.vacuum != "auto")
      throw wrong_value("--vacuum", *given.vacuum, "auto, always or never");
  }

  if (given.no_password)
    options.prompt = PasswordPrompt::never;
  if (given.password)
    options.prompt = PasswordPrompt::always;
  if (given.quiet)
    options.verbosity = Verbosity::quiet;
  if (given.verbose)
    options.verbosity = Verbosity::verbose;
  options.format = given.format == "json" ? LogFormat::json : LogFormat::text;
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
  Given given;

  CLI::App app{"pg_retention", "pg_retention"};
  app.set_help_flag();
  app.require_subcommand(0, 1);
  app.add_flag("-?,--help", given.help);
  app.add_flag("-V,--version", given.version);
  app.add_option("-h,--host", options.host)->take_last();
  app.add_option("-p,--port", options.port)->take_last();
  app.add_option("-U,--username", options.user)->take_last();
  app.add_option("-d,--dbname", options.dbname)->take_last();
  app.add_flag("-w,--no-password", given.no_password);
  app.add_flag("-W,--password", given.password);
  app.add_option("--log-format", given.format)->take_last();
  app.add_flag("-q,--quiet", given.quiet);
  app.add_flag("-v,--verbose", given.verbose);
  app.add_flag("-a,--all", options.all);
  app.add_option("-j,--jobs", given.jobs)->take_last();
  app.add_option("--max-rows", given.max_rows)->take_last();
  app.add_option("--max-runtime", given.max_runtime)->take_last();
  app.add_option("--batch-rows", given.batch_rows)->take_last();
  app.add_option("--max-rows-per-second", given.max_rows_per_second)->take_last();
  app.add_option("--sleep", given.sleep)->take_last();
  app.add_flag("--no-strict", given.no_strict);
  app.add_flag("--single-transaction", given.single_transaction);
  app.add_flag("--progress", given.progress);
  app.add_option("--vacuum", given.vacuum)->take_last();
  app.add_flag("--partial", given.partial);

  CLI::App* run = app.add_subcommand("run")->fallthrough();
  CLI::App* preview = app.add_subcommand("preview")->fallthrough();
  CLI::App* restore = app.add_subcommand("restore")->fallthrough();
  CLI::App* status = app.add_subcommand("status")->fallthrough();
  for (CLI::App* command : {run, preview, restore, status})
    command->set_help_flag();
  run->add_option("policy", options.policies);
  preview->add_option("policy", options.policies);
  restore->add_option("run", given.run_id);

  try {
    // CLI11 reads a vector from its end.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ExtrasError&) {
    if (!given.help && !given.version) {
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
  if (given.help || given.version) {
    options.command = given.help ? Command::help : Command::version;
    return options;
  }
  if (run->parsed())
    options.command = Command::run;
  else if (preview->parsed())
    options.command = Command::preview;
  else if (restore->parsed())
    options.command = Command::restore;
  else if (status->parsed())
    options.command = Command::status;
  else
    throw UsageError("no command given: run, preview, restore or status");

  settle(options, given);
  return options;
}

} // namespace pg_retention::runner
