#pragma once
#include "extension/core/cutoff.hpp"
#include "extension/core/graph.hpp"

#include <optional>
#include <string>
#include <vector>

/// The statements a rule compiles to. Aliases that a user's own SQL may use: target, subject, activity.
namespace pg_retention::core {

/// Rows whose youth keeps the subject alive.
struct ActivitySource {
  Relation relation;
  TimeColumn time;
  std::string join_condition, condition;
};

/// A policy held against the catalog: everything resolved that a statement needs.
struct Rule {
  Relation target;
  Path path; ///< from target to subject; empty: the target is the subject
  std::optional<TimeColumn> time;
  std::vector<ActivitySource> activities;
  std::vector<std::string> conditions;
  std::string set_clause; ///< of action 'update'

  [[nodiscard]] const Relation& subject() const { return path.empty() ? target : path.back().parent; }
};

/// SELECT of the victims; $1 is the cutoff (timestamptz). Columns: tableoid and ctid of the target's row, then of
/// each row of the path up to the subject; `with_instant` adds the time column's instant (NULL without one).
[[nodiscard]] std::string victims_select(const Rule& rule, bool with_instant = false);

/// SELECT of the rows on the path of expired subjects, without the target; $1 is the cutoff. Columns: tableoid and ctid
/// of each step up to the subject, then the column of the first step that the target refers to. Only for rules with a
/// path whose first key has one column, and without conditions.
[[nodiscard]] std::string chains_select(const Rule& rule);

/// FROM and WHERE of the same, for lists: aliases target, step_1, ..., subject.
[[nodiscard]] std::string victims_source(const Rule& rule);

/// Every subject with the rows of the target that lead to it, LEFT JOINed: FROM alone, the same aliases. Only for
/// rules with a path.
[[nodiscard]] std::string subjects_source(const Rule& rule);

/// The alias that carries the rule's time: subject, or target where it is its own subject.
[[nodiscard]] std::string subject_alias(const Rule& rule);

/// Counts the subjects that are expired, whether they have victims or not; $1 is the cutoff.
[[nodiscard]] std::string expired_subjects_count(const Rule& rule);

/// SELECT of tableoid and ctid of those subjects among the rows $2 (tid[]) that activity keeps alive; $1 is the
/// cutoff. Only for rules with activities.
[[nodiscard]] std::string returned_subjects_select(const Rule& rule);

/// SELECT of the rows that refer by `key` to the rows $1 (tid[]): tableoid, ctid of child and of parent.
[[nodiscard]] std::string children_select(const ForeignKey& key);

/// The statement that removes `remove` and updates `update` rows at once, so that keys between them, self-references
/// and cycles are checked when all are gone. See RowChange.
struct RowChange {
  Relation leaf, root; ///< the table the rows lie in, and the one the policy names
  bool is_update = false;
  std::string set_clause; ///< of an update
};

/// Changes row sets $1, $2, ... (tid[] each, one per change) in one statement and returns one row of counts, in order.
/// With `key` (a column of the first change's table), a last column has up to 1,000 keys of changed rows as text[].
[[nodiscard]] std::string change_statement(const std::vector<RowChange>& changes, const std::string& key = {});

/// The alias of a path's step: step_1, ..., subject.
[[nodiscard]] std::string step_alias(const Rule& rule, std::size_t step);

} // namespace pg_retention::core
