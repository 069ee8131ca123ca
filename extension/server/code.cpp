#include "extension/server/code.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/define.hpp"
#include "extension/server/presets.hpp"
#include "extension/server/store.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace pg_retention::server::code {
namespace {

using boundary::Arg;
using boundary::Row;
using boundary::Rows;
using boundary::Text;
using core::Failure;
using core::quote;

/// A definition as one JSON object, by the columns of the store.
constexpr const char* exported = R"(
  pg_catalog.jsonb_strip_nulls(
    pg_catalog.to_jsonb(p) - '{id,version,owner,owner_name,target_name,subject_name,archive_name,system_identifier,database}'::pg_catalog.text[]
    || pg_catalog.jsonb_build_object(
      'activities', (SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(a) - '{policy,position,relation_name}'::pg_catalog.text[] ORDER BY a.position)
                       FROM retention.policy_activity a WHERE a.policy = p.name),
      'dependent_tables', (SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(d) - '{policy,position,relation_name}'::pg_catalog.text[] ORDER BY d.position)
                             FROM retention.policy_dependent d WHERE d.policy = p.name))))";

constexpr std::array<std::string_view, 25> plain_fields = {
    "name",         "preset",     "paused",     "target",       "subject",           "path",
    "action",       "set_clause", "archive_to", "time_columns", "time_match",        "time_unit",
    "time_zone",    "never",      "when_null",  "expire_after", "expiry_expression", "condition",
    "keep_latest",  "keep_per",   "max_rows",   "max_fraction", "dependents",        "record_keys",
    "max_deviation"};

bool is_plain_field(const std::string& name) {
  return name == "run_order" || std::find(plain_fields.begin(), plain_fields.end(), name) != plain_fields.end();
}

/// The oid of a table named in a document, as text.
std::string table(const std::string& name) {
  const Text oid = boundary::single("SELECT pg_catalog.to_regclass($1)::pg_catalog.oid", {Arg::of(name)});
  if (!oid)
    throw Failure(core::sqlstate::undefined_table, "table " + name + " does not exist");
  return *oid;
}

/// The members of a JSON object: key, value as text (an array in the form of an SQL array), its JSON type, its JSON.
Rows members(const std::string& object) {
  return boundary::query(
      "SELECT key, CASE pg_catalog.jsonb_typeof(value) WHEN 'array' THEN (SELECT pg_catalog.array_agg(e #>> '{}')"
      "::pg_catalog.text FROM pg_catalog.jsonb_array_elements(value) AS e) ELSE value #>> '{}' END, "
      "pg_catalog.jsonb_typeof(value), value::pg_catalog.text FROM pg_catalog.jsonb_each($1::pg_catalog.jsonb)",
      {Arg::of(object)});
}

/// Throws Failure 22023 unless the JSON type of a key's value is one that it can have. Null stands for absence.
void require_kind(const std::string& key, const std::string& kind) {
  const bool is_list = key == "activities" || key == "dependent_tables" || key == "path" || key == "time_columns" ||
                       key == "never" || key == "keep_per";
  const bool fits = kind == "null" || (is_list ? kind == "array" : kind != "array" && kind != "object");
  if (!fits || (key == "name" && kind != "string" && kind != "null"))
    throw Failure(core::sqlstate::invalid_parameter_value,
                  "key " + quote(key) + " of a policy's definition cannot be a JSON " + kind, "",
                  "See what retention.export_policies() gives.");
}

void require_object(const std::string& key, const std::string& json) {
  if (json.empty() || json.front() != '{')
    throw Failure(core::sqlstate::invalid_parameter_value,
                  "key " + quote(key) + " of a policy's definition is an array of objects, not of " + json);
}

std::vector<std::string> elements(const std::string& array) {
  std::vector<std::string> out;
  for (const Row& row :
       boundary::query("SELECT value FROM pg_catalog.jsonb_array_elements($1::pg_catalog.jsonb)", {Arg::of(array)}))
    out.push_back(row[0].value_or("null"));
  return out;
}

[[noreturn]] void unknown_key(const std::string& key) {
  throw Failure(core::sqlstate::invalid_parameter_value, "a policy's definition has no key " + quote(key), "",
                "See what retention.export_policies() gives.");
}

core::Activity activity_of(const std::string& object) {
  core::Activity activity;
  for (const Row& row : members(object)) {
    const std::string& key = *row[0];
    require_kind(key, *row[2]);
    const std::string value = row[1].value_or("");
    if (key == "relation")
      activity.relation = static_cast<Oid>(std::stoul(table(activity.relation_name = value)));
    else if (key == "time_column")
      activity.time_column = value;
    else if (key == "time_unit")
      activity.unit = core::time_unit(value);
    else if (key == "time_zone")
      activity.time_zone = value;
    else if (key == "join_condition")
      activity.join_condition = value;
    else if (key == "condition")
      activity.condition = value;
    else
      unknown_key("activities." + key);
  }
  return activity;
}

