#include "schedule.hpp"

#include <algorithm>
#include <set>

namespace pg_retention::runner {
namespace {

/// The part of a number for one of several, so that all of them together make the number.
std::optional<std::int64_t> part_of(std::optional<std::int64_t> whole, int one, int of) {
  if (!whole)
    return whole;
  return *whole / of + (one <= *whole % of ? 1 : 0);
}

/// The name under which a policy's target keeps others away: its own where the target is not known.
std::string key_of(const Candidate& policy) {
  return policy.target.empty() ? "policy " + policy.name : "table " + policy.target;
}

/// One policy in as many slices as are useful; in one piece where that is one.
Stage cut(const Candidate& policy, int jobs, const RunLimits& limits) {
  const int slices = static_cast<int>(std::min<std::int64_t>(jobs, limits.max_rows.value_or(jobs)));
  Stage stage;
  stage.is_cut = slices > 1;
  for (int slice = 1; slice <= slices; ++slice) {
    Share share{policy.name, stage.is_cut ? slice : 0, stage.is_cut ? slices : 0, limits};
    share.limits.max_rows = part_of(limits.max_rows, slice, slices);
    share.limits.max_rows_per_second = part_of(limits.max_rows_per_second, slice, slices);
    stage.shares.push_back(share);
    stage.targets.push_back(key_of(policy));
  }
  return stage;
}

/// Whole policies, as many at once as there are connections.
Stage spread(const std::vector<Candidate>& group, int jobs, const RunLimits& limits) {
  Stage stage;
  for (const Candidate& policy : group) {
    Share share{policy.name, 0, 0, limits};
    if (limits.max_rows_per_second)
      share.limits.max_rows_per_second = *limits.max_rows_per_second / jobs;
    stage.shares.push_back(share);
    stage.targets.push_back(key_of(policy));
  }
  return stage;
}

} // namespace

Schedule schedule(const std::vector<Candidate>& policies, int jobs, const RunLimits& limits) {
  // Each connection needs at least one row a second of the rate.
  jobs = static_cast<int>(std::min<std::int64_t>(jobs, limits.max_rows_per_second.value_or(jobs)));
  Schedule plan;
  for (auto first = policies.begin(); first != policies.end();) {
    const auto end =
        std::find_if(first, policies.end(), [&](const Candidate& next) { return next.run_order != first->run_order; });
    const std::vector<Candidate> group(first, end);
    std::set<std::string> tables;
    for (const Candidate& policy : group)
      tables.insert(key_of(policy));
    if (jobs > 1 && static_cast<int>(tables.size()) >= jobs)
      plan.stages.push_back(spread(group, jobs, limits));
    else
      for (const Candidate& policy : group)
        plan.stages.push_back(cut(policy, jobs, limits));
    first = end;
  }
  for (const Stage& stage : plan.stages)
    plan.connections = std::max(plan.connections, std::min(jobs, static_cast<int>(stage.shares.size())));
  return plan;
}

} // namespace pg_retention::runner
