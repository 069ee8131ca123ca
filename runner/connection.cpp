#include "connection.hpp"

#include "report.hpp"

#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <utility>

namespace pg_retention::runner {
namespace {

volatile std::sig_atomic_t requested_signal = 0;
volatile std::sig_atomic_t connecting = 0;

/// Notes the request; while libpq connects, where nothing has begun and nothing can be cancelled, ends the program.
extern "C" void pg_retention_on_signal(int signal_number) {
  if (connecting) {
    static constexpr char message[] = "pg_retention: error: interrupted while connecting\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, message, sizeof message - 1);
    _exit(static_cast<int>(ExitCode::cannot_connect));
  }
  requested_signal = signal_number;
}

/// The two signals that ask the program to stop.
sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

/// The program's signal mask with the stop signals let through.
sigset_t listening_mask() {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  sigdelset(&mask, SIGINT);
  sigdelset(&mask, SIGTERM);
  return mask;
}

/// Waits for input and lets the stop signals in only meanwhile, so that none is lost between a look and a wait.
bool wait_readable(int descriptor, std::optional<std::chrono::milliseconds> limit) {
  const sigset_t mask = listening_mask();
  pollfd entry{descriptor, POLLIN, 0};
  timespec timeout{};
  if (limit) {
    timeout.tv_sec = limit->count() / 1000;
    timeout.tv_nsec = limit->count() % 1000 * 1000000;
  }
  return ppoll(&entry, descriptor < 0 ? 0 : 1, limit ? &timeout : nullptr, &mask) > 0;
}

/// Lets the stop signals end the program while libpq, which retries interrupted waits, connects.
class ConnectingPhase {
public:
  ConnectingPhase() {
    connecting = 1;
    const sigset_t set = stop_signals();
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  }
  ~ConnectingPhase() {
    const sigset_t set = stop_signals();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    connecting = 0;
  }
  ConnectingPhase(const ConnectingPhase&) = delete;
  ConnectingPhase& operator=(const ConnectingPhase&) = delete;
};

/// The terminal with its echo off; as it was before when it goes out of scope.
class SilentTerminal {
public:
  SilentTerminal() : descriptor_(open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)) {
    if (descriptor_ < 0 || tcgetattr(descriptor_, &before_) != 0) {
      if (descriptor_ >= 0)
        close(descriptor_);
      throw CannotConnect("cannot ask for a password: there is no terminal",
                          "Set PGPASSWORD, or use a password file (PGPASSFILE, ~/.pgpass).");
    }
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(descriptor_, TCSAFLUSH, &silent);
  }
  ~SilentTerminal() {
    say("\n");
    tcsetattr(descriptor_, TCSAFLUSH, &before_);
    close(descriptor_);
  }
  SilentTerminal(const SilentTerminal&) = delete;
  SilentTerminal& operator=(const SilentTerminal&) = delete;

  /// Shows a prompt; a terminal that cannot show it can still be typed at.
  void say(std::string_view text) const {
    [[maybe_unused]] const ssize_t written = write(descriptor_, text.data(), text.size());
  }

