#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// A policy as it was said: the fields of its definition, checked for what can be checked without a database.
namespace pg_retention::core {

enum class Action { remove, update, archive };
enum class WhenNull { keep, expire };
enum class OnDependents { refuse, cascade };
enum class TimeUnit { none, seconds, milliseconds, microseconds };

/// A definition, field by field, as the store keeps it; nullopt is NULL.
using Fields = std::map<std::string, std::optional<std::string>, std::less<>>;

/// Rows of another table that prove the subject is alive.
struct Activity {
  std::uint32_t relation = 0; ///< oid
  std::string relation_name;  ///< the last known name, for messages
  std::string time_column;
  TimeUnit unit = TimeUnit::none;
  std::string time_zone; ///< empty: the policy's
  std::string join_condition, condition;
};

/// What happens to the rows of another table that belong to a victim.
struct Dependent {
  std::uint32_t relation = 0; ///< oid
  std::string relation_name;
  std::string label; ///< its role in a preset (`images`); empty outside of presets
  std::string action = "delete";
};

/// A named rule: which rows, when they expire, what happens to them.
struct Policy {
  std::string name;
  std::int64_t id = 0;      ///< 0: a preset that is not stored
  std::int64_t version = 0; ///< 0: a preset that is not stored
  std::uint32_t owner = 0;  ///< role; 0: the owner of the target
  std::string preset;       ///< the application rule that it serves, or empty
  bool paused = false;

  std::uint32_t target = 0, subject = 0; ///< oids; subject 0: the target itself
  std::string target_name, subject_name; ///< the last known names, for messages
  std::vector<std::string> path;         ///< names of the foreign keys from target to subject, where chosen

  Action action = Action::remove;
  std::string set_clause;

  std::string time_column; ///< empty: activity alone decides
  TimeUnit unit = TimeUnit::none;
  std::string time_zone; ///< empty: the setting retention.naive_time_zone
  std::vector<std::string> never;
  WhenNull when_null = WhenNull::keep;
  std::string expire_after; ///< interval, as text
  std::string condition;

  OnDependents dependents = OnDependents::refuse;
  std::vector<Activity> activities;
  std::vector<Dependent> declared;
};

/// 's', 'ms' or 'us'; empty is none. Throws Failure 22023.
[[nodiscard]] TimeUnit time_unit(std::string_view text);

/// The items of a one-dimensional SQL array in its text form, `{a,"b c",NULL}`; NULL items are refused (22004).
[[nodiscard]] std::vector<std::string> array_items(std::string_view text);

/// The reverse: items as an SQL array in its text form.
[[nodiscard]] std::string array_text(const std::vector<std::string>& items);

/// Reads a stored definition. Throws Failure 22023 where a field has a value that it cannot have.
[[nodiscard]] Policy read_policy(const Fields& fields);

/// The name of the action, as users write it.
[[nodiscard]] std::string_view action_name(Action action);

} // namespace pg_retention::core
