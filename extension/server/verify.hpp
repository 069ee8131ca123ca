#pragma once
#include "extension/core/rows.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/select.hpp"

#include <vector>

/// Holding chosen rows still, and judging again what could have changed since they were chosen.
namespace pg_retention::server {

class Arrivals;

/// What keeps rows as they were judged until they are changed.
enum class Hold {
  none, ///< nothing: for looking only
  look, ///< a look without a lock; whoever changes one in between has the batch undone and tried again
  lock, ///< row locks
};

/// Locks rows where they stand, without waiting, until the transaction ends. A row that somebody else holds is
/// `locked`; one that was changed since the active snapshot is `changed`, and `rows` then has the place of its next
/// version; one that was deleted is `gone`; one locked unchanged `goes`.
/// So a row that goes still is what the snapshot saw, and stays so.
[[nodiscard]] std::vector<core::Fate> lock_rows(std::vector<core::RowKey>& rows, const core::Leaves& leaves,
                                                LockTupleMode mode);

/// What came of an attempt to lock or delete a row, as a fate; and where the next version of an updated row is.
[[nodiscard]] core::Fate fate_of(TM_Result result) noexcept;
[[nodiscard]] core::RowKey next_version(core::RowKey row, const ItemPointerData& place) noexcept;

/// Locks every row on the way from the victims to their subjects, judges the subjects' activity again under a fresh
/// snapshot, and gives each victim the fate of its chain. The rows of a step are locked FOR SHARE, so that nobody
/// changes them; a subject with activities FOR UPDATE, so that no activity that refers to it is added. With Hold::look
/// nothing is locked: activity is judged, and that is all. With `activity`, one watch for each activity since the
/// subjects were judged, only rows that have come are looked at.
void verify_subjects(const core::Rule& rule, TimestampTz cutoff, Selection& selection, Hold hold = Hold::lock,
                     std::vector<Arrivals>* activity = nullptr);

/// Locks the victims themselves FOR UPDATE and gives each its fate. Where the target is its own subject, its
/// activity is judged again, as above.
void verify_victims(const core::Rule& rule, TimestampTz cutoff, Selection& selection,
                    std::vector<Arrivals>* activity = nullptr);

} // namespace pg_retention::server
