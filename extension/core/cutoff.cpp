#include "extension/core/cutoff.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"

namespace pg_retention::core {
namespace {

/// How many units one second has.
const char* per_second(TimeUnit unit) {
  switch (unit) {
  case TimeUnit::microseconds:
    return "1000000";
  case TimeUnit::milliseconds:
    return "1000";
  default:
    return "1";
  }
}

std::string in_zone(std::string_view cutoff, const TimeColumn& time) {
  return "pg_catalog.timezone(" + quote_literal(time.zone) + ", " + std::string(cutoff) + ")";
}

/// The cutoff in the column's own kind of time, rounded so that rows are kept longer, never shorter.
std::string bound(const TimeColumn& time, std::string_view cutoff) {
  switch (time.kind) {
  case TimeKind::timestamptz:
    return std::string(cutoff);
  case TimeKind::timestamp:
    return in_zone(cutoff, time);
  case TimeKind::date:
    return "(" + in_zone(cutoff, time) + ")::pg_catalog.date";
  case TimeKind::integer:
    return "pg_catalog.floor(EXTRACT(epoch FROM " + std::string(cutoff) + ") * " + per_second(time.unit) +
           ")::pg_catalog.int8";
  case TimeKind::uuid:
    // Version 7 begins with 48 bits of milliseconds since 1970; before that nothing is older.
    return "pg_catalog.rpad(pg_catalog.lpad(pg_catalog.to_hex(GREATEST(pg_catalog.floor(EXTRACT(epoch FROM " +
           std::string(cutoff) + ") * 1000)::pg_catalog.int8, 0)), 12, '0'), 32, '0')::pg_catalog.uuid";
  }
  return std::string(cutoff);
}

std::string column_of(std::string_view alias, const TimeColumn& time) {
  return std::string(alias) + "." + quote_identifier(time.column);
}

/// Whether a uuid tells a time.
std::string is_version_7(const std::string& column) {
  return "pg_catalog.substr(" + column + "::pg_catalog.text, 15, 1) = '7'";
}

/// Conditions under which the column's value is an instant at all.
std::string meaningful(const std::string& column, const TimeColumn& time) {
  std::string sql;
  if (time.kind == TimeKind::timestamptz || time.kind == TimeKind::timestamp || time.kind == TimeKind::date)
    sql += " AND " + column + " > '-infinity'";
  if (time.kind == TimeKind::uuid)
    sql += " AND " + is_version_7(column);
  for (const std::string& value : time.never)
    sql += " AND " + column + " <> " + quote_literal(value);
  return sql;
}

} // namespace

TimeKind time_kind(std::string_view type_name, TimeUnit unit, std::string_view column) {
  const bool is_integer = type_name == "int4" || type_name == "int8";
  const std::string name = quote_identifier(column);
  if (is_integer && unit == TimeUnit::none)
    throw Failure(sqlstate::invalid_parameter_value,
                  "column " + name + " is an integer and its unit of time is unknown", "",
                  "Say time_unit => 's', 'ms' or 'us'.");
  if (!is_integer && unit != TimeUnit::none)
    throw Failure(sqlstate::invalid_parameter_value, "time_unit is for integer columns only",
                  "Column " + name + " is of type " + std::string(type_name) + ".", "Leave time_unit out.");
  if (is_integer)
    return TimeKind::integer;
  if (type_name == "timestamptz")
    return TimeKind::timestamptz;
  if (type_name == "timestamp")
    return TimeKind::timestamp;
  if (type_name == "date")
    return TimeKind::date;
  if (type_name == "uuid")
    return TimeKind::uuid;
  throw Failure(
      sqlstate::datatype_mismatch, "column " + name + " holds no time", "It is of type " + std::string(type_name) + ".",
      "A time column is timestamptz, timestamp, date, integer or bigint (with time_unit), or uuid version 7.");
}

std::string expired(std::string_view alias, const TimeColumn& time, std::string_view cutoff) {
  const std::string column = column_of(alias, time);
  const std::string old = column + " < " + bound(time, cutoff) + meaningful(column, time);
  if (time.when_null == WhenNull::keep)
    return "(" + old + ")";
  return "(" + column + " IS NULL OR (" + old + "))";
}

std::string young(std::string_view alias, const TimeColumn& time, std::string_view cutoff) {
  return column_of(alias, time) + " >= " + bound(time, cutoff);
}

std::string timeless(std::string_view alias, const TimeColumn& time) {
  const std::string column = column_of(alias, time);
  return column + " IS NULL" + (time.kind == TimeKind::uuid ? " OR NOT " + is_version_7(column) : "");
}

std::string alive(std::string_view alias, const TimeColumn& time, std::string_view cutoff) {
  return "(" + young(alias, time, cutoff) + " OR " + timeless(alias, time) + ")";
}

std::string instant(std::string_view alias, const TimeColumn& time) {
  const std::string column = column_of(alias, time);
  switch (time.kind) {
  case TimeKind::timestamptz:
    return column;
  case TimeKind::timestamp:
    return "pg_catalog.timezone(" + quote_literal(time.zone) + ", " + column + ")";
  case TimeKind::date:
    return "pg_catalog.timezone(" + quote_literal(time.zone) + ", " + column + "::pg_catalog.timestamp)";
  case TimeKind::integer:
    // Held within the years a timestamp can have.
    return "CASE WHEN " + column + " IS NOT NULL THEN pg_catalog.to_timestamp(GREATEST(LEAST(" + column +
           "::pg_catalog.float8 / " + per_second(time.unit) + ", 9000000000000), -200000000000)) END";
  case TimeKind::uuid:
    return "CASE WHEN " + is_version_7(column) +
           " THEN pg_catalog.to_timestamp(('x' || pg_catalog.lpad(pg_catalog.substr(pg_catalog.replace(" + column +
           "::pg_catalog.text, '-', ''), 1, 12), 16, '0'))::pg_catalog.bit(64)::pg_catalog.int8 / 1000.0) END";
  }
  return column;
}

} // namespace pg_retention::core
