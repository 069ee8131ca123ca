#pragma once
#include "extension/server/arrivals.hpp"
#include "extension/server/select.hpp"

#include <optional>
#include <vector>

/// What refers to the next victims of a run, read by one join for many batches instead of row by row in each.
namespace pg_retention::server {

/// Whether what refers by an edge follows from the referring row and its parent alone, so that nothing but new rows can
/// add to it: declared bonds may ask other tables, or functions that answer differently each time.
[[nodiscard]] bool follows_from_its_rows(const Edge& edge);

/// Rows that referred to some rows of the target, the parents, under one snapshot, and what has come to their tables
/// since. A row that still is the version which was read still refers to the same parents; a reference that is new is
/// one of a row that has come. Both hold while the parents too are the versions that were read.
class Kin {
public:
  /// Reads under the active snapshot, which also chose `parents` or came later; these are in physical order.
  Kin(const Resolved& resolved, std::vector<core::RowKey> parents, core::Leaves& leaves, std::size_t memory);

  /// Whether all fitted `memory`; if not, nothing may be asked.
  [[nodiscard]] bool fits() const { return fits_; }
  /// How often the tables had to be asked.
  [[nodiscard]] int misses() const { return misses_; }
  /// Bytes in use.
  [[nodiscard]] std::size_t memory() const;
  /// Whether the policy's dependents and their tables are still those that were read.
  [[nodiscard]] bool is_about(const Resolved& resolved) const;

  /// The rows that now hang on `rows` (in physical order) by an edge, as a snapshot taken after the call sees them.
  /// What keeps new references from coming must be done before: the locks on `rows`, which are the versions that were
  /// read. nullopt where the table has to be asked.
  [[nodiscard]] std::optional<std::vector<Reference>>
  references(const Edge& edge, std::size_t number, const std::vector<core::RowKey>& rows, core::Leaves& leaves);

private:
  struct Known {
    core::RowKey parent, child;
    std::uint32_t xmin;
  };
  /// What was read for one edge.
  struct Relatives {
    core::Bond bond;
    std::vector<Known> known;       ///< by parent
    std::vector<Arrivals> arrivals; ///< empty where nothing is known
  };
  class KnownSink;
  std::vector<core::RowKey> parents_;
  std::vector<Relatives> edges_;
  bool fits_ = true;
  int misses_ = 0;

  [[nodiscard]] bool knows(const std::vector<core::RowKey>& rows) const;
  [[nodiscard]] static std::vector<Reference>
  still_standing(const Relatives& edge, const std::vector<core::RowKey>& rows, const core::Leaves& leaves);
};

} // namespace pg_retention::server
