#pragma once
#include "extension/server/erase.hpp"
#include "extension/server/fuse.hpp"
#include "extension/server/holds.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/room.hpp"
#include "extension/server/run.hpp"
#include "extension/server/select.hpp"
#include "extension/server/verify.hpp"

#include <optional>
#include <unordered_set>
#include <vector>

/// What a run does inside its transaction: choose, hold, judge again, change, and add up.
namespace pg_retention::server {

/// One run, or one batch after another of it, with its owner's rights. What was done is added to the outcome.
class Execution {
public:
  Execution(const Resolved& resolved, const RunOptions& options, Outcome& outcome)
      : resolved_(resolved), options_(options), outcome_(outcome) {}
  Execution(const Resolved&, RunOptions&&, Outcome&) = delete;

  /// Everything in one go, up to three passes while rows change under it; nothing where the fuse blows.
  void run(const Fuse& fuse);

  /// Looks only at what has come to the tables of dependents and activities since these were read; either may be none.
  void rely_on(Kin* kin, std::vector<Arrivals>* activity) {
    kin_ = kin;
    activity_ = activity;
  }

  /// Before an update, gives back what these transactions have replaced on the pages of its rows.
  void make_room_of(const Writers* writers) { writers_ = writers; }

  /// Changes the victims of one batch that go, under the active snapshot that chose them. With guards, the rows on the
  /// path are held and activity is judged again. Returns the victims that stayed though they may be victims still, for
  /// another try: locked, changed, blocked where others may set them free; the outcome is told of the rest.
  [[nodiscard]] std::vector<Victim> change(Selection& selection, Hold path, Hold rows);

  /// The same for rows (sorted) that are judged now by the rule's whole statement; `victims` are those that it gives.
  [[nodiscard]] std::vector<Victim> judge_and_change(const std::vector<core::RowKey>& rows, core::Leaves& leaves,
                                                     Hold path, Hold hold, std::vector<core::RowKey>& victims);

  /// The subjects whose rows judge_and_change() changed.
  [[nodiscard]] std::vector<core::RowKey> subject_rows() const;

private:
  const Resolved& resolved_;
  const RunOptions& options_;
  Outcome& outcome_;
  Kin* kin_ = nullptr;
  std::vector<Arrivals>* activity_ = nullptr;
  const Writers* writers_ = nullptr;
  std::vector<core::RowKey> again_;          ///< victims that changed, by the places of their present versions
  std::unordered_set<core::RowKey> waiting_; ///< victims of the last pass whose subject had changed
  std::optional<LegalHolds> holds_;          ///< as they stand for this transaction
  std::vector<std::unordered_set<core::RowKey>> path_rows_; ///< by step: rows whose victims went

  [[nodiscard]] const LegalHolds& holds();
  void count_expired_subjects();
  void settle_returned(const Selection& selection);
  void note_changed_subjects(const Selection& selection);
  void erase(Selection& selection, Hold hold);
  [[nodiscard]] Erased erase_family(Selection& selection, Hold hold);
  [[nodiscard]] bool may_be_set_free() const;
  void tally(const Selection& selection, bool may_look_again);
  void note_path_rows(const Selection& selection, const std::vector<bool>& went);
  void count_path_rows();
};

} // namespace pg_retention::server
