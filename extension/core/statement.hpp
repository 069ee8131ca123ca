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
  bool time_is_indexed = false; ///< an index has the time column: young rows are found without reading the others
};

/// A policy held against the catalog: everything resolved that a statement needs.
struct Rule {
  Relation target;
  Path path;                     ///< from target to subject; empty: the target is the subject
  std::vector<TimeColumn> times; ///< of the subject
  TimeMatch match = TimeMatch::all;
  std::string expiry_expression; ///< SQL of type timestamptz over target and subject
  std::vector<ActivitySource> activities;
  std::vector<std::string> conditions;
  std::string set_clause; ///< of action 'update'
  std::int64_t keep_latest = 0;
  std::vector<std::string> keep_per;
  bool is_leaf = false; ///< the target stands for its own rows alone, not for those of its partitions or heirs

  [[nodiscard]] const Relation& subject() const { return path.empty() ? target : path.back().parent; }
};

/// SELECT of the victims; $1 is the cutoff (timestamptz). Columns: tableoid and ctid of the target's row, then of
/// each row of the path up to the subject; `with_instant` adds the time column's instant (NULL without one).
[[nodiscard]] std::string victims_select(const Rule& rule, bool with_instant = false);

/// The same by versions: tableoid, ctid and xmin of the target's row, then of each row of the path.
[[nodiscard]] std::string victim_versions_select(const Rule& rule);

/// SELECT of tableoid, ctid and xmin of the victims from the place $2 up to $3 (tid), without the latter, of a rule
/// whose target is one leaf.
[[nodiscard]] std::string victims_between_select(const Rule& rule);

/// SELECT of the rule's own conditions and expression, over target and subject; empty where it has none.
[[nodiscard]] std::string conditions_probe(const Rule& rule);

/// SELECT of the rows on the path of expired subjects, without the target; $1 is the cutoff. Columns: tableoid and ctid
/// of each step up to the subject, then the column of the first step that the target refers to. Only for rules with a
/// path whose first key has one column, and without conditions. With `with_versions`, xmin stands after each ctid.
[[nodiscard]] std::string chains_select(const Rule& rule, bool with_versions = false);

/// The FROM list that a policy's own SQL may refer to: target, the path, subject.
[[nodiscard]] std::string scope(const Rule& rule);

/// The same for a target that is its own subject, without the name subject.
[[nodiscard]] std::string scope_of_target(const Rule& rule);

/// SELECT of the expiry expression alone, over target and subject: to learn its type.
[[nodiscard]] std::string expression_probe(const Rule& rule);

/// SQL for the instant that decides: the latest of the times, the earliest where one suffices, or the expression.
/// `NULL::timestamptz` where activity alone decides.
[[nodiscard]] std::string deciding_instant(const Rule& rule);

/// SQL for the earliest and the latest deciding instant of many rows: `min`, `max`.
[[nodiscard]] std::string bound_of_instants(const Rule& rule, const std::string& bound);

/// SQL that is true where the rule's times are expired; $1 is the cutoff. Only for rules with times.
[[nodiscard]] std::string times_expired(const Rule& rule);

/// FROM and WHERE of the same, for lists: aliases target, step_1, ..., subject.
[[nodiscard]] std::string victims_source(const Rule& rule);

/// The same by the row that they refer to: FROM alone, one row each, aliases step_1, ..., subject, and
/// target.pg_retention_victims, how many they are. `victims` is victims_source(), with more terms or without. Only for
/// rules with a path.
[[nodiscard]] std::string victims_by_first_step(const Rule& rule, const std::string& victims);

/// Every subject with the rows of the target that lead to it, LEFT JOINed: FROM alone, the same aliases. Only for
/// rules with a path.
[[nodiscard]] std::string subjects_source(const Rule& rule);

/// The alias that carries the rule's time: subject, or target where it is its own subject.
[[nodiscard]] std::string subject_alias(const Rule& rule);

/// Counts the subjects that are expired, whether they have victims or not; $1 is the cutoff.
[[nodiscard]] std::string expired_subjects_count(const Rule& rule);

/// SELECT of tableoid and ctid of those subjects among the rows $2 (tid[]) that activity keeps alive; $1 is the
/// cutoff. With `is_among`, only activity at the places $3 (tid[]) is looked at. Only for rules with activities.
[[nodiscard]] std::string returned_subjects_select(const Rule& rule, bool is_among = false);

/// SELECT of what an activity has to be beside young, over the subject and it.
[[nodiscard]] std::string activity_probe(const Rule& rule, const ActivitySource& source);

/// All that users' SQL says of the rule's rows: conditions_probe() and the activity_probe() of each activity.
[[nodiscard]] std::vector<std::string> probes_of(const Rule& rule);

/// How rows of one table hang on rows of another.
struct Bond {
  Relation child, parent;
  std::string condition;            ///< SQL over the aliases dependent and target
  std::vector<std::string> columns; ///< of a foreign key: the referring columns
  bool is_key = false;              ///< of a foreign key: plain tables without their inheritance children
};

/// A foreign key as a bond.
[[nodiscard]] Bond bond_of(const ForeignKey& key);

/// SELECT of what the bond says of two rows, over dependent and target.
[[nodiscard]] std::string bond_probe(const Bond& bond);

/// All that users' SQL says of them: of a foreign key nothing.
[[nodiscard]] std::vector<std::string> probes_of(const Bond& bond);

/// SELECT of the rows that hang by `bond` on the rows $1 (tid[]): tableoid, ctid of child and of parent.
[[nodiscard]] std::string children_select(const Bond& bond);

/// The same with xmin of the child as a fifth column.
[[nodiscard]] std::string child_versions_select(const Bond& bond);

/// The same as children_select() for the children at the places $2 (tid[]).
[[nodiscard]] std::string children_among_select(const Bond& bond);

/// Rows of one leaf table, and what shall happen to them.
struct RowChange {
  Relation leaf, root;       ///< the table the rows lie in, and the one the policy names
  std::string set_clause;    ///< of an update; empty: they are deleted
  bool through_root = false; ///< the statement names the root, where one on the leaf might do something else
  Relation archive;          ///< where deleted rows are put; oid 0: nowhere
  std::vector<std::string> archived_columns;
  std::int64_t run_id = 0; ///< written to the archive
};

/// An UPDATE of every row by a set clause: to learn what it sets, not to be run.
[[nodiscard]] std::string update_probe(const Relation& table, const std::string& set_clause);

/// The statement that makes one change of the rows $1 (tid[]), without an archive.
[[nodiscard]] std::string plain_statement(const RowChange& change);

/// Changes the row sets $1, $2, ... (tid[] each, one per change) at once, so that keys between them, self-references
/// and cycles are checked when all is done. Returns one row: a count for each change, then one for each archive, in
/// order. With `key` (an SQL value over target, of the first change), a last column has up to 1,000 keys of changed
/// rows as text[].
[[nodiscard]] std::string change_statement(const std::vector<RowChange>& changes, const std::string& key = {});

/// The alias of a path's step: step_1, ..., subject.
[[nodiscard]] std::string step_alias(const Rule& rule, std::size_t step);

} // namespace pg_retention::core
