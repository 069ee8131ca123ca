#pragma once
#include "extension/boundary/guard.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// SQL sent through SPI, with typed parameters in and text out. For small results: the rows are copied.
namespace pg_retention::boundary {

/// A value as the server prints it; nullopt is NULL.
using Text = std::optional<std::string>;
using Row = std::vector<Text>;
using Rows = std::vector<Row>;

/// One typed parameter of a statement.
struct Arg {
  Oid type = InvalidOid;
  Datum value = 0;
  bool is_null = false;
  const std::string* text = nullptr; ///< for text: converted when it is sent; outlives the call

  static Arg of(const std::string& text) { return {TEXTOID, 0, false, &text}; }
  static Arg of(const Text& text) { return text ? of(*text) : Arg{TEXTOID, 0, true, nullptr}; }
  static Arg of(std::int64_t number) { return {INT8OID, Int64GetDatum(number), false, nullptr}; }
  static Arg of(std::int32_t number) { return {INT4OID, Int32GetDatum(number), false, nullptr}; }
  static Arg of(bool truth) { return {BOOLOID, BoolGetDatum(truth), false, nullptr}; }
  static Arg oid(Oid oid) { return {OIDOID, ObjectIdGetDatum(oid), false, nullptr}; }
  static Arg time(TimestampTz instant) { return {TIMESTAMPTZOID, TimestampTzGetDatum(instant), false, nullptr}; }
  static Arg datum(Oid type, Datum value) { return {type, value, false, nullptr}; }
  static Arg null(Oid type) { return {type, 0, true, nullptr}; }
};

/// Whose eyes a statement reads with.
enum class View {
  read_write, ///< a snapshot of its own that sees all that was done before; may write
  as_pushed,  ///< read only, under the snapshot that the caller has made active
};

/// Runs one statement and returns its rows as text (columns in order).
Rows query(const std::string& sql, const std::vector<Arg>& args = {}, View view = View::read_write);

/// Runs one statement and returns how many rows it processed.
std::uint64_t execute(const std::string& sql, const std::vector<Arg>& args = {});

/// Runs one statement that must give one row with one value; nullopt for no row or NULL.
Text single(const std::string& sql, const std::vector<Arg>& args = {}, View view = View::read_write);

/// Runs one statement that changes rows, under a snapshot of this very moment whatever the transaction's isolation
/// level, and returns its rows as text.
Rows change(const std::string& sql, const std::vector<Arg>& args);

/// The same, and returns how many rows the statement processed.
std::uint64_t change_count(const std::string& sql, const std::vector<Arg>& args);

/// Parses and plans a statement without running it: an error tells what is wrong with it.
void prepare(const std::string& sql, const std::vector<Oid>& types);

/// Parses and plans a SELECT without running it and returns the type of its first column.
[[nodiscard]] Oid result_type(const std::string& sql);

/// Receives the rows of a large result one by one. Called from inside the server: must not call it, so that it
/// cannot raise; what it throws stops the query and comes out of stream().
class Sink {
public:
  virtual void accept(const Datum* values, const bool* nulls) = 0;

protected:
  ~Sink() = default;
};

/// Streams the rows of a SELECT into `sink` under the active snapshot.
void stream(const std::string& sql, const std::vector<Arg>& args, Sink& sink);

/// The same in parts: after each, `between` may do what a Sink may not, and ends the query by returning false. Returns
/// what it returned last.
bool stream_in_parts(const std::string& sql, const std::vector<Arg>& args, Sink& sink,
                     const std::function<bool()>& between);

} // namespace pg_retention::boundary
