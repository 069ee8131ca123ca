#include "extension/server/resolve.hpp"

#include "extension/core/failure.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/settings.hpp"

#include <algorithm>

namespace pg_retention::server {
namespace {

using core::Failure;

/// What the policy says of a table that refers to a row that goes; nullptr where it says nothing.
const core::Dependent* declared(const core::Policy& policy, Oid relation) {
  const auto found = std::find_if(policy.declared.begin(), policy.declared.end(), [&](const core::Dependent& d) {
    return d.relation == relation && d.join_condition.empty();
  });
  return found == policy.declared.end() ? nullptr : &*found;
}

/// The schema's own rule where it has one, else the policy's.
EdgeAction rule_of(const core::Policy& policy, const core::ForeignKey& key) {
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

/// What was said per edge, held against what the key allows.
EdgeAction action_said(const core::Dependent& said, const core::ForeignKey& key) {
  switch (said.action) {
  case core::DependentAction::remove:
    return EdgeAction::remove;
  case core::DependentAction::refuse:
    return EdgeAction::refuse;
  case core::DependentAction::set_null:
    for (const std::string& column : key.child_columns)
      if (!catalog::is_nullable(key.child, column))
        throw Failure(core::sqlstate::invalid_parameter_value,
                      "column " + core::quote(column) + " of dependent " + key.child.label() + " cannot be set to null",
                      "It is NOT NULL.", "Say 'delete' or 'refuse' for this dependent.");
    return EdgeAction::set_null;
  case core::DependentAction::keep:
    break;
  }
  if (key.on_delete == core::OnDelete::set_null || key.on_delete == core::OnDelete::set_default)
    return EdgeAction::clear;
  throw Failure(core::sqlstate::invalid_parameter_value,
                "dependent " + key.child.label() + " cannot be kept while the row it refers to goes",
                "Its foreign key " + core::quote(key.name) + " forbids it.", "Say 'delete', 'set_null' or 'refuse'.");
}

/// A bond that the catalog does not know.
Edge edge_of(const core::Dependent& dependent, const core::Relation& parent) {
  const core::Relation child = catalog::relation(dependent.relation, dependent.relation_name);
  if (dependent.action == core::DependentAction::set_null)
    throw Failure(core::sqlstate::invalid_parameter_value,
                  "dependent " + child.label() + " cannot be set to null: no foreign key says which columns", "",
                  "Say 'delete', 'keep' or 'refuse' for a dependent with a join_condition.");
  return {{child, parent, dependent.join_condition, {}, false},
          dependent.action == core::DependentAction::remove ? EdgeAction::remove : EdgeAction::refuse,
          child.label()};
}

/// The bonds to the target, and to what goes with it, at any depth. A row that is only updated breaks no bond: there
/// the edges are those along which the update shall spread.
std::vector<Edge> edges_of(const core::Policy& policy, const core::Relation& target,
                           const std::vector<core::ForeignKey>& keys) {
  std::vector<Edge> edges;
  std::vector<core::Relation> seen{target};
  const bool is_update = policy.action == core::Action::update;
  const auto take = [&](Edge edge) {
    const auto is_it = [&](const core::Relation& r) { return r.oid == edge.bond.child.oid; };
    const bool is_new = std::none_of(seen.begin(), seen.end(), is_it);
    if (edge.action == EdgeAction::remove && is_new)
      seen.push_back(edge.bond.child);
    edges.push_back(std::move(edge));
  };
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const core::Relation parent = seen[i];
    const std::vector<Oid> family = catalog::relatives(parent.oid);
    for (const core::ForeignKey& key : keys) {
      if (std::find(family.begin(), family.end(), key.parent.oid) == family.end())
        continue;
      const core::Dependent* said = declared(policy, key.child.oid);
      if (is_update && said == nullptr && policy.dependents == core::OnDependents::refuse)
        continue;
      const EdgeAction action = said != nullptr ? action_said(*said, key)
                                : is_update     ? EdgeAction::remove
                                                : rule_of(policy, key);
      take({core::bond_of(key), action, key.child.label()});
    }
    for (const core::Dependent& dependent : policy.declared) {
      const Oid hangs_on = dependent.parent == InvalidOid ? target.oid : dependent.parent;
      if (dependent.join_condition.empty() || hangs_on != parent.oid)
        continue;
      if (dependent.action != core::DependentAction::keep)
        take(edge_of(dependent, parent));
    }
  }
  return edges;
}

/// A declared dependent must be reached, or its rows would silently stay.
void require_reached(const core::Policy& policy, const std::vector<Edge>& edges) {
  for (const core::Dependent& dependent : policy.declared) {
    const auto is_it = [&](const Edge& edge) { return edge.bond.child.oid == dependent.relation; };
    if (dependent.action == core::DependentAction::keep || std::any_of(edges.begin(), edges.end(), is_it))
      continue;
    const core::Relation relation = catalog::relation(dependent.relation, dependent.relation_name);
    throw Failure(core::sqlstate::undefined_object,
                  "no foreign key leads from dependent " + relation.label() + " to the target of policy " +
                      core::quote(policy.name),
                  "", "Add the foreign key, or say how its rows are found with a join_condition.");
  }
}

/// The expression as a timestamptz, whatever kind of time it gives.
std::string as_instant(const core::Policy& policy, const core::Rule& rule, const std::string& zone) {
  core::Rule bare = rule;
  bare.expiry_expression = policy.expiry_expression;
  const std::string text = "(" + policy.expiry_expression + "\n)";
  const std::string in_zone = "pg_catalog.timezone(" + core::quote_literal(zone) + ", " + text;
  switch (boundary::result_type(core::expression_probe(bare))) {
  case TIMESTAMPTZOID:
    return text;
  case TIMESTAMPOID:
    return in_zone + ")";
  case DATEOID:
    return in_zone + "::pg_catalog.timestamp)";
  default:
    throw Failure(core::sqlstate::datatype_mismatch, "expiry_expression gives no instant", "",
                  "It must be of type timestamptz, timestamp or date, for example created_at + ttl.");
  }
}

/// The times of a rule.
void resolve_times(const core::Policy& policy, const std::string& zone, core::Rule& rule) {
  for (const std::string& column : policy.time_columns) {
    rule.times.push_back(catalog::time_column(rule.subject(), column, policy.unit, zone));
    rule.times.back().never = policy.never;
    rule.times.back().when_null = policy.when_null;
  }
  rule.match = policy.time_match;
  if (!policy.expiry_expression.empty())
    rule.expiry_expression = as_instant(policy, rule, zone);
}

/// The activities of a rule.
void resolve_activities(const core::Policy& policy, const std::string& zone, core::Rule& rule) {
  for (const core::Activity& activity : policy.activities) {
    core::ActivitySource source;
    source.relation = catalog::relation(activity.relation, activity.relation_name);
    source.time = catalog::time_column(source.relation, activity.time_column, activity.unit,
                                       activity.time_zone.empty() ? zone : activity.time_zone);
    source.join_condition = activity.join_condition;
    source.condition = activity.condition;
    source.time_is_indexed = catalog::is_indexed(source.relation, activity.time_column);
    rule.activities.push_back(std::move(source));
  }
}

/// A partition has the keys of the tables it is part of.
void lend_keys(const core::Relation& target, std::vector<core::ForeignKey>& keys) {
  const std::vector<Oid> ancestors = catalog::partition_ancestors(target.oid);
  if (ancestors.empty())
    return;
  std::vector<core::ForeignKey> lent;
  for (const core::ForeignKey& key : keys)
    if (std::find(ancestors.begin(), ancestors.end(), key.child.oid) != ancestors.end()) {
      lent.push_back(key);
      lent.back().child = target;
    }
  keys.insert(keys.end(), lent.begin(), lent.end());
}

/// The target's primary key, which record_keys asks for.
std::vector<std::string> required_key(const core::Relation& target) {
  std::vector<std::string> key = catalog::primary_key(target.oid);
  if (key.empty())
    throw core::Failure(core::sqlstate::undefined_object, "table " + target.label() + " has no primary key",
                        "record_keys keeps the primary keys of the rows that go.",
                        "Add a primary key, or leave record_keys out.");
  return key;
}

} // namespace

std::string zone_of(const core::Policy& policy) {
  return policy.time_zone.empty() ? settings::naive_time_zone() : policy.time_zone;
}

Oid runs_as(const core::Policy& policy) {
  if (policy.id == 0 && policy.owner == InvalidOid)
    return catalog::owner(catalog::relation(policy.target, policy.target_name).oid);
  if (boundary::server([&] { return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(policy.owner)); }))
    return policy.owner;
  throw Failure(core::sqlstate::undefined_object,
                "the role that owns policy " + core::quote(policy.name) + " no longer exists", "",
                "Remove the policy and add it again as the role that shall own it.");
}

