#pragma once
#include "extension/server/source.hpp"
#include "extension/server/versions.hpp"

#include <memory>
#include <string>

/// How a committed run goes over its target, chosen by cost and by what the rule looks at.
namespace pg_retention::server {

enum class Way {
  keys,     ///< over the blocks, with the keys of the expired subjects as a set in memory
  ranges,   ///< over the blocks, range by range judged by the rule's statement
  versions, ///< over a list of rows chosen at the start, each recognised by its version
  judged,   ///< over such a list, every batch judged again by the rule's whole statement
};

struct Strategy {
  Way way;
  std::string reason;       ///< for people
  bool takes_turns = false; ///< of an update over a list: the rows of a page go in turns, see core/turns.hpp
};

/// The word for a walk, as `retention.walk` has it: blocks or list.
[[nodiscard]] const char* walk_name(Way way);

/// How a run is bounded, as far as its way depends on it.
struct Bounds {
  bool is_sliced = false;  ///< other sessions work on the same target
  bool is_limited = false; ///< it ends after some rows
};

/// Chooses the way for a policy, under the active snapshot.
[[nodiscard]] Strategy choose_strategy(const Resolved& resolved, TimestampTz cutoff, Bounds bounds);

/// Whether the rows of a page may be updated in turns, and what one has replaced be given back before the next: where
/// nothing but the run's own statement replaces rows in its transactions, so that a version which is given back is of a
/// row that is done; where that statement goes to the rows of one table, not to the same places of each partition; and
/// where the table is large enough for that to matter.
[[nodiscard]] bool can_take_turns(const Resolved& resolved);

/// What a run remembers over its batches. Nothing of it is a place alone: a place means a row only together with the
/// transaction that wrote it.
class Remembered {
public:
  /// Reads what the way needs, under the active snapshot of the run's first transaction. Where it does not fit
  /// retention.work_mem, `strategy` becomes `judged`, whose list may spill to disk. So many rows take turns at a time.
  Remembered(Strategy& strategy, const core::Rule& rule, TimestampTz cutoff, core::Leaves& leaves, core::Slice slice,
             std::size_t in_turns);

  /// An empty list of rows, for one that is read in parts.
  explicit Remembered(const core::Rule& rule, std::size_t in_turns = 0);
  void add(core::RowKey row);
  /// Ends the adding.
  void close() { list_.close(); }

  [[nodiscard]] Source& source() { return *source_; }
  [[nodiscard]] core::Chains& chains() { return chains_; }
  /// The watch over the chains; nullptr where there are none.
  [[nodiscard]] Watch* watch() { return watch_.get(); }
  /// Rows of a list that is judged by statements.
  [[nodiscard]] Spool& list() { return list_; }
  /// Victims of the whole target, all slices, where a list was made.
  [[nodiscard]] std::uint64_t chosen() const { return chosen_; }

  /// Bytes in use.
  [[nodiscard]] std::size_t memory() const { return chains_.memory() + list_.memory(); }

  /// Frees what is outside of memory; to be called when the run ends, whatever way.
  void drop() noexcept { list_.drop(); }

private:
  core::Chains chains_;
  Spool list_;
  std::unique_ptr<Watch> watch_;
  std::unique_ptr<Source> source_;
  std::uint64_t chosen_ = 0;

  void fill(Strategy& strategy, const core::Rule& rule, TimestampTz cutoff, core::Leaves& leaves, core::Slice slice);
  [[nodiscard]] bool read_keys(const core::Rule& rule, TimestampTz cutoff, core::Leaves& leaves, std::size_t memory);
  [[nodiscard]] bool read_list(const core::Rule& rule, TimestampTz cutoff, core::Leaves& leaves, core::Slice slice,
                               bool with_versions, std::size_t memory);
};

} // namespace pg_retention::server
