#include "extension/server/definition.hpp"

#include "extension/boundary/parse.hpp"
#include "extension/boundary/spi.hpp"
#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/core/restoration.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/erase.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/run.hpp"

namespace pg_retention::server::define {
namespace {

using core::Failure;

/// What can be checked of the texts alone.
void check_texts(const core::Policy& policy) {
  if (policy.name.empty() || policy.name.size() > 63)
    throw Failure(core::sqlstate::invalid_parameter_value, "a policy's name has 1 to 63 bytes",
                  "This one has " + std::to_string(policy.name.size()) + ".");
  const std::string zone = zone_of(policy);
  if (!boundary::server([&] { return pg_tzset(zone.c_str()) != nullptr; }))
    throw Failure(core::sqlstate::invalid_parameter_value, "time zone " + core::quote_literal(zone) + " is not known",
                  "", "See pg_timezone_names.");
  if (!policy.condition.empty())
    boundary::require_expression(policy.condition, "condition");
  if (!policy.expiry_expression.empty())
    boundary::require_expression(policy.expiry_expression, "expiry_expression");
  if (!policy.set_clause.empty())
    boundary::require_assignments(policy.set_clause, "set_clause");
  for (const core::Activity& activity : policy.activities) {
    boundary::require_expression(activity.join_condition, "join_condition");
    if (!activity.condition.empty())
      boundary::require_expression(activity.condition, "condition of an activity");
  }
  for (const core::Dependent& dependent : policy.declared)
    if (!dependent.join_condition.empty())
      boundary::require_expression(dependent.join_condition, "join_condition");
  // Zero means that the column holds the instant of expiry itself.
  (void)cutoff_before_now(policy.expire_after, zone, !policy.time_columns.empty() || !policy.expiry_expression.empty());
}

/// The statements of a resolved policy must be sound.
void check_statements(const Resolved& resolved) {
  const core::Rule& rule = resolved.rule;
  const bool has_expiry = !rule.times.empty() || !rule.activities.empty() || !rule.expiry_expression.empty();
  // A policy may wait for its first activity; until then it does not run.
  if (has_expiry)
    boundary::prepare(core::victims_select(rule), {TIMESTAMPTZOID});
  core::RowChange change;
  change.leaf = change.root = rule.target;
  change.set_clause = rule.set_clause;
  // Alone, a change needs no RETURNING, which a rule of the table may not have.
  const bool is_alone = resolved.edges.empty() && resolved.archive.oid == InvalidOid;
  boundary::prepare(is_alone ? core::plain_statement(change) : core::change_statement({change}), {TIDARRAYOID});
  for (const Edge& edge : resolved.edges) {
    boundary::prepare(core::children_select(edge.bond), {TIDARRAYOID});
    if (rule.set_clause.empty() || edge.action != EdgeAction::remove)
      continue;
    change.leaf = change.root = edge.bond.child;
    boundary::prepare(core::change_statement({change}), {TIDARRAYOID});
  }
}

/// Throws Failure where a table has columns that its archive must have for itself.
void require_room_in_archive(const core::Relation& table) {
  for (const core::Relation& leaf : catalog::leaves(table))
    for (const char* name : {core::archive_run, core::archive_time})
      if (catalog::column(leaf, name))
        throw Failure(core::sqlstate::duplicate_column,
                      leaf.label() + " has a column " + core::quote(name) + ", which an archive needs for itself",
                      "An archive has the columns of its table, the number of the run and the time of archiving.",
                      "Rename the column; an archive cannot be archived again.");
}

/// Makes a table's archive where there is none: like the table, with what its heirs add, and two columns more.
void make_archive(const core::Relation& table, Oid owner) {
  require_room_in_archive(table);
  const core::Relation archive = archive_of(table);
  require_own_archive(archive, owner);
  if (archive.oid != InvalidOid)
    return;
  boundary::execute("CREATE TABLE " + archive.sql() + " (LIKE " + table.sql() +
                    ", retention_run_id bigint NOT NULL, archived_at timestamptz NOT NULL)");
  const core::Relation made = archive_of(table);
  for (const core::Relation& leaf : catalog::leaves(table))
    for (const catalog::Column& column : catalog::columns(leaf.oid))
      if (!catalog::column(made, column.name))
        boundary::execute("ALTER TABLE " + made.sql() + " ADD COLUMN " + core::quote(column.name) + " " + column.type);
}

/// Every archive must be able to take what it will be given.
void check_archives(const Resolved& resolved) {
  catalog::require_supported(resolved.archive);
  if (boundary::server([&] { return get_rel_persistence(resolved.archive.oid) == RELPERSISTENCE_TEMP; }))
    throw Failure(core::sqlstate::feature_not_supported, resolved.archive.label() + " is a temporary table", "",
                  "What is archived there would be gone with the session.");
  if (resolved.archive.oid == resolved.rule.target.oid)
    throw Failure(core::sqlstate::invalid_parameter_value, "a table cannot be its own archive", "",
                  "Leave archive_to out to have one made.");
  const auto check = [&](const core::Relation& table) {
    require_room_in_archive(table);
    for (const core::Relation& leaf : catalog::leaves(table))
      boundary::prepare(core::change_statement({archiving(resolved, leaf)}), {TIDARRAYOID});
  };
  check(resolved.rule.target);
  for (const Edge& edge : resolved.edges)
    if (edge.action == EdgeAction::remove)
      check(edge.bond.child);
}

/// An expression over the target, and over subject where that is another table or is said. Where the target is its own
/// subject, bare column names would be ambiguous beside the alias, so it is tried without first.
std::string written_out(const std::string& text, const core::Rule& rule) {
  if (!rule.path.empty())
    return boundary::qualified_expression(text, core::scope(rule));
  std::string out;
  const auto without =
      boundary::attempt([&] { out = boundary::qualified_expression(text, core::scope_of_target(rule)); });
  if (!without)
    return out;
  const auto with = boundary::attempt([&] { out = boundary::qualified_expression(text, core::scope(rule)); });
  if (!with)
    return out;
  // Once more, so that the server's error leaves whole.
  return boundary::qualified_expression(text,
                                        with->sqlstate == "42702" ? core::scope_of_target(rule) : core::scope(rule));
}

/// The values that mean never, read as the caller writes them.
std::vector<std::string> values_written_out(const core::Policy& policy, const core::Rule& rule) {
  const catalog::ColumnType column = catalog::require_column(rule.subject(), policy.time_columns.front());
  std::vector<std::string> values;
  for (const std::string& value : policy.never)
    values.push_back(boundary::written_value(value, column.base));
  return values;
}

} // namespace

core::Policy Definition::policy() const {
  core::Policy policy = core::read_policy(fields);
  policy.activities = activities;
  policy.declared = dependents;
  return policy;
}

void write_out(Definition& definition) {
  const core::Policy policy = definition.policy();
  check_texts(policy);
  core::Policy bare = policy;
  bare.expiry_expression.clear();
  bare.condition.clear();
  bare.set_clause.clear();
  bare.action = core::Action::remove;
  bare.activities.clear();
  bare.declared.clear();
  const core::Rule rule = resolve(bare).rule;
  const auto set = [&](const char* field, const std::string& text) {
    if (!text.empty())
      definition.fields[field] = written_out(text, rule);
  };
  if (!policy.never.empty())
    definition.fields["never"] = core::array_text(values_written_out(policy, rule));
  set("condition", policy.condition);
  set("expiry_expression", policy.expiry_expression);
  if (!policy.set_clause.empty())
    definition.fields["set_clause"] =
        boundary::qualified_assignments(policy.set_clause, rule.target.schema, rule.target.name);
  const std::string subject = rule.subject().sql() + " AS subject";
  for (core::Activity& activity : definition.activities) {
    const std::string from =
        catalog::relation(activity.relation, activity.relation_name).sql() + " AS activity, " + subject;
    activity.join_condition = boundary::qualified_expression(activity.join_condition, from);
    if (!activity.condition.empty())
      activity.condition = boundary::qualified_expression(activity.condition, from);
  }
  for (core::Dependent& dependent : definition.dependents) {
    if (dependent.join_condition.empty())
      continue;
    const Oid parent = dependent.parent == InvalidOid ? rule.target.oid : dependent.parent;
    dependent.join_condition = boundary::qualified_expression(
        dependent.join_condition, catalog::relation(dependent.relation, dependent.relation_name).sql() +
                                      " AS dependent, " + catalog::relation(parent, "of a dependent's parent").sql() +
                                      " AS target");
  }
}

void check(const core::Policy& policy) {
  const Authority before = act_as(policy.owner, zone_of(policy));
  const Resolved resolved = resolve(policy);
  check_statements(resolved);
  require_rights(resolved);
  give_back(before);
}

void make_archives(Definition& definition) {
  core::Policy policy = definition.policy();
  if (policy.action != core::Action::archive)
    return;
  const Authority before = act_as(policy.owner, zone_of(policy));
  Resolved resolved = resolve(policy);
  if (resolved.archive.oid == InvalidOid) {
    const core::Relation& target = resolved.rule.target;
    make_archive(target, resolved.owner);
    resolved.archive = archive_of(target);
    definition.fields["archive_to"] = std::to_string(resolved.archive.oid);
    definition.fields["archive_name"] = resolved.archive.label();
  }
  for (const Edge& edge : resolved.edges)
    if (edge.action == EdgeAction::remove)
      make_archive(edge.bond.child, resolved.owner);
  check_archives(resolved);
  give_back(before);
}

} // namespace pg_retention::server::define
