// Connections to the server: statements in, rows out, errors as exceptions.
#pragma once

#include "options.hpp"

#include <libpq-fe.h>

#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace pg_retention::runner {

/// How long a cancellation may go unheard before it is sent again.
inline constexpr std::chrono::milliseconds cancel_patience{500};

/// The root of everything that can go wrong between the program and the server.
class DatabaseError : public std::runtime_error {
public:
  explicit DatabaseError(const std::string& message, std::string sqlstate = {}, std::string query = {});

  /// The five characters of the error's class, or nothing when no server gave one.
  [[nodiscard]] const std::string& sqlstate() const noexcept { return sqlstate_; }
  /// The statement that failed, or nothing outside one.
  [[nodiscard]] const std::string& query() const noexcept { return query_; }

private:
  std::string sqlstate_;
  std::string query_;
};

/// No connection came about.
class CannotConnect : public DatabaseError {
public:
  explicit CannotConnect(const std::string& message, std::string hint = {});

  /// What the user may do about it, or nothing.
  [[nodiscard]] const std::string& hint() const noexcept { return hint_; }

private:
  std::string hint_;
};

/// An error of the server as it reported it.
class ServerError : public DatabaseError {
public:
  ServerError(const PGresult* result, std::string_view query);

  std::string severity;
  std::string detail;
  std::string hint;
  std::string context;
};

/// The connection is gone: whether the statement took effect is not known.
class ConnectionLost : public DatabaseError {
public:
  using DatabaseError::DatabaseError;
};

/// What goes with a statement: a value in text form, or bytes as the server sent them.
struct Parameter {
  Parameter(std::string given, bool is_bytes = false) : value(std::move(given)), binary(is_bytes) {}
  Parameter(const char* given) : value(given) {}

  std::string value;
  bool binary = false;
};

/// One statement with what goes with it.
struct Statement {
  std::string sql;
  std::vector<Parameter> parameters = {};
  bool binary_result = false; ///< values come as the server keeps them, independent of the session's styles
  bool stoppable = true;      ///< a request to stop cancels it
};

/// The rows of one statement.
class Rows {
public:
  explicit Rows(PGresult* result) : result_(result, &PQclear) {}

  [[nodiscard]] int count() const { return PQntuples(result_.get()); }
  [[nodiscard]] int columns() const { return PQnfields(result_.get()); }
  /// One value as it was asked for, or nothing for NULL.
  [[nodiscard]] std::optional<std::string> value(int row, int column) const;
  /// One value by its column's name; a name that the statement does not have is a programming error.
  [[nodiscard]] std::optional<std::string> value(int row, std::string_view column) const;

private:
  std::unique_ptr<PGresult, decltype(&PQclear)> result_;
};

/// An open connection; closed when it goes out of scope.
class Connection {
public:
  /// Sends a statement and returns at once; its answer is for `receive`.
  void send(const Statement& statement);

  /// Takes in what the server has sent, without waiting: the rows when the statement has come to its end, nothing while
  /// the server is still at it. A statement that failed ends as ServerError, a connection that broke as ConnectionLost.
  [[nodiscard]] std::optional<Rows> receive();

  /// Asks the server to give up the statement that is under way.
  void cancel() const;

  /// Sends a statement and waits for its end; a request to stop that arrives meanwhile cancels it on the server.
  Rows query(const Statement& statement);

  /// What becomes readable when the server has sent something.
  [[nodiscard]] int descriptor() const { return PQsocket(connection_.get()); }
  /// Binds the session to the life of this program: while it works the server looks whether the program is still there,
  /// where nobody has set that otherwise, and while the program has other sessions to wait for it is not ended as idle.
  void live_with_program();

  /// The process that serves this connection.
  [[nodiscard]] int backend() const { return PQbackendPID(connection_.get()); }
  /// The server's version as it prints it, and as a number.
  [[nodiscard]] std::string server_version() const;
  [[nodiscard]] int server_version_number() const { return PQserverVersion(connection_.get()); }
  /// Whether statements can still be sent.
  [[nodiscard]] bool usable() const { return PQstatus(connection_.get()) == CONNECTION_OK; }

private:
  friend class Login;
  Connection(PGconn* connection, bool verbose);
  Rows ended();

  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
  bool verbose_;
  std::string sql_;
  std::optional<Rows> rows_;
  std::optional<ServerError> error_;
  std::string loss_; ///< what libpq said first of a connection that broke
};

/// The way to the server that the options and the environment say; a password is asked for once, where they allow it.
class Login {
public:
  explicit Login(const Options& options) : options_(options) {}

  /// Opens one connection, or throws CannotConnect.
  [[nodiscard]] Connection open();

private:
  const Options& options_;
  std::optional<std::string> password_;
};

} // namespace pg_retention::runner
