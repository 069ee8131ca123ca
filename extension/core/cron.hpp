#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

/// When a cron schedule comes due next: five fields (lists, ranges, steps, names of months and days), the @words,
/// and `N seconds`.
namespace pg_retention::core {

/// A minute of the calendar, without a zone.
struct CivilMinute {
  int year, month, day, hour, minute;
};

/// The first minute strictly after `after` that the schedule names; nullopt where it names none within four years,
/// or cannot be read, or is not bound to the calendar (@reboot, `N seconds`).
[[nodiscard]] std::optional<CivilMinute> next_due(std::string_view schedule, const CivilMinute& after);

/// Days since 1970-01-01 of a civil date, and the reverse.
[[nodiscard]] std::int64_t days_of(int year, int month, int day);
[[nodiscard]] CivilMinute date_of(std::int64_t days);

} // namespace pg_retention::core
