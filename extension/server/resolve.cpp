#include "extension/server/resolve.hpp"

#include "extension/core/failure.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/settings.hpp"

#include <algorithm>

namespace pg_retention::server {
namespace {

using core::Failure;

/// What the policy says of a table that refers to a victim; nullptr where it says nothing.
const core::Dependent* declared(const core::Policy& policy, Oid relation) {
  const auto found = std::find_if(policy.declared.begin(), policy.declared.end(),
                                  [&](const core::Dependent& d) { return d.relation == relation; });
  return found == policy.declared.end() ? nullptr : &*found;
}

/// The schema's own rule where it has one, else the policy's.
EdgeAction action_of(const core::Policy& policy, const core::ForeignKey& key) {
  if (const core::Dependent* said = declared(policy, key.child.oid))
    return said->action == "delete" ? EdgeAction::remove : EdgeAction::refuse;
  switch (key.on_delete) {
  case core::OnDelete::cascade:
    return EdgeAction::remove;
  case core::OnDelete::set_null:
  case core::OnDelete::set_default:
    return EdgeAction::clear;
  default:
    return policy.dependents == core::OnDependents::cascade ? EdgeAction::remove : EdgeAction::refuse;
  }
}

/// The keys that refer to the target, and to what goes with it, at any depth.
std::vector<Edge> edges_of(const core::Policy& policy, const core::Relation& target,
                           const std::vector<core::ForeignKey>& keys) {
  std::vector<Edge> edges;
  std::vector<Oid> seen{target.oid};
  for (std::size_t i = 0; i < seen.size(); ++i)
    for (const core::ForeignKey& key : keys) {
      if (key.parent.oid != seen[i]) continue;
      const EdgeAction action = action_of(policy, key);
      edges.push_back({key, action, key.child.label()});
      const bool is_new = std::find(seen.begin(), seen.end(), key.child.oid) == seen.end();
      if (action == EdgeAction::remove && is_new) seen.push_back(key.child.oid);
    }
  return edges;
}

/// A declared dependent must be reached, or its rows would silently stay.
void require_reached(const core::Policy& policy, const std::vector<Edge>& edges) {
  for (const core::Dependent& dependent : policy.declared) {
    const auto is_it = [&](const Edge& edge) { return edge.key.child.oid == dependent.relation; };
    if (std::any_of(edges.begin(), edges.end(), is_it)) continue;
    const core::Relation relation = catalog::relation(dependent.relation, dependent.relation_name);
    throw Failure(core::sqlstate::undefined_object,
                  "no foreign key leads from dependent " + relation.label() + " to the target of policy " +
                      core::quote(policy.name),
                  "", "Add the foreign key.");
  }
}

} // namespace

std::string zone_of(const core::Policy& policy) {
  return policy.time_zone.empty() ? settings::naive_time_zone() : policy.time_zone;
}

Oid runs_as(const core::Policy& policy) {
  if (policy.owner == InvalidOid) return catalog::owner(catalog::relation(policy.target, policy.target_name).oid);
  if (boundary::server([&] { return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(policy.owner)); })) return policy.owner;
  throw Failure(core::sqlstate::undefined_object, "the role that owns policy " + core::quote(policy.name) + " no longer exists",
                "", "Remove the policy and add it again as the role that shall own it.");
}

Resolved resolve(const core::Policy& policy, const std::vector<std::string>& extra_conditions) {
  Resolved out;
  out.owner = runs_as(policy);
  out.zone = zone_of(policy);
  core::Rule& rule = out.rule;
  rule.target = catalog::relation(policy.target, policy.target_name);
  catalog::require_supported(rule.target);
  const std::vector<core::ForeignKey> keys = catalog::foreign_keys();
  if (policy.subject != InvalidOid)
    rule.path = core::the_path(keys, rule.target, catalog::relation(policy.subject, policy.subject_name), policy.path);
  for (const core::ForeignKey& step : rule.path) catalog::require_supported(step.parent);

  if (!policy.time_column.empty()) {
    rule.time = catalog::time_column(rule.subject(), policy.time_column, policy.unit, out.zone);
    rule.time->never = policy.never;
    rule.time->when_null = policy.when_null;
  }
  for (const core::Activity& activity : policy.activities) {
    core::ActivitySource source;
    source.relation = catalog::relation(activity.relation, activity.relation_name);
    source.time = catalog::time_column(source.relation, activity.time_column, activity.unit,
                                       activity.time_zone.empty() ? out.zone : activity.time_zone);
    source.join_condition = activity.join_condition;
    source.condition = activity.condition;
    rule.activities.push_back(std::move(source));
  }
  if (!policy.condition.empty()) rule.conditions.push_back(policy.condition);
  rule.conditions.insert(rule.conditions.end(), extra_conditions.begin(), extra_conditions.end());
  rule.set_clause = policy.set_clause;
  if (policy.action == core::Action::remove) {
    out.edges = edges_of(policy, rule.target, keys);
    require_reached(policy, out.edges);
    for (const Edge& edge : out.edges) {
      catalog::require_supported(edge.key.child);
      if (const core::Dependent* said = declared(policy, edge.key.child.oid); said != nullptr && !said->label.empty())
        out.roles[said->label] = edge.label;
    }
  }
  return out;
}

void require_rights(const Resolved& resolved) {
  const core::Rule& rule = resolved.rule;
  require(resolved.owner, rule.target.oid, rule.set_clause.empty() ? ACL_DELETE : ACL_UPDATE, rule.target.label());
  for (const core::ForeignKey& step : rule.path)
    require_row_lock(resolved.owner, step.parent.oid, step.parent.label());
  for (const Edge& edge : resolved.edges)
    if (edge.action == EdgeAction::remove)
      require(resolved.owner, edge.key.child.oid, ACL_DELETE, edge.key.child.label());
}

} // namespace pg_retention::server
