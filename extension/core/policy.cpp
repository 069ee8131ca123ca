#include "extension/core/policy.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"

#include <initializer_list>
#include <utility>

namespace pg_retention::core {
namespace {

const std::optional<std::string>& field(const Fields& fields, std::string_view name) {
  static const std::optional<std::string> absent;
  const auto found = fields.find(name);
  return found == fields.end() ? absent : found->second;
}

std::string text(const Fields& fields, std::string_view name) { return field(fields, name).value_or(""); }

std::int64_t number(const Fields& fields, std::string_view name) {
  const auto& value = field(fields, name);
  return value ? std::stoll(*value) : 0;
}

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
  if (!value) return meanings.begin()->second;
  std::vector<std::string> known;
  for (const auto& [spelling, meaning] : meanings) {
    if (*value == spelling) return meaning;
    known.push_back("'" + std::string(spelling) + "'");
  }
  throw Failure(sqlstate::invalid_parameter_value,
                "invalid value for " + std::string(name) + ": " + quote_literal(*value), "",
                "It is one of " + join(known, ", ") + ".");
}

} // namespace

TimeUnit time_unit(std::string_view text) {
  if (text.empty()) return TimeUnit::none;
  if (text == "s") return TimeUnit::seconds;
  if (text == "ms") return TimeUnit::milliseconds;
  if (text == "us") return TimeUnit::microseconds;
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
    if (quoted) ++i;
    while (i < body.size() && (quoted ? body[i] != '"' : body[i] != ',')) {
      if (!quoted && (body[i] == '{' || body[i] == '}'))
        throw Failure(sqlstate::invalid_parameter_value, "not a one-dimensional array: " + quote_literal(text));
      if (body[i] == '\\' && i + 1 < body.size()) ++i;
      item += body[i++];
    }
    if (quoted) ++i;
    if (!quoted && item == "NULL")
      throw Failure(sqlstate::null_value_not_allowed, "array must not contain null values");
    out.push_back(std::move(item));
    if (i < body.size() && body[i] == ',') ++i;
  }
  return out;
}

std::string array_text(const std::vector<std::string>& items) {
  std::vector<std::string> quoted;
  for (const std::string& item : items) {
    std::string out = "\"";
    for (const char c : item) {
      if (c == '"' || c == '\\') out += '\\';
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
  policy.action = word<Action>(
      fields, "action", {{"delete", Action::remove}, {"update", Action::update}});
  policy.set_clause = text(fields, "set_clause");
  policy.time_column = text(fields, "time_column");
  policy.unit = time_unit(text(fields, "time_unit"));
  policy.time_zone = text(fields, "time_zone");
  policy.never = items(fields, "never");
  policy.when_null =
      word<WhenNull>(fields, "when_null", {{"keep", WhenNull::keep}, {"expire", WhenNull::expire}});
  policy.expire_after = text(fields, "expire_after");
  policy.condition = text(fields, "condition");
  policy.dependents = word<OnDependents>(
      fields, "dependents", {{"refuse", OnDependents::refuse}, {"cascade", OnDependents::cascade}});
  if (policy.subject == policy.target) policy.subject = 0;
  if ((policy.action == Action::update) == policy.set_clause.empty())
    throw Failure(sqlstate::invalid_parameter_value,
                  policy.set_clause.empty() ? "action 'update' needs a set_clause"
                                            : "set_clause is for action 'update' only",
                  "", "For example action => 'update', set_clause => $$status = 'Expired'$$.");
  return policy;
}

std::string_view action_name(Action action) {
  switch (action) {
  case Action::update:
    return "update";
  case Action::archive:
    return "archive";
  case Action::remove:
    break;
  }
  return "delete";
}

} // namespace pg_retention::core
