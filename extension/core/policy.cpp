#include "extension/core/policy.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <stdexcept>
#include <utility>

namespace pg_retention::core {
namespace {

const std::optional<std::string>& field(const Fields& fields, std::string_view name) {
  static const std::optional<std::string> absent;
  const auto found = fields.find(name);
  return found == fields.end() ? absent : found->second;
}

std::string text(const Fields& fields, std::string_view name) { return field(fields, name).value_or(""); }

/// A number in a field; throws Failure 22P02 where it is none. 0 for absence.
template <class Number>
Number number(const Fields& fields, std::string_view name, Number (*read)(const std::string&, std::size_t*)) {
  const auto& value = field(fields, name);
  if (!value)
    return 0;
  std::size_t end = 0;
  Number out = 0;
  try {
    out = read(*value, &end);
  } catch (const std::logic_error&) {
    end = 0;
  }
  if (end == 0 || end != value->size())
    throw Failure("22P02", "invalid number for " + std::string(name) + ": " + quote_literal(*value));
  return out;
}

std::int64_t whole(const std::string& text, std::size_t* end) { return std::stoll(text, end); }
double real(const std::string& text, std::size_t* end) { return std::stod(text, end); }

std::int64_t number(const Fields& fields, std::string_view name) { return number<std::int64_t>(fields, name, whole); }

bool truth(const Fields& fields, std::string_view name) {
  const std::string value = text(fields, name);
  return value == "t" || value == "true";
}

std::vector<std::string> items(const Fields& fields, std::string_view name) {
  const auto& value = field(fields, name);
  return value ? array_items(*value) : std::vector<std::string>{};
}

/// The meaning of a word out of a short list; the first is what absence means.
template <class Meaning>
Meaning word(const Fields& fields, std::string_view name,
             std::initializer_list<std::pair<std::string_view, Meaning>> meanings) {
  const auto& value = field(fields, name);
  if (!value)
    return meanings.begin()->second;
  std::vector<std::string> known;
  for (const auto& [spelling, meaning] : meanings) {
    if (*value == spelling)
      return meaning;
    known.push_back("'" + std::string(spelling) + "'");
  }
  throw Failure(sqlstate::invalid_parameter_value,
                "invalid value for " + std::string(name) + ": " + quote_literal(*value), "",
                "It is one of " + join(known, ", ") + ".");
}

[[noreturn]] void refuse(const char* message, const char* hint) {
  throw Failure(sqlstate::invalid_parameter_value, message, "", hint);
}

/// Refuses a list of columns that has one of them more than once.
void require_distinct(std::vector<std::string> columns, const std::string& list) {
  std::sort(columns.begin(), columns.end());
  const auto twice = std::adjacent_find(columns.begin(), columns.end());
  if (twice != columns.end())
    throw Failure(sqlstate::invalid_parameter_value,
                  list + " has column " + quote_identifier(*twice) + " more than once");
}

/// Refuses fields that contradict each other or have values that cannot be.
void require_sense(const Policy& policy) {
  require_distinct(policy.time_columns, "time_columns");
  require_distinct(policy.keep_per, "keep_per");
  if (policy.action == Action::update && policy.set_clause.empty())
    refuse("action 'update' needs a set_clause",
           "For example action => 'update', set_clause => $$status = 'Expired'$$.");
  if (policy.action != Action::update && !policy.set_clause.empty())
    refuse("set_clause is for action 'update' only", "Leave it out, or say action => 'update'.");
  if (policy.action != Action::archive && policy.archive_to != 0)
    refuse("archive_to is for action 'archive' only", "Leave it out, or say action => 'archive'.");
  if (!policy.expiry_expression.empty() && !policy.time_columns.empty())
    refuse("expiry_expression takes the place of time_column", "Give one of the two.");
  if (policy.time_columns.empty() && !policy.never.empty())
    refuse("never needs a time_column", "It names values of that column.");
  if (!policy.expiry_expression.empty() && policy.when_null != WhenNull::keep)
    refuse("when_null is for time columns", "An expiry_expression that gives NULL never expires.");
  if (policy.time_columns.empty() && policy.unit != TimeUnit::none)
    refuse("time_unit needs a time_column", "It says how that column's integers are read.");
  if (policy.keep_latest && *policy.keep_latest <= 0)
    refuse("keep_latest must be greater than zero", "Leave it out to keep none.");
  if (!policy.keep_per.empty() && !policy.keep_latest)
    refuse("keep_per needs keep_latest", "For example keep_latest => 3.");
  if (policy.keep_latest && policy.subject != 0)
    refuse("keep_latest needs a time of the target's own", "Leave subject out.");
  if (policy.keep_latest && policy.time_columns.empty() && policy.expiry_expression.empty())
    refuse("keep_latest needs a time_column or an expiry_expression", "It decides which rows are the newest.");
  if (policy.max_rows && *policy.max_rows < 0)
    refuse("max_rows must not be negative", "Leave it out for no limit.");
  if (policy.max_fraction && !(*policy.max_fraction >= 0 && *policy.max_fraction <= 1))
    refuse("max_fraction must be between 0 and 1", "For example 0.25: a quarter of the table.");
  if (policy.max_deviation && *policy.max_deviation != 0 &&
      !(*policy.max_deviation >= 1 && std::isfinite(*policy.max_deviation)))
    refuse("max_deviation must be at least 1, or 0",
           "For example 3: at most three times the median of the last runs; 0: no such limit.");
}

} // namespace

TimeUnit time_unit(std::string_view text) {
  if (text.empty())
    return TimeUnit::none;
  if (text == "s")
    return TimeUnit::seconds;
  if (text == "ms")
    return TimeUnit::milliseconds;
  if (text == "us")
    return TimeUnit::microseconds;
  throw Failure(sqlstate::invalid_parameter_value, "invalid value for time_unit: " + quote_literal(text), "",
                "It is one of 's', 'ms', 'us'.");
}

std::vector<std::string> array_items(std::string_view text) {
  std::vector<std::string> out;
  if (text.size() < 2 || text.front() != '{' || text.back() != '}')
    throw Failure(sqlstate::invalid_parameter_value, "not a one-dimensional array: " + quote_literal(text));
  const std::string_view body = text.substr(1, text.size() - 2);
  std::size_t i = 0;
  while (i < body.size()) {
    std::string item;
    const bool quoted = body[i] == '"';
    if (quoted)
      ++i;
    while (i < body.size() && (quoted ? body[i] != '"' : body[i] != ',')) {
      if (!quoted && (body[i] == '{' || body[i] == '}'))
        throw Failure(sqlstate::invalid_parameter_value, "not a one-dimensional array: " + quote_literal(text));
      if (body[i] == '\\' && i + 1 < body.size())
        ++i;
      item += body[i++];
    }
    if (quoted)
      ++i;
    if (!quoted && item == "NULL")
      throw Failure(sqlstate::null_value_not_allowed, "array must not contain null values");
    out.push_back(std::move(item));
    if (i < body.size() && body[i] == ',')
      ++i;
  }
  return out;
}

std::string array_text(const std::vector<std::string>& items) {
  std::vector<std::string> quoted;
  for (const std::string& item : items) {
    std::string out = "\"";
    for (const char c : item) {
      if (c == '"' || c == '\\')
        out += '\\';
      out += c;
    }
    quoted.push_back(out + "\"");
  }
  return "{" + join(quoted, ",") + "}";
}

Policy read_policy(const Fields& fields) {
  Policy policy;
  policy.name = text(fields, "name");
  policy.id = number(fields, "id");
  policy.version = number(fields, "version");
  policy.owner = static_cast<std::uint32_t>(number(fields, "owner"));
  policy.preset = text(fields, "preset");
  policy.paused = truth(fields, "paused");
  policy.target = static_cast<std::uint32_t>(number(fields, "target"));
  policy.subject = static_cast<std::uint32_t>(number(fields, "subject"));
  policy.target_name = text(fields, "target_name");
  policy.subject_name = text(fields, "subject_name");
  policy.path = items(fields, "path");
  policy.action = word<Action>(fields, "action",
                               {{"delete", Action::remove}, {"update", Action::update}, {"archive", Action::archive}});
  policy.set_clause = text(fields, "set_clause");
  policy.time_columns = items(fields, "time_columns");
  if (const std::string only = text(fields, "time_column"); !only.empty())
    policy.time_columns = {only};
  policy.time_match = word<TimeMatch>(fields, "time_match", {{"all", TimeMatch::all}, {"any", TimeMatch::any}});
  policy.expiry_expression = text(fields, "expiry_expression");
  policy.unit = time_unit(text(fields, "time_unit"));
  policy.time_zone = text(fields, "time_zone");
  policy.never = items(fields, "never");
  policy.when_null = word<WhenNull>(fields, "when_null", {{"keep", WhenNull::keep}, {"expire", WhenNull::expire}});
  policy.expire_after = text(fields, "expire_after");
  policy.condition = text(fields, "condition");
  policy.dependents =
      word<OnDependents>(fields, "dependents", {{"refuse", OnDependents::refuse}, {"cascade", OnDependents::cascade}});
  if (field(fields, "keep_latest"))
    policy.keep_latest = number(fields, "keep_latest");
  policy.keep_per = items(fields, "keep_per");
  if (field(fields, "max_rows"))
    policy.max_rows = number(fields, "max_rows");
  if (field(fields, "max_fraction"))
    policy.max_fraction = number<double>(fields, "max_fraction", real);
  policy.record_keys = truth(fields, "record_keys");
  if (field(fields, "max_deviation"))
    policy.max_deviation = number<double>(fields, "max_deviation", real);
  policy.archive_to = static_cast<std::uint32_t>(number(fields, "archive_to"));
  policy.archive_name = text(fields, "archive_name");
  if (policy.subject == policy.target)
    policy.subject = 0;
  require_sense(policy);
  return policy;
}

std::string_view dependent_action_name(DependentAction action) {
  switch (action) {
  case DependentAction::set_null:
    return "set_null";
  case DependentAction::keep:
    return "keep";
  case DependentAction::refuse:
    return "refuse";
  case DependentAction::remove:
    break;
  }
  return "delete";
}

DependentAction dependent_action(std::string_view word) {
  for (const auto action :
       {DependentAction::remove, DependentAction::set_null, DependentAction::keep, DependentAction::refuse})
    if (word == dependent_action_name(action))
      return action;
  throw Failure(sqlstate::invalid_parameter_value, "invalid action for a dependent: " + quote_literal(word), "",
                "It is one of 'delete', 'set_null', 'keep', 'refuse'.");
}

std::string_view action_name(Action action) {
  switch (action) {
  case Action::update:
    return "update";
  case Action::archive:
    return "archive";
  case Action::restore:
    return "restore";
  case Action::remove:
    break;
  }
  return "delete";
}

} // namespace pg_retention::core
