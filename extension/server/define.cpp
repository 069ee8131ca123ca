#include "extension/server/define.hpp"

#include "extension/boundary/spi.hpp"
#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/store.hpp"

#include <iterator>
#include <utility>

namespace pg_retention::server::define {
namespace {

using core::Failure;
using core::quote;

/// The role a policy made now belongs to.
Oid owner_for(Oid target) {
  const bool is_superuser = boundary::server([] { return superuser(); });
  return is_superuser ? catalog::owner(target) : caller();
}

void require_owner(const core::Policy& policy) { require_membership(policy.owner, "policy " + quote(policy.name)); }

core::Policy stored(const std::string& name) {
  auto policy = store::load(name);
  if (!policy)
    store::no_such_policy(name);
  return *policy;
}

/// Whether a policy of that name is there already, which is a NOTICE.
bool stays_as_it_is(const std::string& name) {
  if (!store::load(name))
    return false;
  boundary::notice("policy " + quote(name) + " already exists, skipping");
  return true;
}

/// The present name of a table, kept beside its oid for the day when it is gone.
void note_name(core::Fields& fields, const char* oid_field, const char* name_field) {
  const auto found = fields.find(oid_field);
  if (found == fields.end() || !found->second)
    return;
  const auto relation = catalog::find(static_cast<Oid>(std::stoul(*found->second)));
  if (relation)
    fields[name_field] = relation->label();
}

void note_names(core::Fields& fields) {
  note_name(fields, "target", "target_name");
  note_name(fields, "subject", "subject_name");
  note_name(fields, "archive_to", "archive_name");
}

/// What stands where nothing is said.
const core::Fields& defaults() {
  static const core::Fields fields{
      {"subject", std::nullopt},      {"subject_name", std::nullopt}, {"path", std::nullopt},
      {"time_columns", std::nullopt}, {"time_match", "all"},          {"time_unit", std::nullopt},
      {"never", std::nullopt},        {"when_null", "keep"},          {"expiry_expression", std::nullopt},
      {"condition", std::nullopt},    {"set_clause", std::nullopt},   {"action", "delete"},
      {"keep_latest", std::nullopt},  {"keep_per", std::nullopt},     {"max_rows", std::nullopt},
      {"max_fraction", std::nullopt}, {"dependents", "refuse"},       {"run_order", "0"},
      {"archive_to", std::nullopt},   {"archive_name", std::nullopt}, {"record_keys", std::nullopt},
      {"max_deviation", std::nullopt}};
  return fields;
}

/// `time_column` is `time_columns` of one.
void one_column_is_many(core::Fields& fields) {
  const auto one = fields.find("time_column");
  if (one == fields.end())
    return;
  if (one->second && fields["time_columns"])
    throw Failure(core::sqlstate::invalid_parameter_value, "time_column and time_columns exclude each other", "",
                  "Give one of the two.");
  if (one->second)
    fields["time_columns"] = core::array_text({*one->second});
  fields.erase("time_column");
}

/// A list of nothing is no list, and the table 0 none, so that what is exported is what was stored.
void nothing_is_null(core::Fields& fields) {
  for (const char* name : {"path", "time_columns", "never", "keep_per", "subject", "archive_to"})
    if (const auto found = fields.find(name); found != fields.end() && (found->second == "{}" || found->second == "0"))
      found->second = std::nullopt;
}

/// In a copy, an oid that was dangling where it came from may mean a stranger here.
void require_same_table(const std::string& policy, Oid oid, const std::string& last_name) {
  if (oid == InvalidOid)
    return;
  const core::Relation found = catalog::relation(oid, last_name);
  if (found.label() != last_name)
    throw Failure(core::sqlstate::undefined_table,
                  "policy " + quote(policy) + " was made for table " + last_name + ", but here it names " +
                      found.label(),
                  "", "Say which table is meant: retention.alter_policy('" + policy + "', target => ...).");
}

} // namespace

void add(Definition definition, bool if_not_exists) {
  core::Fields& fields = definition.fields;
  if (!fields["name"])
    throw Failure(core::sqlstate::null_value_not_allowed, "name must not be null");
  const std::string name = *fields["name"];
  if (if_not_exists && stays_as_it_is(name))
    return;
  one_column_is_many(fields);
  if (!fields["target"])
    throw Failure(core::sqlstate::null_value_not_allowed, "target must not be null");
  const Oid target = static_cast<Oid>(std::stoul(*fields["target"]));
  (void)catalog::relation(target, *fields["target"]);
  if (!fields["expire_after"]) {
    if (!fields["expiry_expression"])
      throw Failure(core::sqlstate::null_value_not_allowed, "expire_after must not be null", "",
                    "For example '90 days'; '0' where the column holds the instant of expiry itself.");
    fields["expire_after"] = "0";
  }
  if (!fields["time_zone"])
    fields["time_zone"] = zone_of({});
  const Oid owner = owner_for(target);
  fields["owner"] = std::to_string(owner);
  fields["owner_name"] = role_name(owner);
  note_names(fields);
  nothing_is_null(fields);
  write_out(definition);
  check(definition.policy());
  make_archives(definition);
  for (auto field = fields.begin(); field != fields.end();)
    field = field->second ? std::next(field) : fields.erase(field);
  store::insert(fields, definition.activities, definition.dependents);
}

void adopt_preset(const std::string& name, const presets::Names& names, bool if_not_exists) {
  if (if_not_exists && stays_as_it_is(name))
    return;
  const core::Policy policy = presets::build(name, names);
  add({presets::fields_of(policy), policy.activities, policy.declared}, false);
}

Definition stored_or_adopted(const std::string& name) {
  if (!store::load(name) && presets::is_preset(name))
    adopt_preset(name, {}, false);
  const core::Policy policy = stored(name);
  return {*store::load_fields(name), policy.activities, policy.declared};
}

void replace(Definition definition, const std::string& change) {
  const std::string name = definition.fields["name"].value_or("");
  require_owner(stored(name));
  note_names(definition.fields);
  nothing_is_null(definition.fields);
  write_out(definition);
  check(definition.policy());
  make_archives(definition);
  for (const char* fixed : {"id", "version", "name", "owner", "owner_name"})
    definition.fields.erase(fixed);
  store::replace_children(name, definition.activities, definition.dependents);
  store::update(name, definition.fields, change);
}

void replace_fully(Definition definition) {
  const core::Fields before = *store::load_fields(definition.fields["name"].value_or(""));
  for (const auto& [field, value] : defaults())
    definition.fields.emplace(field, value);
  for (const auto& [field, value] : before)
    definition.fields.emplace(field, value);
  one_column_is_many(definition.fields);
  replace(std::move(definition), "imported");
}

void alter_policy(const std::string& name, const core::Fields& changes, const std::vector<std::string>& reset) {
  Definition definition = stored_or_adopted(name);
  if (changes.empty() && reset.empty())
    throw Failure(core::sqlstate::invalid_parameter_value, "nothing to change in policy " + quote(name), "",
                  "Name what shall change, for example expire_after => '60 days'.");
  if (changes.count("time_column") != 0)
    definition.fields["time_columns"] = std::nullopt;
  for (const std::string& field : reset) {
    if (field == "activities" || field == "dependent_tables") {
      if (field == "activities")
        definition.activities.clear();
      else
        definition.dependents.clear();
      continue;
    }
    const std::string stored_as = field == "time_column" ? "time_columns" : field;
    const auto found = defaults().find(stored_as);
    if (found == defaults().end())
      throw Failure(core::sqlstate::invalid_parameter_value, "field " + quote(field) + " cannot be reset");
    definition.fields[stored_as] = found->second;
  }
  for (const auto& [field, value] : changes)
    definition.fields[field] = value;
  one_column_is_many(definition.fields);
  replace(std::move(definition), "altered");
}

void add_activity(const std::string& name, core::Activity activity) {
  Definition definition = stored_or_adopted(name);
  activity.relation_name = catalog::relation(activity.relation, std::to_string(activity.relation)).label();
  definition.activities.push_back(std::move(activity));
  replace(std::move(definition), "activity added");
}

void add_dependent(const std::string& name, core::Dependent dependent) {
  Definition definition = stored_or_adopted(name);
  dependent.relation_name = catalog::relation(dependent.relation, std::to_string(dependent.relation)).label();
  if (dependent.parent != InvalidOid)
    (void)catalog::relation(dependent.parent, std::to_string(dependent.parent));
  for (const core::Dependent& known : definition.dependents)
    if (known.relation == dependent.relation && known.join_condition == dependent.join_condition)
      throw Failure(core::sqlstate::duplicate_object,
                    "policy " + quote(name) + " already has the dependent " + dependent.relation_name);
  definition.dependents.push_back(std::move(dependent));
  replace(std::move(definition), "dependent added");
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
  require_owner(stored_or_adopted(name).policy());
  store::pause(name);
}

void resume_policy(const std::string& name) {
  const core::Policy policy = stored(name);
  require_owner(policy);
  if (!store::is_at_home(name)) {
    if (policy.owner == InvalidOid)
      throw Failure(core::sqlstate::undefined_object,
                    "the role " + quote(*store::load_fields(name)->at("owner_name")) + " that owns policy " +
                        quote(name) + " does not exist here",
                    "", "Create the role, or remove the policy and add it again as the role that shall own it.");
    require_same_table(policy.name, policy.target, policy.target_name);
    require_same_table(policy.name, policy.subject, policy.subject_name);
    require_same_table(policy.name, policy.archive_to, policy.archive_name);
  }
  check(policy);
  store::resume(name, policy.owner);
}

} // namespace pg_retention::server::define