core::Dependent dependent_of(const std::string& object) {
  core::Dependent dependent;
  for (const Row& row : members(object)) {
    const std::string& key = *row[0];
    require_kind(key, *row[2]);
    const std::string value = row[1].value_or("");
    if (key == "relation")
      dependent.relation = static_cast<Oid>(std::stoul(table(dependent.relation_name = value)));
    else if (key == "parent")
      dependent.parent = static_cast<Oid>(std::stoul(table(value)));
    else if (key == "label")
      dependent.label = value;
    else if (key == "action")
      dependent.action = core::dependent_action(value);
    else if (key == "join_condition")
      dependent.join_condition = value;
    else
      unknown_key("dependent_tables." + key);
  }
  return dependent;
}

define::Definition definition_of(const std::string& object) {
  define::Definition definition;
  for (const Row& row : members(object)) {
    const std::string& key = *row[0];
    require_kind(key, *row[2]);
    if (key == "activities" || key == "dependent_tables") {
      for (const std::string& element : elements(*row[2] == "null" ? "[]" : *row[3])) {
        require_object(key, element);
        if (key == "activities")
          definition.activities.push_back(activity_of(element));
        else
          definition.dependents.push_back(dependent_of(element));
      }
    } else if (!is_plain_field(key)) {
      unknown_key(key);
    } else if (row[1]) {
      const bool is_table = key == "target" || key == "subject" || key == "archive_to";
      definition.fields[key] = is_table ? table(*row[1]) : *row[1];
    }
  }
  if (!definition.fields["name"])
    throw Failure(core::sqlstate::null_value_not_allowed, "a policy's definition needs a name");
  const auto preset = definition.fields.find("preset");
  if (preset != definition.fields.end() && preset->second && !presets::is_preset(*preset->second))
    throw Failure(core::sqlstate::undefined_object, "preset " + quote(*preset->second) + " does not exist");
  return definition;
}

/// A stored policy's definition; nullopt where there is none.
Text exported_policy(const std::string& name) {
  return as_keeper([&] {
    return boundary::single(std::string("SELECT ") + exported + " FROM retention.policy p WHERE p.name = $1",
                            {Arg::of(name)});
  });
}

/// The keys in which two definitions differ.
Rows differences(const std::string& name, const Text& before, const Text& after) {
  return boundary::query(
      "SELECT $1, CASE WHEN $2 IS NULL THEN 'added' ELSE 'altered' END, COALESCE(o.key, n.key), o.value, n.value "
      "FROM pg_catalog.jsonb_each(COALESCE($2, '{}')::pg_catalog.jsonb) o FULL JOIN "
      "pg_catalog.jsonb_each($3::pg_catalog.jsonb) n "
      "ON n.key = o.key WHERE o.value IS DISTINCT FROM n.value ORDER BY 3",
      {Arg::of(name), Arg::of(before), Arg::of(after)});
}

/// Stores one definition for trial; what comes of it is kept where it changes something and this is no dry run.
void import_one(const std::string& object, bool dry_run, Rows& changes) {
  boundary::trial([&] {
    define::Definition definition = definition_of(object);
    const std::string name = *definition.fields["name"];
    const Text before = exported_policy(name);
    if (before)
      define::replace_fully(std::move(definition));
    else
      define::add(std::move(definition), false);
    const Rows found = differences(name, before, exported_policy(name));
    changes.insert(changes.end(), found.begin(), found.end());
    return !dry_run && !found.empty();
  });
}

} // namespace

std::string export_policies() {
  const Text out = as_keeper([&] {
    return boundary::single(std::string("SELECT COALESCE(pg_catalog.jsonb_agg(") + exported +
                            " ORDER BY p.name), '[]') FROM retention.policy p");
  });
  return out.value_or("[]");
}

Rows import_policies(const std::string& document, bool dry_run) {
  const Text kind = boundary::single("SELECT pg_catalog.jsonb_typeof($1::pg_catalog.jsonb)", {Arg::of(document)});
  if (kind != "array" && kind != "object")
    throw Failure(core::sqlstate::invalid_parameter_value,
                  "policies are an array of objects, not a JSON " + kind.value_or("null"));
  Rows changes;
  for (const std::string& object : kind == "array" ? elements(document) : std::vector<std::string>{document}) {
    if (boundary::single("SELECT pg_catalog.jsonb_typeof($1::pg_catalog.jsonb)", {Arg::of(object)}) != "object")
      throw Failure(core::sqlstate::invalid_parameter_value, "a policy's definition is an object, not " + object);
    import_one(object, dry_run, changes);
  }
  return changes;
}

} // namespace pg_retention::server::code
