// One connection to the server: statements in, rows out, errors as exceptions, signals as cancellations.
#pragma once

#include "options.hpp"

#include <libpq-fe.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace pg_retention::runner {

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

/// From now on SIGINT and SIGTERM are requests to stop, and a reader that went away is a failed write.
void watch_signals();

/// The name of the signal that asked the program to stop, or nothing.
[[nodiscard]] std::optional<std::string_view> stop_request();

/// The rows of one statement.
class Rows {
public:
  explicit Rows(PGresult* result) : result_(result, &PQclear) {}

  [[nodiscard]] int count() const { return PQntuples(result_.get()); }
  [[nodiscard]] int columns() const { return PQnfields(result_.get()); }
  /// One value in text form, or nothing for NULL.
  [[nodiscard]] std::optional<std::string> value(int row, int column) const;
  /// One value by its column's name; a name that the statement does not have is a programming error.
  [[nodiscard]] std::optional<std::string> value(int row, std::string_view column) const;

private:
  std::unique_ptr<PGresult, decltype(&PQclear)> result_;
};

/// An open connection; closed when it goes out of scope.
class Connection {
public:
  /// Connects as the options and the environment say, asking for a password where they allow it.
  explicit Connection(const Options& options);

  /// Runs one statement; a request to stop that arrives meanwhile cancels it on the server.
  Rows query(const std::string& sql, const std::vector<std::string>& parameters = {});

  /// The server's version as it prints it.
  [[nodiscard]] std::string server_version() const;
  /// Whether statements can still be sent.
  [[nodiscard]] bool usable() const { return PQstatus(connection_.get()) == CONNECTION_OK; }

private:
  void await_result();

  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
  bool verbose_;
};

} // namespace pg_retention::runner
