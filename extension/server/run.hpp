#pragma once
#include "extension/boundary/guard.hpp"
#include "extension/core/identifier.hpp"
#include "extension/core/policy.hpp"
#include "extension/core/slice.hpp"
#include "extension/server/select.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

/// One execution of one policy, from the frozen cutoff to the row in retention.runs.
namespace pg_retention::server {

struct Layout;

/// What a caller may change for one run.
struct RunOptions {
  std::string expire_after;                  ///< interval that replaces the policy's own; empty: the policy's
  std::vector<std::string> extra_conditions; ///< SQL over target and subject, AND-ed
  std::string key;                           ///< SQL value over target that is collected from changed rows
  bool count_expired_subjects = false;
};

/// Why the fuse stopped a run: the limit, what would have gone and what it allows.
struct Blown {
  std::string kind;  ///< max_rows, max_fraction, max_deviation, approval, preview
  std::string limit; ///< for people
  std::uint64_t expected = 0, allowed = 0;
};

/// Where a batch began: what its ledger row measures from.
struct BatchBegin {
  TimestampTz at = 0;
  std::uint64_t wal = 0; ///< bytes of WAL that the session had written
};

/// What a run did, as retention.result tells it, and a little more for the application functions.
struct Outcome {
  bool success = true;
  std::string message, policy;
  std::int64_t run_id = 0, policy_version = 0;
  core::Action action = core::Action::remove;
  std::string target; ///< label of the target, where it is known
  Oid runs_as = InvalidOid;
  std::uint64_t affected = 0;
  std::uint64_t subjects = 0;                      ///< distinct subjects whose rows were affected
  std::map<std::string, std::uint64_t> dependents; ///< rows by table
  std::map<std::string, std::string> roles;        ///< of a preset's dependents: `images` -> the table's name
  std::uint64_t locked = 0, blocked = 0, held = 0, returned = 0, failed = 0;
  std::optional<TimestampTz> cutoff;
  TimestampTz started = 0, finished = 0;
  int batches = 0;
  std::string stop_reason = "done"; ///< as retention.result tells it
  std::string hand, walk, reason;   ///< how it was done, and why so
  std::int32_t slice = 0, slices = 0;
  std::optional<std::uint64_t> expected; ///< victims in all, about
  double share = 0;                      ///< of the walk that is done
  std::string sqlstate, error_detail, error_hint;
  std::optional<Blown> blown; ///< where its fuse stopped it just now
  std::int64_t approval = 0;  ///< by which it runs; 0: none
  std::string asked;          ///< by the caller beyond the policy; empty: nothing
  BatchBegin begin;           ///< of the batch that is under way

  std::uint64_t expired_subjects = 0;   ///< where asked for: expired subjects, with victims or without
  std::vector<std::uint64_t> path_rows; ///< distinct rows of each path step whose target rows were affected
  std::vector<std::string> keys;        ///< up to 1,000
  std::shared_ptr<const Layout> layout; ///< of action archive: where rows go
  std::string statistics;               ///< JSON for retention.runs.statistics, set by the application functions

  [[nodiscard]] std::uint64_t skipped() const { return locked + blocked + held + returned + failed; }
};

/// Now, less the interval, counted in the zone's calendar. Throws Failure 22023 unless the interval is positive
/// (or zero, where `may_be_zero`).
[[nodiscard]] TimestampTz cutoff_before_now(const std::string& interval, const std::string& zone, bool may_be_zero);

/// The same before another instant than now (`as_of`, as text; NULL is now).
[[nodiscard]] TimestampTz cutoff_before(const std::string& interval, const std::string& zone, bool may_be_zero,
                                        const std::optional<std::string>& as_of);

/// Runs a policy in the caller's transaction, all or nothing, and returns what it did; an error inside is undone and
/// told in the outcome, with a WARNING. The run is not recorded yet: see record().
[[nodiscard]] Outcome execute_policy(const core::Policy& policy, const RunOptions& options);

/// Writes the run and its ledger rows, and the server log's line; sets run_id.
void record(Outcome& outcome);

/// Writes the run as it stands after another batch, and the batch's ledger rows: what is new since `earlier`.
void record_batch(Outcome& now, const Outcome& earlier);

/// The same while the run is on: as one that was interrupted, which it is if nothing more is written.
void record_standing(const Outcome& now, const Outcome& earlier);

/// Where this session is now.
[[nodiscard]] BatchBegin begin_of_batch();

/// Writes the server log's line of a run, where retention.log_runs is on.
void log_run(const Outcome& outcome);

/// How long the lock that keeps runs of one policy apart is held.
enum class LockSpan { transaction, session };
void unlock_policy(const std::string& name, core::Slice slice);

/// Takes the lock, until the transaction ends, under which one of several slices decides for all; false where another
/// holds it.
[[nodiscard]] bool lock_decision(const std::string& name);

/// Marks a policy as running in this session, as long as it lives.
class UnderWay {
public:
  explicit UnderWay(std::string name);
  ~UnderWay();
  UnderWay(const UnderWay&) = delete;
  UnderWay& operator=(const UnderWay&) = delete;

private:
  std::string name_;
};

/// Tables held open, so that nothing that a policy's own functions do in this session can rewrite or empty them between
/// the choice of a row and its removal: TRUNCATE, CLUSTER and ALTER TABLE refuse a table in use.
class HeldOpen {
public:
  /// Opens every table that holds rows of `relation`.
  explicit HeldOpen(const core::Relation& relation);
  /// The same to look on: its schema stays as it is.
  void add_to_look_on(const core::Relation& relation);
  /// Lets them go; an error on the way lets the server do it.
  void close();

private:
  std::vector<Relation> tables_;
};

/// A new outcome for a policy, started now.
[[nodiscard]] Outcome new_outcome(const core::Policy& policy);

/// Whether a policy may run at all, and is not running; if not, the outcome says why.
/// Slices of one run keep apart only those of another.
[[nodiscard]] bool may_run(const core::Policy& policy, Outcome& outcome, LockSpan span, core::Slice slice = {});

/// Keeps runs of a policy out for as long as `span` says; false, and the outcome says so, where one is under way.
[[nodiscard]] bool keep_out_others(const std::string& name, Outcome& outcome, LockSpan span, core::Slice slice = {});

/// The id of the run to come: known before its rows are changed, because archived rows carry it.
[[nodiscard]] std::int64_t next_run_id();

/// Throws a server ERROR (25006) in a read-only transaction and on a standby.
void require_writable();

/// Tells an error in an outcome, as `locked` where another try may not meet it, and raises it as a WARNING.
void note_failure(Outcome& outcome, const boundary::Caught& caught);
void warn_of_failure(const Outcome& outcome);

/// What the outcome says where the policy's own function says nothing better.
[[nodiscard]] std::string plain_message(const Outcome& outcome);

} // namespace pg_retention::server
