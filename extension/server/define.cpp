#include "extension/server/define.hpp"

#include "extension/boundary/parse.hpp"
#include "extension/boundary/spi.hpp"
#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/run.hpp"
#include "extension/server/store.hpp"

extern "C" {
#include "pgtime.h"
}

namespace pg_retention::server::define {
namespace {

using core::Failure;
using core::quote;

/// The role a policy made now belongs to.
Oid owner_for(Oid target) {
  const bool is_superuser = boundary::server([] { return superuser(); });
  return is_superuser ? catalog::owner(target) : caller();
}

void check_texts(const core::Policy& policy) {
  if (policy.name.empty() || policy.name.size() > 63)
    throw Failure(core::sqlstate::invalid_parameter_value, "a policy's name has 1 to 63 bytes",
                  "This one has " + std::to_string(policy.name.size()) + ".");
  const std::string zone = zone_of(policy);
  if (!boundary::server([&] { return pg_tzset(zone.c_str()) != nullptr; }))
    throw Failure(core::sqlstate::invalid_parameter_value, "time zone " + core::quote_literal(zone) + " is not known",
                  "", "See pg_timezone_names.");
  if (!policy.condition.empty()) boundary::require_expression(policy.condition, "condition");
  if (!policy.set_clause.empty()) boundary::require_assignments(policy.set_clause, "set_clause");
  for (const core::Activity& activity : policy.activities) {
    boundary::require_expression(activity.join_condition, "join_condition");
    if (!activity.condition.empty()) boundary::require_expression(activity.condition, "condition of an activity");
  }
  // Zero means that the column holds the instant of expiry itself.
  (void)cutoff_before_now(policy.expire_after, zone, !policy.time_column.empty());
}

/// Everything that can be known before the first run. Reads only.
void check(const core::Policy& policy) {
  check_texts(policy);
  const Authority before = act_as(policy.owner, zone_of(policy));
  const Resolved resolved = resolve(policy);
  boundary::prepare(core::victims_select(resolved.rule), {TIMESTAMPTZOID});
  const core::RowChange change{resolved.rule.target, resolved.rule.target, policy.action == core::Action::update,
                               policy.set_clause};
  boundary::prepare(core::change_statement({change}), {TIDARRAYOID});
  require_rights(resolved);
  give_back(before);
}

void require_owner(const core::Policy& policy) {
  require_membership(policy.owner, "policy " + quote(policy.name));
}

core::Policy stored(const std::string& name) {
  auto policy = store::load(name);
  if (!policy) store::no_such_policy(name);
  return *policy;
}

} // namespace

void adopt_preset(const std::string& name, const presets::Names& names, bool if_not_exists) {
  if (if_not_exists && store::load(name)) {
    boundary::notice("policy " + quote(name) + " already exists, skipping");
    return;
  }
  core::Policy policy = presets::build(name, names);
  policy.owner = owner_for(policy.target);
  check(policy);
  core::Fields fields = presets::fields_of(policy);
  fields["owner"] = std::to_string(policy.owner);
  store::insert(fields, policy.activities, policy.declared);
}

void alter_policy(const std::string& name, const core::Fields& changes) {
  if (!store::load(name) && presets::is_preset(name)) adopt_preset(name, {}, false);
  const core::Policy before = stored(name);
  require_owner(before);
  if (changes.empty())
    throw Failure(core::sqlstate::invalid_parameter_value, "nothing to change in policy " + quote(name), "",
                  "Name what shall change, for example expire_after => '60 days'.");
  core::Fields fields = *store::load_fields(name);
  for (const auto& [field, value] : changes) fields[field] = value;
  core::Policy policy = core::read_policy(fields);
  policy.activities = before.activities;
  policy.declared = before.declared;
  check(policy);
  store::update(name, changes, "altered");
}

void remove_policy(const std::string& name, bool if_exists) {
  if (if_exists && !store::load(name)) {
    boundary::notice("policy " + quote(name) + " does not exist, skipping");
    return;
  }
  require_owner(stored(name));
  store::remove(name);
}

void pause_policy(const std::string& name) {
  if (!store::load(name) && presets::is_preset(name)) adopt_preset(name, {}, false);
  require_owner(stored(name));
  store::pause(name);
}

void resume_policy(const std::string& name) {
  const core::Policy policy = stored(name);
  require_owner(policy);
  check(policy);
  store::resume(name);
}

} // namespace pg_retention::server::define