  /// Reads up to the end of the line, or stops at a request to stop.
  [[nodiscard]] std::string read_line() const {
    std::string line;
    char next = 0;
    for (;;) {
      if (stop_request())
        throw CannotConnect("interrupted while asking for the password");
      if (!wait_readable(descriptor_, std::nullopt))
        continue;
      const ssize_t got = read(descriptor_, &next, 1);
      if (got < 0 && errno == EINTR)
        continue;
      if (got <= 0 || next == '\n' || next == '\r')
        return line;
      line.push_back(next);
    }
  }

private:
  int descriptor_;
  termios before_{};
};

/// Asks for a password on the terminal, with the echo off.
std::string ask_password(const std::optional<std::string>& user) {
  const SilentTerminal terminal;
  terminal.say(user ? "Password for user " + *user + ": " : std::string("Password: "));
  return terminal.read_line();
}

/// Takes off the line ends that libpq puts on its messages.
std::string trimmed(const char* text) {
  std::string message = text == nullptr ? "" : text;
  while (!message.empty() && (message.back() == '\n' || message.back() == ' '))
    message.pop_back();
  return message;
}

/// Refuses a connection string that libpq cannot read, without what libpq quotes of it: that may be the password.
void check_connection_string(const std::string& dbname) {
  const bool uri = dbname.rfind("postgresql://", 0) == 0 || dbname.rfind("postgres://", 0) == 0;
  if (!uri && dbname.find('=') == std::string::npos)
    return;
  char* text = nullptr;
  PQconninfoOption* parsed = PQconninfoParse(dbname.c_str(), &text);
  if (parsed != nullptr) {
    PQconninfoFree(parsed);
    return;
  }
  std::string message = trimmed(text);
  PQfreemem(text);
  const std::size_t first = message.find('"');
  const std::size_t last = message.rfind('"');
  if (first != last)
    message.replace(first, last - first + 1, "\"...\"");
  throw CannotConnect("invalid connection string: " + message, "Check the value of -d/--dbname.");
}

/// Tries to connect once, with this password if there is one.
PGconn* connect_once(const Options& options, const std::optional<std::string>& password) {
  std::vector<const char*> keywords;
  std::vector<const char*> values;
  const auto add = [&](const char* keyword, const std::optional<std::string>& value) {
    if (value) {
      keywords.push_back(keyword);
      values.push_back(value->c_str());
    }
  };
  // What stands after dbname overrides what a connection string in it says.
  const std::optional<std::string> program = "pg_retention";
  const std::optional<std::string> encoding = "UTF8";
  add("dbname", options.dbname);
  add("host", options.host);
  add("port", options.port);
  add("user", options.user);
  add("password", password);
  add("fallback_application_name", program);
  add("client_encoding", encoding);
  keywords.push_back(nullptr);
  values.push_back(nullptr);

  const ConnectingPhase phase;
  return PQconnectdbParams(keywords.data(), values.data(), 1);
}

/// One field of a server error, or nothing.
std::string field(const PGresult* result, int code) {
  const char* text = PQresultErrorField(result, code);
  return text == nullptr ? std::string() : std::string(text);
}

/// The primary message of an error; an error that libpq itself made has only one text.
std::string primary_message(const PGresult* result) {
  std::string message = field(result, PG_DIAG_MESSAGE_PRIMARY);
  return message.empty() ? trimmed(PQresultErrorMessage(result)) : message;
}

/// Shows a notice of the server with its severity.
extern "C" void pg_retention_on_notice(void*, const PGresult* result) {
  std::string text = field(result, PG_DIAG_SEVERITY) + ":  " + field(result, PG_DIAG_MESSAGE_PRIMARY);
  for (const auto& [code, label] :
       {std::pair{PG_DIAG_MESSAGE_DETAIL, "\nDETAIL:  "}, std::pair{PG_DIAG_MESSAGE_HINT, "\nHINT:  "}}) {
    if (const std::string more = field(result, code); !more.empty())
      text += label + more;
  }
  note(text);
}

/// Drops a notice that nobody asked to see.
extern "C" void pg_retention_on_silent_notice(void*, const PGresult*) {}

} // namespace

DatabaseError::DatabaseError(const std::string& message, std::string sqlstate, std::string query)
    : std::runtime_error(message), sqlstate_(std::move(sqlstate)), query_(std::move(query)) {}

CannotConnect::CannotConnect(const std::string& message, std::string hint)
    : DatabaseError(message), hint_(std::move(hint)) {}

ServerError::ServerError(const PGresult* result, std::string_view query)
    : DatabaseError(primary_message(result), field(result, PG_DIAG_SQLSTATE), std::string(query)),
      severity(field(result, PG_DIAG_SEVERITY)), detail(field(result, PG_DIAG_MESSAGE_DETAIL)),
      hint(field(result, PG_DIAG_MESSAGE_HINT)), context(field(result, PG_DIAG_CONTEXT)) {}

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = pg_retention_on_signal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

std::optional<std::string_view> stop_request() {
  wait_readable(-1, std::chrono::milliseconds(0));
  switch (requested_signal) {
  case 0:
    return std::nullopt;
  case SIGINT:
    return "SIGINT";
  default:
    return "SIGTERM";
  }
}

