#pragma once
#include "extension/core/policy.hpp"

#include <string>
#include <string_view>
#include <vector>

/// When a row counts as expired: the comparison of a time column with the cutoff, as SQL.
namespace pg_retention::core {

/// How a column holds an instant.
enum class TimeKind { timestamptz, timestamp, date, integer, uuid };

/// A column that says when: read as its kind, in its unit or zone.
struct TimeColumn {
  std::string column;
  TimeKind kind = TimeKind::timestamptz;
  TimeUnit unit = TimeUnit::none;
  std::string zone = "UTC";       ///< reads timestamp and date
  std::vector<std::string> never; ///< values that mean "never expires"
  WhenNull when_null = WhenNull::keep;
};

/// The kind of a column by the name of its base type (pg_type.typname); throws Failure 42804 for a type
/// that holds no time, 22023 where an integer has no unit or another type has one.
[[nodiscard]] TimeKind time_kind(std::string_view type_name, TimeUnit unit, std::string_view column);

/// SQL that is true where `alias.column` lies strictly before `cutoff` (an expression of type timestamptz).
/// The column stands bare on its side, so that its index serves. Infinite and `never` values are not expired.
[[nodiscard]] std::string expired(std::string_view alias, const TimeColumn& time, std::string_view cutoff);

/// SQL that is true where `alias.column` proves life: at or after the cutoff, or unknown.
[[nodiscard]] std::string alive(std::string_view alias, const TimeColumn& time, std::string_view cutoff);

/// Its two halves, each of which an index on the column can serve: the time is not older than the cutoff; the time is
/// not known.
[[nodiscard]] std::string young(std::string_view alias, const TimeColumn& time, std::string_view cutoff);
[[nodiscard]] std::string timeless(std::string_view alias, const TimeColumn& time);

/// SQL that reads `alias.column` as timestamptz, for people (oldest, newest, lists).
[[nodiscard]] std::string instant(std::string_view alias, const TimeColumn& time);

} // namespace pg_retention::core
