// The program pg_retention: runs the retention policies of a database and logs what the server answers.
#include "commands.hpp"
#include "message.hpp"
#include "options.hpp"

/// Reads the command line, does what it says, and returns one of the documented exit codes.
int main(int argc, char** argv) {
  using namespace pg_retention::runner;
  try {
    return static_cast<int>(execute(parse_options(take_arguments(argc, argv))));
  } catch (const UsageError& wrong) {
    error(wrong.what());
    hint("Try \"pg_retention --help\" for more information.");
    return static_cast<int>(ExitCode::usage);
  } catch (const std::exception& failure) {
    error(failure.what());
    return static_cast<int>(ExitCode::policy_failed);
  }
}
