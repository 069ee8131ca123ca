#include "extension/core/cron.hpp"

#include <array>
#include <cctype>
#include <charconv>
#include <string>
#include <vector>

namespace pg_retention::core {
namespace {

/// The values that one field allows; `is_star` as cron means it for the two fields of the day.
struct Field {
  std::array<bool, 60> allowed{};
  bool is_star = false;
};

struct Schedule {
  Field minute, hour, day, month, weekday;
};

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= text.size(); ++i)
    if (i == text.size() || text[i] == separator) {
      parts.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    }
  return parts;
}

/// A number, or a name of three letters counted from `first_name`; -1 for neither.
int value_of(std::string_view text, std::string_view names, int first_name) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size())
    return value;
  if (text.size() != 3)
    return -1;
  std::string lower;
  for (const char c : text)
    lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const std::size_t at = names.find(lower);
  return at == std::string_view::npos || at % 3 != 0 ? -1 : static_cast<int>(at / 3) + first_name;
}

/// Reads one field with values from `low` to `high`; false where it cannot be read.
bool read_field(std::string_view text, int low, int high, std::string_view names, Field& field) {
  for (const std::string_view item : split(text, ',')) {
    const auto stepped = split(item, '/');
    if (stepped.empty() || stepped.size() > 2)
      return false;
    const int step = stepped.size() == 2 ? value_of(stepped[1], "", 0) : 1;
    int first = low, last = high;
    if (stepped[0] == "*") {
      field.is_star = true;
    } else {
      const auto range = split(stepped[0], '-');
      if (range.size() > 2)
        return false;
      first = value_of(range[0], names, low);
      last = range.size() == 2 ? value_of(range[1], names, low) : stepped.size() == 2 ? high : first;
    }
    if (step < 1 || first < low || last > high || first > last)
      return false;
    for (int value = first; value <= last; value += step)
      field.allowed[static_cast<std::size_t>(value)] = true;
  }
  return true;
}

std::string_view expanded(std::string_view schedule) {
  if (schedule == "@hourly")
    return "0 * * * *";
  if (schedule == "@daily" || schedule == "@midnight")
    return "0 0 * * *";
  if (schedule == "@weekly")
    return "0 0 * * 0";
  if (schedule == "@monthly")
    return "0 0 1 * *";
  if (schedule == "@yearly" || schedule == "@annually")
    return "0 0 1 1 *";
  return schedule;
}

std::optional<Schedule> read(std::string_view text) {
  std::vector<std::string_view> fields;
  for (const std::string_view part : split(expanded(text), ' '))
    if (!part.empty())
      fields.push_back(part);
  if (fields.size() != 5)
    return std::nullopt;
  Schedule schedule;
  const bool is_readable = read_field(fields[0], 0, 59, "", schedule.minute) &&
                           read_field(fields[1], 0, 23, "", schedule.hour) &&
                           read_field(fields[2], 1, 31, "", schedule.day) &&
                           read_field(fields[3], 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec", schedule.month) &&
                           read_field(fields[4], 0, 7, "sunmontuewedthufrisat", schedule.weekday);
  if (!is_readable)
    return std::nullopt;
  if (schedule.weekday.allowed[7])
    schedule.weekday.allowed[0] = true;
  return schedule;
}

/// Day of month and day of week are alternatives where both are restricted.
bool names_day(const Schedule& schedule, const CivilMinute& date, std::int64_t days) {
  const auto weekday = static_cast<std::size_t>(((days + 4) % 7 + 7) % 7);
  const bool by_day = schedule.day.allowed[static_cast<std::size_t>(date.day)];
  const bool by_weekday = schedule.weekday.allowed[weekday];
  if (!schedule.month.allowed[static_cast<std::size_t>(date.month)])
    return false;
  return schedule.day.is_star || schedule.weekday.is_star ? by_day && by_weekday : by_day || by_weekday;
}

} // namespace

std::int64_t days_of(int year, int month, int day) {
  const std::int64_t y = month <= 2 ? year - 1 : year;
  const std::int64_t era = (y >= 0 ? y : y - 399) / 400;
  const std::int64_t year_of_era = y - era * 400;
  const std::int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

CivilMinute date_of(std::int64_t days) {
  days += 719468;
  const std::int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const std::int64_t day_of_era = days - era * 146097;
  const std::int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted = (5 * day_of_year + 2) / 153;
  const int month = static_cast<int>(shifted < 10 ? shifted + 3 : shifted - 9);
  const int year = static_cast<int>(year_of_era + era * 400) + (month <= 2 ? 1 : 0);
  return {year, month, static_cast<int>(day_of_year - (153 * shifted + 2) / 5 + 1), 0, 0};
}

std::optional<CivilMinute> next_due(std::string_view text, const CivilMinute& after) {
  const auto schedule = read(text);
  if (!schedule)
    return std::nullopt;
  const std::int64_t today = days_of(after.year, after.month, after.day);
  constexpr int four_years = 4 * 366;
  for (std::int64_t days = today; days <= today + four_years; ++days) {
    CivilMinute candidate = date_of(days);
    if (!names_day(*schedule, candidate, days))
      continue;
    const int begin = days == today ? after.hour * 60 + after.minute + 1 : 0;
    for (int minute = begin; minute < 24 * 60; ++minute) {
      if (!schedule->hour.allowed[static_cast<std::size_t>(minute / 60)])
        continue;
      if (!schedule->minute.allowed[static_cast<std::size_t>(minute % 60)])
        continue;
      candidate.hour = minute / 60;
      candidate.minute = minute % 60;
      return candidate;
    }
  }
  return std::nullopt;
}

} // namespace pg_retention::core
