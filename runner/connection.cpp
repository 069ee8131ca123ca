#include "connection.hpp"

#include "message.hpp"
#include "password.hpp"
#include "signals.hpp"

#include <array>
#include <utility>

namespace pg_retention::runner {
namespace {

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

Connection::Connection(PGconn* connection, bool verbose) : connection_(connection, &PQfinish), verbose_(verbose) {
  if (!connection_)
    throw CannotConnect("out of memory");
  if (!usable())
    throw CannotConnect(trimmed(PQerrorMessage(connection_.get())));
  PQsetNoticeReceiver(connection_.get(), verbose_ ? pg_retention_on_notice : pg_retention_on_silent_notice, nullptr);
}

void Connection::send(const Statement& statement) {
  if (verbose_)
    note("statement: " + statement.sql);
  sql_ = statement.sql;
  rows_.reset();
  error_.reset();
  loss_.clear();
  std::vector<const char*> values;
  std::vector<int> lengths, formats;
  for (const Parameter& parameter : statement.parameters) {
    values.push_back(parameter.value.c_str());
    lengths.push_back(static_cast<int>(parameter.value.size()));
    formats.push_back(parameter.binary ? 1 : 0);
  }
  if (PQsendQueryParams(connection_.get(), sql_.c_str(), static_cast<int>(values.size()), nullptr, values.data(),
                        lengths.data(), formats.data(), statement.binary_result ? 1 : 0) == 0)
    throw ConnectionLost(trimmed(PQerrorMessage(connection_.get())), "08006", sql_);
}

std::optional<Rows> Connection::receive() {
  // A connection that broke may have left the server's last words: they are the next result.
  // What libpq says of its attempts after the break is of no use.
  if (PQconsumeInput(connection_.get()) == 0 && loss_.empty())
    loss_ = trimmed(PQerrorMessage(connection_.get()));
  while (PQisBusy(connection_.get()) == 0) {
    PGresult* result = PQgetResult(connection_.get());
    if (result == nullptr)
      return ended();
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
      rows_.emplace(result);
      continue;
    }
    // The first error counts: a connection that breaks after an error report ends with one of its own.
    if (!error_)
      error_.emplace(result, sql_);
    PQclear(result);
  }
  return std::nullopt;
}

Rows Connection::ended() {
  if (!usable()) {
    const bool reported = error_ && !error_->sqlstate().empty();
    const std::string told = loss_.empty() ? trimmed(PQerrorMessage(connection_.get())) : loss_;
    throw ConnectionLost(reported ? std::string(error_->what()) : told, reported ? error_->sqlstate() : "08006", sql_);
  }
  if (error_)
    throw ServerError(*error_);
  if (!rows_)
    throw ConnectionLost("the server sent no answer", "08006", sql_);
  return std::move(*rows_);
}

void Connection::cancel() const {
  const std::unique_ptr<PGcancel, decltype(&PQfreeCancel)> cancel(PQgetCancel(connection_.get()), &PQfreeCancel);
  std::array<char, 256> reason{};
  PQcancel(cancel.get(), reason.data(), static_cast<int>(reason.size()));
}

Rows Connection::query(const Statement& statement) {
  using clock = std::chrono::steady_clock;
  std::optional<clock::time_point> cancelled_at;
  send(statement);
  for (;;) {
    if (std::optional<Rows> rows = receive())
      return std::move(*rows);
    // A cancellation that reaches the server before the statement does is lost there, so it is sent again.
    if (statement.stoppable && stop_request() && (!cancelled_at || clock::now() - *cancelled_at >= cancel_patience)) {
      cancel();
      cancelled_at = clock::now();
    }
    std::vector<pollfd> server{{descriptor(), POLLIN, 0}};
    wait_readable(server, cancelled_at ? std::optional(cancel_patience) : std::nullopt);
  }
}

void Connection::live_with_program() {
  static constexpr const char* bonds[] = {
      "SELECT pg_catalog.set_config('idle_session_timeout', '0', false)",
      "SELECT pg_catalog.set_config(s.name, '1s', false) FROM pg_catalog.pg_settings AS s WHERE s.name "
      "OPERATOR(pg_catalog.=) 'client_connection_check_interval' AND s.source OPERATOR(pg_catalog.=) 'default'"};
  for (const char* bond : bonds)
    try {
      (void)query({bond});
    } catch (const ServerError&) {
      // A server whose system cannot tell ends the work as it did before: when it has something to say.
    }
}

std::string Connection::server_version() const {
  const char* version = PQparameterStatus(connection_.get(), "server_version");
  return version == nullptr ? "unknown" : version;
}

Connection Login::open() {
  if (options_.dbname)
    check_connection_string(*options_.dbname);
  if (options_.prompt == PasswordPrompt::always && !password_)
    password_ = ask_password(options_.user);

  std::unique_ptr<PGconn, decltype(&PQfinish)> connection(connect_once(options_, password_), &PQfinish);
  if (connection && PQconnectionNeedsPassword(connection.get()) != 0 && options_.prompt == PasswordPrompt::if_needed) {
    const char* user = PQuser(connection.get());
    password_ = ask_password(user == nullptr ? std::nullopt : std::optional<std::string>(user));
    connection.reset(connect_once(options_, password_));
  }
  Connection opened(connection.release(), options_.verbosity == Verbosity::verbose);
  opened.live_with_program();
  return opened;
}

} // namespace pg_retention::runner
