#pragma once
#include "extension/core/policy.hpp"
#include "extension/core/statement.hpp"
#include "extension/server/run.hpp"

#include <cstdint>
#include <optional>
#include <string>

/// The fuse (G7): what stops a run before its first change, and what lets it pass after all.
namespace pg_retention::server {

/// What stands between a policy and its next run, as the store has it before a row is counted.
class Fuse {
public:
  /// Reads the limits, the mark of a fuse that blew, a standing approval and the history. `asked` is what the caller
  /// asked beyond the policy. Of several slices the first decides for all: the others wait for it, as long as it
  /// counts.
  Fuse(const core::Policy& policy, const std::string& asked, core::Slice slice = {});

  /// Whether the run may begin to look; if not, the policy waits for an approval, and the outcome says so.
  [[nodiscard]] bool may_begin(Outcome& outcome) const;

  /// The run that has to be approved first; 0: none.
  [[nodiscard]] std::int64_t waits_for() const { return mark_ ? mark_->run : 0; }

  /// The cutoff of a run whose own would be `own`: not later than that of the run that was approved. Notes in the
  /// outcome by which approval it runs.
  [[nodiscard]] TimestampTz cutoff(TimestampTz own, Outcome& outcome) const;

  /// Whether it matters how many victims there are: without a limit nobody need count them.
  [[nodiscard]] bool needs_count() const;

  /// Whether so many victims would go that the run must not begin; the outcome then says so. Under the active snapshot
  /// and with the owner's rights.
  [[nodiscard]] bool blows(const core::Rule& rule, std::uint64_t victims, Outcome& outcome) const;

private:
  struct Approval {
    std::int64_t id = 0, run = 0, rows = 0, done = 0;
    std::string cutoff;
    [[nodiscard]] std::uint64_t left() const { return static_cast<std::uint64_t>(rows > done ? rows - done : 0); }
  };
  struct Mark {
    std::int64_t run = 0, expected = 0, allowed = 0;
    std::string kind;
  };
  /// What the last runs took, as far as there are enough of them.
  struct History {
    double factor = 0, median = 0;
    std::int64_t runs = 0;
    [[nodiscard]] std::uint64_t allowed() const;
  };

  const core::Policy& policy_;
  std::string asked_;
  std::optional<Mark> mark_;
  std::optional<Approval> approval_;
  std::optional<History> history_;
  bool is_unseen_ = false;  ///< neither previewed nor run as it is now defined, where that is asked for
  bool is_decided_ = false; ///< by another slice of the same run

  void read_store(double factor);
  void read_mark();
  void read_approval();
  void read_history(double factor);
  [[nodiscard]] bool passes_fraction(const core::Rule& rule, std::uint64_t victims, Blown& blown) const;
  [[nodiscard]] std::optional<Blown> judge(const core::Rule& rule, std::uint64_t victims) const;
};

/// Marks the policy of a run that its fuse stopped, and sends NOTIFY retention, both in the present transaction; ends
/// the approval that the run used up. As the keeper; a part of recording the run.
void settle_fuse(const Outcome& outcome);

/// Approves the run that a policy waits for, and returns the rows approved. Throws Failure 22004, 22023, 42501, 42704,
/// 55000.
[[nodiscard]] std::int64_t approve(const std::string& policy, std::int64_t run, const std::string& reason);

/// Notes that a policy was looked at as it is now defined, where the transaction may write.
void note_preview(const core::Policy& policy);

} // namespace pg_retention::server
