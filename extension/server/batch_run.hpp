#pragma once
#include "extension/core/pace.hpp"
#include "extension/server/batches.hpp"
#include "extension/server/execution.hpp"
#include "extension/server/failures.hpp"
#include "extension/server/fuse.hpp"
#include "extension/server/neighbours.hpp"
#include "extension/server/strategy.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

/// One committed run, over all its transactions.
namespace pg_retention::server {

class BatchRun {
public:
  BatchRun(const core::Policy& policy, const BatchLimits& limits, Outcome& outcome);

  /// Chooses, goes over the target, tries once more what stayed, and records how it ended.
  void run();

  /// Records that the run was told to stop, in a transaction of its own.
  void record_cancelled();

  /// Frees what is outside of memory; to be called when the run ends, whatever way.
  void drop() noexcept;

private:
  const core::Policy& policy_;
  const BatchLimits& limits_;
  Outcome& outcome_;
  Outcome committed_; ///< as of the last commit, or the beginning
  const RunOptions options_{};
  core::Pace pace_, slow_pace_; ///< alone, and while others work
  core::Leaves leaves_;
  std::optional<Fuse> fuse_;
  std::optional<Resolved> resolved_;
  std::uint64_t generation_ = 0; ///< of the schema that resolved_ was held against
  std::optional<Strategy> strategy_;
  std::unique_ptr<Remembered> remembered_;
  std::string shape_;                      ///< of the tables when the run began: what remembered rows were judged by
  std::unique_ptr<Spool> trying_;          ///< those of the round that is on
  std::unique_ptr<Spool> again_;           ///< victims that stayed, for another try; `chain` is their fate
  std::vector<std::vector<bool>> touched_; ///< by step of the path and row: whether victims of it went
  bool has_stopped_ = false;
  core::KeyNumbers found_subjects_; ///< by statements; as many as memory allows
  bool is_pause_due_ = false;       ///< after a batch, where there is more to do
  Neighbours neighbours_;
  bool is_slow_ = false, is_slow_told_ = false; ///< because others work
  std::int64_t lasted_ = 0;                     ///< the last batch, in microseconds, without tries that were undone
  std::vector<Arrivals> activity_; ///< since subjects were judged, by activity; empty where that tells nothing
  std::unique_ptr<Kin> kin_;       ///< of the rows up to kin_until_ of the list
  std::uint64_t kin_until_ = 0;
  std::size_t ahead_ = 131072; ///< rows of the list whose dependents are read at once; few: they are not
  Writers writers_;            ///< where rows take turns: transactions of the last batches
  Failures failures_;
  std::uint64_t failed_now_ = 0;          ///< rows found alone in failing by this run
  std::optional<boundary::Caught> fault_; ///< of the last batch that failed for its rows
  bool is_chosen_by_ranges_ = false;      ///< whether the list was made by reading the target range by range
  bool is_probed_ = false;                ///< whether it is known that the statements pass where they meet no row
  bool is_at_rows_ = false;               ///< whether as_owner() has come to its body

  /// What one batch did beside the outcome, forgotten where it is undone.
  struct Done {
    std::vector<Victim> stayed;
    std::vector<std::uint32_t> chains;        ///< of victims that went
    std::vector<std::uint32_t> subjects;      ///< of such, found by a statement: rows of the last step
    std::size_t rows = 0;                     ///< looked at
    TransactionId xid = InvalidTransactionId; ///< of the row versions that it wrote
  };
  using Body = std::function<void(Hold, Done&)>;

  [[nodiscard]] std::optional<boundary::Caught> as_owner(const std::function<void()>& body);
  void follow_schema();
  [[nodiscard]] bool choose();
  void choose_rows();
  void tell_strategy();
  void look_at_neighbours();
  [[nodiscard]] static int slow_target();
  [[nodiscard]] std::size_t most_streamed() const;
  [[nodiscard]] core::Pace& pace() { return is_slow_ ? slow_pace_ : pace_; }
  [[nodiscard]] std::uint64_t count_victims() const;
  void watch_activity();
  void look_ahead();
  void read_kin(std::uint64_t from);
  void keep_fitting();
  void walk();
  void try_again();
  void try_round(bool is_backwards, bool is_together);
  [[nodiscard]] Execution execution();
  [[nodiscard]] std::size_t rows_in_turns() const;
  void fill(Hold hold, Done& done);
  void change_part(Execution& execution, Selection& part, Hold hold, Done& done);
  void note_progress(double share, std::optional<std::uint64_t> expected);
  void trust(Selection& part);
  void guard(Selection& part) const;
  void judge(std::vector<core::RowKey> rows, Hold hold, Done& done);
  void judge_again(const std::vector<Candidate>& candidates, Done& done);
  void count_subjects(const std::vector<core::RowKey>& subjects, Done& done);
  void count_returned(const std::vector<core::RowKey>& chosen, std::vector<core::RowKey> victims);
  /// How a batch ended: committed; the run has to end; undone by an error that single rows may have raised, fault_.
  enum class Ended { done, stopped, faulted };
  [[nodiscard]] Ended one_batch(const Body& body, const std::function<void()>& undo);
  [[nodiscard]] bool is_of_rows(const boundary::Caught& caught) const;
  void walk_list();
  void settle_failures(bool is_start);
  void pass_by_unreadable(Source& source);
  void recover(std::uint64_t from, std::uint64_t reached);
  [[nodiscard]] bool read_on(Source& source, std::uint64_t reached, std::size_t most, std::vector<Victim>& victims);
  void narrow_reading(Source& source);
  [[nodiscard]] bool may_choose_by_ranges(const boundary::Caught& caught) const;
  void choose_by_ranges(const boundary::Caught& caught);
  void isolate(const std::vector<Candidate>& rows);
  [[nodiscard]] bool fails_without_rows();
  [[nodiscard]] bool has_enough_failures() const;
  void set_apart(core::RowKey row, const boundary::Caught& fault);
  void keep(const Done& done);
  [[nodiscard]] std::size_t within_limits(std::size_t size) const;
  [[nodiscard]] bool may_go_on();
  void look_at_policy();
  [[nodiscard]] std::int64_t rows_per_second() const;
  void pause();
  [[nodiscard]] std::int64_t pause_for_neighbours() const;
  void wait_for_replicas();
  void note_stop(const boundary::Caught& caught);
  void stop(const char* reason, const std::string& message);
  void commit_batch(const Outcome& earlier);
  void finish();
};

} // namespace pg_retention::server
