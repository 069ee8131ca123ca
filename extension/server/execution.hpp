#pragma once
#include "extension/server/resolve.hpp"
#include "extension/server/run.hpp"
#include "extension/server/select.hpp"

#include <unordered_set>
#include <vector>

/// What a run does inside its transaction: choose, hold, judge again, change, and add up.
namespace pg_retention::server {

/// One run, or one batch after another of it, with its owner's rights. What was done is added to the outcome.
class Execution {
public:
  Execution(const Resolved& resolved, const RunOptions& options, Outcome& outcome)
      : resolved_(resolved), options_(options), outcome_(outcome) {}

  /// Everything in one go, up to three passes while rows change under it.
  void run();

  /// The places of the rows that are victims now, for batches: hints, that each batch judges anew. The fuse acts here:
  /// where it blows, the outcome says so and there are none.
  [[nodiscard]] std::vector<core::RowKey> candidates(core::Leaves& leaves);

  /// Judges these rows, sorted, and changes those that are victims now. Returns the rows that stayed though they are
  /// victims, for another try; why they stayed is not added to the outcome unless `is_last_try`.
  [[nodiscard]] std::vector<core::RowKey> batch(const std::vector<core::RowKey>& rows, core::Leaves& leaves,
                                                bool is_last_try);

private:
  const Resolved& resolved_;
  const RunOptions& options_;
  Outcome& outcome_;
  std::vector<core::RowKey> again_;          ///< victims that changed, by the places of their present versions
  std::unordered_set<core::RowKey> waiting_; ///< victims of the last pass whose subject had changed
  std::vector<std::unordered_set<core::RowKey>> path_rows_; ///< by step: rows whose victims went

  [[nodiscard]] bool fuse_blows(std::size_t victims);
  void count_expired_subjects();
  void settle_returned(const Selection& selection);
  void note_changed_subjects(const Selection& selection);
  void erase(Selection& selection);
  void tally(const Selection& selection, bool may_look_again);
  void note_path_rows(const Selection& selection, const std::vector<bool>& went);
  void count_path_rows();
};

} // namespace pg_retention::server
