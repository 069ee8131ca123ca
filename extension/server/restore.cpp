#include "extension/server/restore.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/json.hpp"
#include "extension/core/message.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/constraints.hpp"
#include "extension/server/presets.hpp"
#include "extension/server/returning.hpp"
#include "extension/server/store.hpp"

#include <algorithm>

namespace pg_retention::server {
namespace {

using boundary::Arg;
using core::Failure;
using core::quote;

/// A run that is to be taken back.
struct Undone {
  std::int64_t id = 0;
  std::string policy;
  std::uint64_t affected = 0; ///< rows of the target that it archived, where that is known
  Layout layout;
};

[[noreturn]] void no_such_run(std::int64_t id) {
  throw Failure(core::sqlstate::undefined_object, "run " + std::to_string(id) + " does not exist", "",
                "See retention.runs for those that do.");
}

/// Whether an archive of a layout has rows of the run.
bool has_rows(const Layout& layout, std::int64_t id) {
  return std::any_of(layout.tables.begin(), layout.tables.end(), [&](const Archived& table) {
    bool found = false;
    if (table.archive.oid != InvalidOid)
      (void)boundary::attempt([&] {
        found = boundary::single(core::archived_select(table.archive) + " LIMIT 1", {Arg::of(id)}).has_value();
      });
    return found;
  });
}

/// The policy of a run whose row is not here, in a copy of its database or because it is too long ago: the one in whose
/// archives its rows are.
std::string policy_by_rows(std::int64_t id) {
  std::vector<std::string> found;
  for (const std::string& policy : archiving_policies()) {
    const auto layout = as_keeper([&] { return layout_at(policy, id); });
    if (!layout || layout->owner == InvalidOid)
      continue;
    const Authority own = act_as(layout->owner, zone_of({}));
    if (has_rows(*layout, id))
      found.push_back(policy);
    give_back(own);
  }
  if (found.empty())
    no_such_run(id);
  if (found.size() > 1)
    throw Failure(core::sqlstate::ambiguous_parameter,
                  "run " + std::to_string(id) + " may be one of several policies: " + core::join(found, ", "),
                  "Its row in retention.runs is gone, and the policies share an archive.");
  return found.front();
}

[[noreturn]] void not_archived(std::int64_t id, const std::string& action) {
  const std::string run = "run " + std::to_string(id);
  if (action == "restore")
    throw Failure(core::sqlstate::not_in_prerequisite_state, run + " is itself a restore", "",
                  "The policy's next run archives what is due again.");
  throw Failure(core::sqlstate::not_in_prerequisite_state, run + " did not archive its rows",
                action == "update" ? "It changed rows where they are, and what they were is kept nowhere."
                                   : "It deleted them.",
                "Only runs of policies with action 'archive' can be taken back.");
}

/// How the policy archives today, for runs of the time before that was noted.
Layout layout_of_today(const std::string& name, std::int64_t id) {
  const auto policy = store::load(name);
  if (!policy || policy->action != core::Action::archive)
    throw Failure(core::sqlstate::undefined_object,
                  "where run " + std::to_string(id) + " of policy " + quote(name) + " archived its rows is not known",
                  "It archived nothing, or ran before version 0.2.0 and its policy is gone.");
  const Authority before = act_as(runs_as(*policy), zone_of(*policy));
  Layout layout = layout_of(name, resolve(*policy));
  give_back(before);
  return layout;
}

Undone find_run(std::int64_t id) {
  Undone undone;
  undone.id = id;
  const boundary::Rows rows = as_keeper([&] {
    return boundary::query("SELECT policy, COALESCE(action, 'delete'), affected FROM retention.run WHERE id = $1",
                           {Arg::of(id)});
  });
  undone.policy = rows.empty() ? policy_by_rows(id) : *rows[0][0];
  if (!rows.empty()) {
    if (*rows[0][1] != "archive")
      not_archived(id, *rows[0][1]);
    undone.affected = std::stoull(*rows[0][2]);
  }
  auto layout = layout_at(undone.policy, id);
  undone.layout = layout ? std::move(*layout) : layout_of_today(undone.policy, id);
  if (undone.layout.owner == InvalidOid)
    throw Failure(core::sqlstate::undefined_object,
                  "the role that owned policy " + quote(undone.policy) + " does not exist here", "",
                  "Create the role of that name, with rights on the tables.");
  require_membership(undone.layout.owner, "policy " + quote(undone.policy));
  return undone;
}

std::string name_of(const core::Relation& table) { return table.oid == InvalidOid ? table.name : table.label(); }

/// What the rows are in for, if nobody does anything.
std::string what_comes_next(const std::string& name) {
  const auto policy = store::load(name);
  if (!policy || policy->paused || !store::is_at_home(name))
    return "";
  return "; they are due again at the next run of policy " + quote(name) +
         ": pause it, or place a hold on them, where they shall stay";
}

std::string message_of(const Undone& undone, const Outcome& outcome, std::uint64_t belonging, std::uint64_t staying) {
  std::string message = "Put " + core::counted(outcome.affected, "row") + " of " + outcome.target + " back";
  if (belonging != 0)
    message += ", and " + core::counted(belonging, "row") + " that belong to them";
  if (staying != 0)
    message += "; " + core::counted(staying, "row") + (staying == 1 ? " stays" : " stay") +
               " in the archive, see retention.unrestored";
  for (const Archived& table : undone.layout.tables)
    if (table.columns.empty())
      message += "; references in " + name_of(table.table) + " that the policy emptied stay empty";
  return outcome.affected + belonging != 0 ? message + what_comes_next(undone.policy) : message;
}

/// Puts rows back with the owner's rights, and counts.
void put_back(const Undone& undone, bool is_partial, Outcome& outcome, std::optional<Returning>& returning) {
  const Layout& layout = undone.layout;
  const Authority before = act_as(layout.owner, zone_of({}));
  returning.emplace(layout, undone.id, is_partial);
  std::vector<Oid> tables;
  for (const Archived& table : layout.tables)
    for (const Oid oid : {table.table.oid, table.archive.oid})
      if (oid != InvalidOid)
        tables.push_back(oid);
  const Deferrable deferred = check_at_once(tables);
  returning->run();
  defer_again(deferred);
  give_back(before);
  outcome.affected = returning->returned().front();
  outcome.held = returning->held();
  outcome.blocked = returning->staying().front() - outcome.held;
  outcome.locked = returning->locked().front();
  outcome.batches = outcome.affected != 0 ? 1 : 0;
  std::uint64_t belonging = 0, staying = outcome.blocked + outcome.locked + outcome.held;
  for (std::size_t i = 1; i < layout.archived(); ++i) {
    belonging += outcome.dependents[name_of(layout.tables[i].table)] = returning->returned()[i];
    staying += returning->staying()[i] + returning->locked()[i];
  }
  outcome.message = message_of(undone, outcome, belonging, staying);
  outcome.statistics = core::JsonObject()
                           .set("restored_run", undone.id)
                           .set("partial", is_partial)
                           .set("staying", static_cast<std::int64_t>(staying))
                           .text();
}

void record_unrestored(const Outcome& outcome, const Returning& returning) {
  const Authority before = act_as_keeper();
  for (const auto& [where, what] : returning.unrestored())
    boundary::execute("INSERT INTO retention.unrestored VALUES ($1, $2, $3, $4, $5, $6::pg_catalog.jsonb)",
                      {Arg::of(outcome.run_id), Arg::of(where.first), Arg::of(where.second),
                       Arg::of(static_cast<std::int64_t>(what.rows)), Arg::of(what.message),
                       Arg::of(what.sample_keys)});
  give_back(before);
}

} // namespace

Outcome restore(std::int64_t run, bool is_partial) {
  require_writable();
  const Undone undone = find_run(run);
  core::Policy policy;
  policy.name = undone.policy;
  policy.action = core::Action::restore;
  Outcome outcome = new_outcome(policy);
  outcome.target = name_of(undone.layout.tables.front().table);
  outcome.runs_as = undone.layout.owner;
  std::optional<Returning> returning;
  if (keep_out_others(undone.policy, outcome, LockSpan::transaction)) {
    const UnderWay marked(undone.policy);
    outcome.run_id = next_run_id();
    const Outcome untouched = outcome;
    const auto caught = boundary::attempt([&] { put_back(undone, is_partial, outcome, returning); });
    if (caught) {
      outcome = untouched;
      returning.reset();
      note_failure(outcome, *caught);
      warn_of_failure(outcome);
    }
  }
  outcome.finished = boundary::server([] { return GetCurrentTimestamp(); });
  if (outcome.statistics.empty())
    outcome.statistics = core::JsonObject().set("restored_run", run).set("partial", is_partial).text();
  record(outcome);
  if (returning)
    record_unrestored(outcome, *returning);
  return outcome;
}

} // namespace pg_retention::server