std::optional<std::string> Rows::value(int row, int column) const {
  if (PQgetisnull(result_.get(), row, column) != 0)
    return std::nullopt;
  return std::string(PQgetvalue(result_.get(), row, column),
                     static_cast<std::size_t>(PQgetlength(result_.get(), row, column)));
}

std::optional<std::string> Rows::value(int row, std::string_view column) const {
  const int number = PQfnumber(result_.get(), std::string(column).c_str());
  if (number < 0)
    throw std::logic_error("no column " + std::string(column) + " in the statement's result");
  return value(row, number);
}

Connection::Connection(const Options& options)
    : connection_(nullptr, &PQfinish), verbose_(options.verbosity == Verbosity::verbose) {
  if (options.dbname)
    check_connection_string(*options.dbname);

  std::optional<std::string> password;
  if (options.prompt == PasswordPrompt::always)
    password = ask_password(options.user);
  connection_.reset(connect_once(options, password));
  if (connection_ && PQconnectionNeedsPassword(connection_.get()) != 0 && options.prompt == PasswordPrompt::if_needed) {
    const char* user = PQuser(connection_.get());
    password = ask_password(user == nullptr ? std::nullopt : std::optional<std::string>(user));
    connection_.reset(connect_once(options, password));
  }
  if (!connection_)
    throw CannotConnect("out of memory");
  if (!usable())
    throw CannotConnect(trimmed(PQerrorMessage(connection_.get())));
  PQsetNoticeReceiver(connection_.get(), verbose_ ? pg_retention_on_notice : pg_retention_on_silent_notice, nullptr);
}

void Connection::await_result() {
  using clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds patience{500};
  std::optional<clock::time_point> cancelled_at;

  while (PQisBusy(connection_.get()) != 0) {
    // A cancellation that reaches the server before the statement does is lost there, so it is sent again.
    if (stop_request() && (!cancelled_at || clock::now() - *cancelled_at >= patience)) {
      const std::unique_ptr<PGcancel, decltype(&PQfreeCancel)> cancel(PQgetCancel(connection_.get()), &PQfreeCancel);
      std::array<char, 256> reason{};
      PQcancel(cancel.get(), reason.data(), static_cast<int>(reason.size()));
      cancelled_at = clock::now();
    }
    const bool readable = wait_readable(
        PQsocket(connection_.get()), cancelled_at ? std::optional<std::chrono::milliseconds>(patience) : std::nullopt);
    // A connection that broke may have left the server's last words: they are the next result.
    if (readable && PQconsumeInput(connection_.get()) == 0)
      return;
  }
}

Rows Connection::query(const std::string& sql, const std::vector<std::string>& parameters) {
  if (verbose_)
    note("statement: " + sql);
  std::vector<const char*> values;
  for (const std::string& parameter : parameters)
    values.push_back(parameter.c_str());
  if (PQsendQueryParams(connection_.get(), sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(),
                        nullptr, nullptr, 0) == 0)
    throw ConnectionLost(trimmed(PQerrorMessage(connection_.get())), "08006", sql);

  // The first error counts: a connection that breaks after an error report ends with one of its own.
  std::optional<Rows> rows;
  std::optional<ServerError> error;
  for (;;) {
    await_result();
    PGresult* result = PQgetResult(connection_.get());
    if (result == nullptr)
      break;
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
      rows.emplace(result);
      continue;
    }
    if (!error)
      error.emplace(result, sql);
    PQclear(result);
  }
  if (!usable()) {
    const bool reported = error && !error->sqlstate().empty();
    throw ConnectionLost(reported ? std::string(error->what()) : trimmed(PQerrorMessage(connection_.get())),
                         reported ? error->sqlstate() : "08006", sql);
  }
  if (error)
    throw *error;
  if (!rows)
    throw ConnectionLost("the server sent no answer", "08006", sql);
  return std::move(*rows);
}

std::string Connection::server_version() const {
  const char* version = PQparameterStatus(connection_.get(), "server_version");
  return version == nullptr ? "unknown" : version;
}

} // namespace pg_retention::runner
