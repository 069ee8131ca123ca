#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// A policy as it was said: the fields of its definition, checked for what can be checked without a database.
namespace pg_retention::core {

/// `restore` is a run's alone: no policy has it.
enum class Action { remove, update, archive, restore };
enum class WhenNull { keep, expire };
enum class OnDependents { refuse, cascade };
/// How several time columns decide: each must be expired, or one suffices.
enum class TimeMatch { all, any };
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

/// What happens to the rows of another table that belong to a row that goes.
enum class DependentAction { remove, set_null, keep, refuse };
struct Dependent {
  std::uint32_t relation = 0; ///< oid
  std::string relation_name;
  std::string label; ///< its role in a preset (`images`); empty outside of presets
  DependentAction action = DependentAction::remove;
  std::string join_condition; ///< SQL over dependent and target, where no foreign key says it
  std::uint32_t parent = 0;   ///< oid of the table that it hangs on; 0: the policy's target
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

  std::vector<std::string> time_columns; ///< empty: activity or an expression decides
  TimeMatch time_match = TimeMatch::all;
  std::string expiry_expression; ///< SQL over target and subject: the instant of expiry
  TimeUnit unit = TimeUnit::none;
  std::string time_zone; ///< empty: the setting retention.naive_time_zone
  std::vector<std::string> never;
  WhenNull when_null = WhenNull::keep;
  std::string expire_after; ///< interval, as text
  std::string condition;
  std::optional<std::int64_t> keep_latest; ///< the newest so many stay, whatever their age
  std::vector<std::string> keep_per;       ///< ... of each group of these columns
  std::optional<std::int64_t> max_rows;    ///< the fuse: more victims stop the run before its first change
  std::optional<double> max_fraction;      ///< the same, of the target's rows
  bool record_keys = false;                ///< runs keep the primary keys of the rows they change
  std::optional<double> max_deviation;     ///< the same, of the median of the last runs; 0: none
  std::uint32_t archive_to = 0;            ///< oid; of action archive
  std::string archive_name;                ///< the last known name

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

/// The word for what happens to dependents, and its meaning; throws Failure 22023 for another.
[[nodiscard]] std::string_view dependent_action_name(DependentAction action);
[[nodiscard]] DependentAction dependent_action(std::string_view word);

/// The name of the action, as users write it.
[[nodiscard]] std::string_view action_name(Action action);

} // namespace pg_retention::core
