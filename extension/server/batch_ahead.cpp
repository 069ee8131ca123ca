#include "extension/boundary/parse.hpp"
#include "extension/server/batch_run.hpp"
#include "extension/server/settings.hpp"

#include <algorithm>

/// What a committed run over a list reads once for many batches, so that these only look at what has come since.
namespace pg_retention::server {
namespace {

/// Fewer rows at once are not worth a reading of their own.
constexpr std::size_t least_ahead = 1024;
/// So often may it turn out that the tables of dependents have to be asked all the same.
constexpr int most_misses = 3;

} // namespace

/// Begins to watch the tables of activities, under the snapshot that judged the subjects. Of an activity that other
/// tables or the time of day make one, what has come to its own table does not tell everything.
void BatchRun::watch_activity() {
  const core::Rule& rule = resolved_->rule;
  if (strategy_->way != Way::versions || rule.activities.empty())
    return;
  const auto caught = boundary::attempt([&] {
    for (const core::ActivitySource& source : rule.activities)
      if (boundary::follows_from_rows(core::activity_probe(rule, source)))
        activity_.emplace_back(source.relation, leaves_);
  });
  if (caught || activity_.size() != rule.activities.size())
    activity_.clear();
}

/// Reads what refers to the rows of the list from `from` on, in a transaction of its own: it reads only, holds no row,
/// and may take longer than a batch.
void BatchRun::read_kin(std::uint64_t from) {
  const std::size_t memory = settings::work_mem() - std::min(settings::work_mem(), remembered_->memory());
  std::vector<core::RowKey> rows;
  kin_.reset();
  boundary::Scratch scratch;
  const auto caught = as_owner([&] {
    if (!std::all_of(resolved_->edges.begin(), resolved_->edges.end(), follows_from_its_rows))
      return;
    for (const Candidate& candidate : remembered_->list().read(from, ahead_))
      rows.push_back(candidate.row);
    std::sort(rows.begin(), rows.end());
    push_latest_snapshot();
    kin_ = std::make_unique<Kin>(*resolved_, rows, leaves_, memory);
    pop_snapshot();
  });
  boundary::commit_for_now();
  scratch.release();
  if (caught || !kin_) {
    kin_.reset();
    ahead_ = 0;
  } else if (!kin_->fits()) {
    kin_.reset();
    ahead_ /= 4;
  } else {
    kin_until_ = from + rows.size();
    ahead_ = kin_->memory() < memory / 4 ? ahead_ * 2 : ahead_;
  }
}

/// Sees to it that what refers to the next rows of the list is known; where that does not succeed, batches read for
/// themselves. Comes before the policy is looked at, which is to be in the batch's own transaction.
void BatchRun::look_ahead() {
  if (has_stopped_ || strategy_->way != Way::versions || resolved_->edges.empty() || remembered_->source().at_end())
    return;
  if (kin_ && kin_->misses() > most_misses) {
    kin_.reset();
    ahead_ = 0;
  }
  const std::uint64_t from = remembered_->source().position();
  while (ahead_ >= least_ahead && from >= kin_until_)
    read_kin(from);
}

/// Forgets what was read of dependents and activities where the schema has changed under it.
void BatchRun::keep_fitting() {
  if (kin_ && !kin_->is_about(*resolved_)) {
    kin_.reset();
    kin_until_ = 0;
  }
  const std::vector<core::ActivitySource>& sources = resolved_->rule.activities;
  for (std::size_t i = 0; i < activity_.size(); ++i)
    if (!activity_[i].is_about(sources.at(i).relation)) {
      activity_.clear();
      break;
    }
}

} // namespace pg_retention::server
