#include "extension/server/purge.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/restoration.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/define.hpp"
#include "extension/server/layout.hpp"
#include "extension/server/store.hpp"

namespace pg_retention::server {
namespace {

using core::Failure;

/// The archives of a policy as it is now. Throws Failure where it has none, or is not the caller's.
Layout archives_of(const std::string& name) {
  const auto policy = store::load(name);
  if (!policy)
    store::no_such_policy(name);
  require_membership(policy->owner, "policy " + core::quote(name));
  if (policy->action != core::Action::archive)
    throw Failure(core::sqlstate::invalid_parameter_value, "policy " + core::quote(name) + " has no archive", "",
                  "Only policies with action 'archive' have one.");
  const Authority before = act_as(policy->owner, zone_of(*policy));
  Layout layout = layout_of(name, resolve(*policy));
  give_back(before);
  return layout;
}

/// How archived rows hang on each other: as those of their tables do, where one run archived both. Rows of the target's
/// archive end by their own time, which is that of all that went with them.
std::vector<core::Dependent> bonds_of(const Layout& layout) {
  const std::string run = core::archive_run;
  std::vector<core::Dependent> bonds;
  for (std::size_t i = 1; i < layout.archived(); ++i)
    for (const Archived::Hang& hang : layout.tables[i].hangs) {
      core::Dependent bond;
      bond.relation = layout.tables[i].archive.oid;
      bond.relation_name = layout.tables[i].archive.label();
      bond.join_condition = "dependent." + run + " = target." + run + " AND (" + hang.condition + "\n)";
      bond.parent = layout.tables[hang.parent].archive.oid;
      bonds.push_back(std::move(bond));
    }
  return bonds;
}

} // namespace

std::string add_purge(const std::string& policy, const std::string& expire_after, const std::string& run_order,
                      bool if_not_exists) {
  const Layout layout = archives_of(policy);
  const std::string name = policy + "_purge";
  define::Definition definition;
  definition.fields = {{"name", name},
                       {"target", std::to_string(layout.tables.front().archive.oid)},
                       {"expire_after", expire_after},
                       {"time_column", core::archive_time}};
  if (!run_order.empty())
    definition.fields["run_order"] = run_order;
  definition.dependents = bonds_of(layout);
  define::add(std::move(definition), if_not_exists);
  // From now on holds know the archives, also of a policy that has not run since that is noted.
  note_layout(layout, 0);
  return name;
}

} // namespace pg_retention::server
