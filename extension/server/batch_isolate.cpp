#include "extension/core/failure.hpp"
#include "extension/server/batch_run.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/settings.hpp"
#include "extension/server/versions.hpp"

#include <algorithm>

/// Rows that raise errors: a batch that failed for one of its rows is halved until that row is alone (G13).
namespace pg_retention::server {

using core::Fate;
using core::RowKey;

/// Whether halving the batch makes sense: the error came while rows were at hand, and may be one row's.
bool BatchRun::is_of_rows(const boundary::Caught& caught) const {
  return is_at_rows_ && settings::max_failures() > 0 && Failures::are_kept() && may_be_of_rows(caught.sqlstate);
}

/// Holds what failed before against the rows as they are: at the start, to know what is left out; at the end, to forget
/// what succeeded.
void BatchRun::settle_failures(bool is_start) {
  if (!is_start && failures_.is_empty())
    return;
  boundary::Scratch scratch;
  boundary::enclosed([&] { failures_.load(); });
  if (!failures_.is_empty()) {
    const auto caught = as_owner([&] { failures_.find(*resolved_, *outcome_.cutoff, leaves_); });
    const bool has_walked = !is_start && outcome_.success && !has_stopped_ && strategy_->way != Way::judged;
    if (!caught)
      boundary::enclosed([&] { failures_.forget_solved(has_walked ? outcome_.run_id : 0); });
    else if (is_start)
      note_end(*caught);
    if (is_start && remembered_ && strategy_->way != Way::judged)
      remembered_->source().leave_out(failures_.unreadable());
  }
  boundary::commit_for_now();
  scratch.release();
}

/// A batch of the walk failed between two positions of its source, which stands at the first again: what was read there
/// is read once more and halved. Where not even the first part of it could be read, the next batch reads less.
void BatchRun::recover(std::uint64_t from, std::uint64_t reached) {
  if (reached == from)
    return narrow_reading();
  std::vector<Victim> victims;
  while (!has_stopped_ && !read_again(reached, victims)) {
  }
  outcome_.failed += failures_.leave_out(victims);
  std::vector<Candidate> rows;
  for (const Victim& victim : victims)
    if (victim.fate != Fate::gone)
      rows.push_back({victim.key, 0, static_cast<std::uint32_t>(Fate::changed)});
  isolate(rows);
}

/// Reads on up to a position; false where it did not come so far. The steps of a source grow with each read, and may
/// have grown over a place that cannot be read: they shrink again with each error, and what was read before it stays.
bool BatchRun::read_again(std::uint64_t reached, std::vector<Victim>& victims) {
  Source& source = remembered_->source();
  const std::size_t most = within_limits(static_cast<std::size_t>(settings::batch_max_rows()));
  boundary::Scratch scratch;
  const auto caught = as_owner([&] {
    push_latest_snapshot();
    while (source.position() < reached && victims.size() < most)
      source.read(most - victims.size(), victims);
    pop_snapshot();
  });
  boundary::commit_for_now();
  scratch.release();
  if (!caught)
    return true;
  if (!is_of_rows(*caught))
    note_end(*caught);
  else
    fault_ = *caught;
  return !source.narrow();
}

/// The source cannot read what comes next: it takes in less, down to a row or a block that is set apart and passed by.
void BatchRun::narrow_reading() {
  Source& source = remembered_->source();
  if (source.narrow())
    return;
  const RowKey spot = source.spot();
  source.skip();
  set_apart(spot, *fault_);
}

/// Whether the change of no row at all fails too: then no row is to blame, and the run ends. Asked once.
bool BatchRun::fails_without_rows() {
  if (is_probed_)
    return false;
  is_probed_ = true;
  boundary::Scratch scratch;
  const auto fault = as_owner([&] {
    boundary::trial([&] {
      change_nothing(*resolved_, leaves_);
      return false;
    });
  });
  boundary::commit_for_now();
  scratch.release();
  if (fault)
    note_end(*fault);
  return has_stopped_;
}

/// Halves rows that failed together until those that fail alone are found; the others go. For one row of n that takes
/// about 2 log n batches, which together do thrice the work of one.
void BatchRun::isolate(const std::vector<Candidate>& rows) {
  if (rows.empty() || fails_without_rows())
    return;
  struct Part {
    std::size_t first, count;
    bool has_failed;
  };
  std::vector<Part> parts{{0, rows.size(), rows.size() > 1}};
  while (!parts.empty() && !has_stopped_) {
    const Part part = parts.back();
    parts.pop_back();
    if (part.count == 0)
      continue;
    if (!part.has_failed) {
      if (!may_go_on())
        return;
      const auto first = rows.begin() + static_cast<std::ptrdiff_t>(part.first);
      const std::vector<Candidate> some(first, first + static_cast<std::ptrdiff_t>(part.count));
      if (one_batch([&](Hold, Done& done) { judge_again(some, done); }, [] {}) != Ended::faulted)
        continue;
    }
    if (part.count == 1 || has_enough_failures()) {
      set_apart(rows[part.first].row, *fault_);
      continue;
    }
    const std::size_t half = part.count / 2;
    parts.push_back({part.first + half, part.count - half, false});
    parts.push_back({part.first, half, false});
  }
}

/// Whether the next row that fails ends the run. What stands of earlier runs may be many times as much.
bool BatchRun::has_enough_failures() const {
  constexpr std::uint64_t standing = 100;
  const auto most = static_cast<std::uint64_t>(settings::max_failures());
  return failed_now_ >= most || failures_.size() + failed_now_ >= most * standing;
}

/// Records that a row fails, and leaves it out from now on. One more than there may be ends the run.
void BatchRun::set_apart(RowKey row, const boundary::Caught& fault) {
  if (has_enough_failures()) {
    boundary::Caught last = fault;
    last.hint = std::to_string(failed_now_) + " rows failed in this run and " + std::to_string(failures_.size()) +
                " before, as many as retention.max_failures allows; see retention.failures.";
    return note_end(last);
  }
  boundary::Scratch scratch;
  std::string key;
  std::vector<RowKey> place{row};
  const auto caught = as_owner([&] {
    if (core::offset_of(row) != 0)
      follow_versions(place, leaves_);
    key = Failures::key_of(place[0], leaves_);
  });
  if (caught) {
    note_end(*caught);
  } else if (!key.empty()) {
    ++failed_now_;
    ++outcome_.failed;
    failures_.wait_for(place[0]);
    outcome_.finished = GetCurrentTimestamp();
    boundary::enclosed([&] {
      failures_.record(outcome_.run_id, leaves_.oid(core::leaf_of(row)), key, fault);
      record_standing(outcome_);
    });
  }
  boundary::commit_for_now();
  committed_ = outcome_;
  scratch.release();
}

} // namespace pg_retention::server
