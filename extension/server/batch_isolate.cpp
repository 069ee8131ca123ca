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
    if (!caught)
      boundary::enclosed([&] { failures_.forget_solved(); });
    else if (is_start)
      note_stop(*caught);
  }
  boundary::commit_for_now();
  scratch.release();
}

/// Keeps the walk from reading what cannot be read, and counts it.
void BatchRun::pass_by_unreadable(Source& source) {
  source.leave_out(failures_.unreadable());
  for (const RowKey spot : failures_.unreadable())
    if (strategy_->way != Way::versions && limits_.slice.has(core::block_of(spot)))
      ++outcome_.failed;
}

/// A batch of the walk failed between two positions of its source, which stands at the first again: what was read there
/// is read once more and halved. Where not even the first part of it could be read, the next batch reads less.
void BatchRun::recover(std::uint64_t from, std::uint64_t reached) {
  if (reached == from)
    return narrow_reading(remembered_->source());
  Source& source = remembered_->source();
  std::vector<Victim> victims;
  const std::size_t most = within_limits(static_cast<std::size_t>(settings::batch_max_rows()));
  while (!has_stopped_ && !read_on(source, reached, most, victims) && source.narrow()) {
  }
  outcome_.failed += failures_.leave_out(victims);
  std::vector<Candidate> rows;
  for (const Victim& victim : victims)
    if (victim.fate != Fate::gone)
      rows.push_back({victim.key, 0, static_cast<std::uint32_t>(Fate::changed)});
  isolate(rows);
}

/// Reads on up to a position, or until there are so many rows; false where an error came before. The steps of a source
/// grow with each read, and may have grown over a place that cannot be read: what was read before it stays.
bool BatchRun::read_on(Source& source, std::uint64_t reached, std::size_t most, std::vector<Victim>& victims) {
  boundary::Scratch scratch;
  const auto caught = as_owner([&] {
    push_latest_snapshot();
    while (source.position() < reached && !source.at_end() && victims.size() < most)
      source.read(most - victims.size(), victims);
    pop_snapshot();
  });
  boundary::commit_for_now();
  scratch.release();
  if (caught && !is_of_rows(*caught))
    note_stop(*caught);
  else if (caught)
    fault_ = *caught;
  return !caught;
}

/// A source cannot read what comes next: it takes in less, down to a row or a block that is set apart and passed by.
void BatchRun::narrow_reading(Source& source) {
  if (source.narrow())
    return;
  const RowKey spot = source.spot();
  source.skip();
  set_apart(spot, *fault_);
}

/// Whether a list whose statement fails for some row can be chosen range by range instead: not where rows are compared
/// with each other, which no range can tell.
bool BatchRun::may_choose_by_ranges(const boundary::Caught& caught) const {
  return is_of_rows(caught) && strategy_ && (strategy_->way == Way::versions || strategy_->way == Way::judged) &&
         resolved_->rule.keep_latest == 0;
}

/// Makes the list of victims by the policy's statement for one range of blocks after another; a place that cannot be
/// read or judged is set apart. Batches are judged again by the whole statement.
void BatchRun::choose_by_ranges(const boundary::Caught& caught) {
  strategy_->way = Way::judged;
  strategy_->reason += ", and chosen range by range, because the statement as a whole fails (" + caught.sqlstate + ")";
  tell_strategy();
  touched_.clear();
  remembered_ = std::make_unique<Remembered>(resolved_->rule, strategy_->takes_turns ? rows_in_turns() : 0);
  std::unique_ptr<BlockSource> source;
  const auto stopped = as_owner([&] {
    source = std::make_unique<BlockSource>(resolved_->rule, *outcome_.cutoff, leaves_, limits_.slice, nullptr);
  });
  if (stopped)
    return note_stop(*stopped);
  is_chosen_by_ranges_ = true;
  settle_failures(true);
  pass_by_unreadable(*source);
  constexpr std::size_t most = 65536;
  std::vector<Victim> victims;
  while (!has_stopped_ && !source->at_end()) {
    if (!read_on(*source, UINT64_MAX, most, victims) && !has_stopped_)
      narrow_reading(*source);
    for (const Victim& victim : victims)
      remembered_->add(victim.key);
    victims.clear();
  }
  remembered_->close();
  const auto unknown = as_owner([&] {
    push_latest_snapshot();
    (void)fuse_->blows(resolved_->rule, remembered_->chosen(), outcome_);
    pop_snapshot();
  });
  if (unknown && !has_stopped_)
    note_stop(*unknown);
  has_stopped_ = has_stopped_ || !outcome_.success;
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
    note_stop(*fault);
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
    return note_stop(last);
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
    note_stop(*caught);
  } else if (!key.empty()) {
    ++failed_now_;
    ++outcome_.failed;
    failures_.wait_for(place[0]);
    outcome_.finished = GetCurrentTimestamp();
    boundary::enclosed([&] {
      failures_.record(outcome_.run_id, leaves_.oid(core::leaf_of(row)), key, fault);
      record_standing(outcome_, outcome_);
    });
  }
  boundary::commit_for_now();
  committed_ = outcome_;
  scratch.release();
}

} // namespace pg_retention::server
