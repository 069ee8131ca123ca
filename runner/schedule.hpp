// Which connection does what: policies in order, whole or cut into slices.
#pragma once

#include "outcome.hpp"

#include <string>
#include <vector>

namespace pg_retention::runner {

/// A policy as far as its place among others matters.
struct Candidate {
  std::string name;
  int run_order = 0;
  std::string target; ///< what tells tables apart; empty where it is not known
};

/// Shares that may be worked on at the same time; the next stage begins when all of them have ended.
struct Stage {
  std::vector<Share> shares;
  std::vector<std::string> targets; ///< of each share; whole policies of one target take turns
  bool is_cut = false;              ///< the shares are the slices of one policy
};

/// Stages in their order, and how many connections they can use at once.
struct Schedule {
  std::vector<Stage> stages;
  int connections = 1;
};

/// Cuts the work for at most `jobs` connections. Neighbours of one run_order are a group, and groups keep their order.
/// A group that acts on at least as many tables as there are connections is one stage of whole policies; of any other
/// group each policy is a stage of its own, cut into as many slices as there are connections. Limits that count rows
/// are divided: max_rows among the slices of a policy, max_rows_per_second among whatever runs at once.
[[nodiscard]] Schedule schedule(const std::vector<Candidate>& policies, int jobs, const RunLimits& limits);

} // namespace pg_retention::runner
