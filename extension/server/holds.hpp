#pragma once
#include "extension/core/hold.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/select.hpp"

#include <unordered_set>
#include <vector>

/// Legal holds at work (G6): which stand, which rows they keep, and the proof that a hand wants before it changes any.
namespace pg_retention::server {

/// The proof that the holds were asked about the victims of a selection. Only LegalHolds can give it, and no hand
/// changes victims without it.
class Cleared {
  Cleared() = default;
  friend class LegalHolds;
};

/// Waits until nobody is placing a hold, and lets nobody place one until the transaction ends: what stands then stands
/// for all that the transaction changes.
void keep_holds_as_they_are();

/// Waits until no transaction is changing rows for a policy, and keeps others from it until this one ends.
void begin_placing_hold();

/// The holds that stand and that rows which a policy touches can come under.
class LegalHolds {
public:
  /// Reads them, as committed by now; those whose time is over at `clock` stand no longer. Throws Failure 55H01 for one
  /// whose table cannot be told.
  LegalHolds(const Resolved& resolved, TimestampTz clock);

  /// Those that stand over rows of these tables, and not over the tables that the rows came from or go to.
  LegalHolds(const std::vector<Oid>& tables, TimestampTz clock);

  [[nodiscard]] const std::vector<core::LegalHold>& standing() const { return holds_; }

  /// Those of the rows that are under hold, or that hang on such a row by foreign keys or by what the policy declares,
  /// at any depth. Throws Failure
  /// 55H01 where that cannot be told: nothing may be changed then.
  [[nodiscard]] std::unordered_set<core::RowKey> held_among(const std::vector<core::RowKey>& rows,
                                                            core::Leaves& leaves) const;

  /// Does all that without rows, so that what cannot be judged is found before a run meets it. Throws Failure 55H01.
  void try_out() const;

  /// Gives the victims that are under hold their fate.
  [[nodiscard]] Cleared clear(Selection& selection) const;

private:
  std::vector<core::LegalHold> holds_;
  std::vector<core::Bond> bonds_; ///< that lead to what may be under hold
  core::Clans clans_;

  void read(TimestampTz clock);
  void reach_into_archives(const core::TableSet& touched);
  void keep_within_reach(core::TableSet touched);
  void judge(const core::LegalHold& hold, const std::vector<core::RowKey>& rows, core::Leaves& leaves,
             core::Ancestry& ancestry) const;
  void climb(const core::Bond& bond, const std::vector<core::RowKey>& rows, core::Leaves& leaves,
             core::Ancestry& ancestry, std::vector<core::RowKey>& found) const;
};

} // namespace pg_retention::server
