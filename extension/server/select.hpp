#pragma once
#include "extension/boundary/spi.hpp"
#include "extension/core/rows.hpp"
#include "extension/server/resolve.hpp"

#include <cstdint>
#include <utility>
#include <vector>

/// Choosing rows: who is a victim, and what refers to it. Reads only; the caller has made a snapshot active.
namespace pg_retention::server {

/// A row that the policy chose, and the chain of rows that leads to its subject.
struct Victim {
  core::RowKey key;
  std::uint32_t chain;
  core::Fate fate;
};
[[nodiscard]] inline core::RowKey key_of(const Victim& victim) { return victim.key; }

/// What one look at the data chose. Memory: 16 bytes a victim, some 60 a distinct subject.
struct Selection {
  Selection(core::Leaves& leaves, std::size_t width) : leaves(leaves), guards(width) {}

  core::Leaves& leaves; ///< the run's, so that keys mean the same row in every look
  core::Guards guards;
  std::vector<Victim> victims;                        ///< in physical order
  TimestampTz oldest = DT_NOEND, newest = DT_NOBEGIN; ///< where asked for
};

/// The victims of a rule at `cutoff`, under the active snapshot.
[[nodiscard]] Selection select_victims(const core::Rule& rule, TimestampTz cutoff, core::Leaves& leaves,
                                       bool with_instants = false);

/// The victims among the given rows (sorted), under the active snapshot.
[[nodiscard]] Selection select_victims_among(const core::Rule& rule, TimestampTz cutoff,
                                             const std::vector<core::RowKey>& rows, core::Leaves& leaves);

/// The row that a pair of columns (tableoid, ctid) of a result means.
[[nodiscard]] core::RowKey row_at(const Datum* values, std::size_t column, core::Leaves& leaves);

/// A set of rows as a parameter of type tid[]. It lives in the current memory context. Leaves are not told apart:
/// what a statement returns for it must be looked up by leaf and place.
[[nodiscard]] boundary::Arg tid_array(const std::vector<core::RowKey>& rows);

/// A referring row and the row that it refers to.
struct Reference {
  core::RowKey child, parent;
};

/// Sorts them by child, then by parent, each once.
void sort_once(std::vector<Reference>& references);

/// A bond to parts of its parents' table, and the parents that lie there: see by_part() in parts.hpp.
[[nodiscard]] std::vector<std::pair<core::Bond, std::vector<core::RowKey>>>
by_parent(const core::Bond& bond, const std::vector<core::RowKey>& parents, const core::Leaves& leaves);

/// The rows that hang by `bond` on any of `parents`, under the active snapshot: as sort_once() leaves them. Leaves are
/// not told apart where all parts are read at once.
[[nodiscard]] std::vector<Reference> select_children(const core::Bond& bond, const std::vector<core::RowKey>& parents,
                                                     core::Leaves& leaves);

/// The pairs that `sql` gives: tableoid, ctid of child and of parent, under the active snapshot.
[[nodiscard]] std::vector<Reference> select_references(const std::string& sql, const std::vector<boundary::Arg>& args,
                                                       core::Leaves& leaves);

/// Rows given as tableoid and ctid by `sql`, under the active snapshot.
[[nodiscard]] std::vector<core::RowKey> select_rows(const std::string& sql, const std::vector<boundary::Arg>& args,
                                                    core::Leaves& leaves);

/// The primary key of a row as a jsonb object, columns by name, under the active snapshot; no row where it does not see
/// the row. `keyless` is the SQL of what stands for it where the table has none, of `t`.
[[nodiscard]] boundary::Rows select_key(const core::Relation& leaf, core::RowKey row, const std::string& keyless);

/// Those of the rows (sorted) that are still there, under a snapshot of this moment.
[[nodiscard]] std::vector<core::RowKey> standing_rows(const core::Relation& target,
                                                      const std::vector<core::RowKey>& rows, core::Leaves& leaves);

/// A snapshot that sees everything committed by now and all that this transaction did; it stays active, and keeps
/// what it sees from being vacuumed away, until pop_snapshot().
void push_latest_snapshot();
void pop_snapshot();

} // namespace pg_retention::server