Resolved resolve(const core::Policy& policy, const std::vector<std::string>& extra_conditions) {
  Resolved out;
  out.owner = runs_as(policy);
  out.zone = zone_of(policy);
  core::Rule& rule = out.rule;
  rule.target = catalog::relation(policy.target, policy.target_name);
  catalog::require_supported(rule.target);
  std::vector<core::ForeignKey> keys = catalog::foreign_keys();
  lend_keys(rule.target, keys);
  if (policy.subject != InvalidOid)
    rule.path = core::the_path(keys, rule.target, catalog::relation(policy.subject, policy.subject_name), policy.path);
  for (const core::ForeignKey& step : rule.path)
    catalog::require_supported(step.parent);

  resolve_times(policy, out.zone, rule);
  resolve_activities(policy, out.zone, rule);
  if (!policy.condition.empty())
    rule.conditions.push_back(policy.condition);
  rule.conditions.insert(rule.conditions.end(), extra_conditions.begin(), extra_conditions.end());
  rule.set_clause = policy.set_clause;
  rule.keep_latest = policy.keep_latest.value_or(0);
  rule.keep_per = policy.keep_per;
  for (const std::string& column : rule.keep_per)
    (void)catalog::require_column(rule.target, column);
  if (policy.record_keys)
    out.recorded_key = required_key(rule.target);
  if (policy.archive_to != InvalidOid)
    out.archive = catalog::relation(policy.archive_to, policy.archive_name);
  const bool spreads = policy.dependents == core::OnDependents::cascade || !policy.declared.empty();
  if (policy.action == core::Action::update && !spreads)
    return out;
  out.edges = edges_of(policy, rule.target, keys);
  require_reached(policy, out.edges);
  for (const Edge& edge : out.edges) {
    catalog::require_supported(edge.bond.child);
    if (const core::Dependent* said = declared(policy, edge.bond.child.oid); said != nullptr && !said->label.empty())
      out.roles[said->label] = edge.label;
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
      require(resolved.owner, edge.bond.child.oid, rule.set_clause.empty() ? ACL_DELETE : ACL_UPDATE,
              edge.bond.child.label());
    else if (edge.action == EdgeAction::set_null)
      require(resolved.owner, edge.bond.child.oid, ACL_UPDATE, edge.bond.child.label());
  if (resolved.archive.oid != InvalidOid)
    require(resolved.owner, resolved.archive.oid, ACL_INSERT, resolved.archive.label());
}

} // namespace pg_retention::server
