#include "extension/server/store.hpp"

#include "extension/core/identifier.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/failures.hpp"

namespace pg_retention::server::store {
namespace {

using boundary::Arg;
using boundary::Row;
using boundary::Rows;
using core::Failure;

/// Columns of retention.policy that are written and read as text, with the cast that brings them back.
struct Column {
  const char* name;
  const char* type;
};
constexpr Column columns[] = {
    {"name", "text"},
    {"owner", "oid"},
    {"owner_name", "text"},
    {"preset", "text"},
    {"paused", "boolean"},
    {"target", "oid::regclass"},
    {"target_name", "text"},
    {"subject", "oid::regclass"},
    {"subject_name", "text"},
    {"path", "text[]"},
    {"action", "text"},
    {"set_clause", "text"},
    {"archive_to", "oid::regclass"},
    {"archive_name", "text"},
    {"time_columns", "text[]"},
    {"time_match", "text"},
    {"time_unit", "text"},
    {"time_zone", "text"},
    {"never", "text[]"},
    {"when_null", "text"},
    {"expire_after", "interval"},
    {"expiry_expression", "text"},
    {"condition", "text"},
    {"keep_latest", "bigint"},
    {"keep_per", "text[]"},
    {"max_rows", "bigint"},
    {"max_fraction", "double precision"},
    {"dependents", "text"},
    {"run_order", "int"},
    {"record_keys", "boolean"},
    {"max_deviation", "double precision"},
};

/// Whether this very database made or resumed the policy. As the keeper.
bool at_home(const std::string& name) {
  return boundary::single("SELECT 1 FROM retention.policy WHERE name = $1 AND (system_identifier, database) = (" +
                              here() + ")",
                          {Arg::of(name)})
      .has_value();
}

/// Whether a field is to be written. The tables of an earlier version lack some, which are NULL then.
bool is_kept(const std::string& field, const boundary::Text& value) {
  return value || has_column("policy", field.c_str());
}

const char* cast_of(const std::string& name) {
  for (const Column& column : columns)
    if (name == column.name)
      return column.type;
  throw Failure(core::sqlstate::internal_error, "policies have no field " + core::quote(name));
}

void record_change(const std::string& name, const std::string& change) {
  boundary::execute(
      "INSERT INTO retention.policy_change (policy, version, change, definition) "
      "SELECT p.name, p.version, $2, pg_catalog.to_jsonb(p) || pg_catalog.jsonb_build_object("
      "'activities', (SELECT pg_catalog.jsonb_agg(a) FROM retention.policy_activity a WHERE a.policy = p.name), "
      "'dependent_tables', (SELECT pg_catalog.jsonb_agg(d) FROM retention.policy_dependent d WHERE d.policy = p.name)) "
      "FROM retention.policy p WHERE p.name = $1",
      {Arg::of(name), Arg::of(change)});
}

void insert_activity(const std::string& policy, int position, const core::Activity& activity) {
  const auto or_null = [](const std::string& s) { return s.empty() ? Arg::null(TEXTOID) : Arg::of(s); };
  static const std::string units[] = {"", "s", "ms", "us"};
  boundary::execute(
      "INSERT INTO retention.policy_activity VALUES ($1, $2, $3::pg_catalog.regclass, $4, $5, $6, $7, $8, $9)",
      {Arg::of(policy), Arg::of(static_cast<std::int32_t>(position)), Arg::oid(activity.relation),
       Arg::of(activity.relation_name), Arg::of(activity.time_column), or_null(units[static_cast<int>(activity.unit)]),
       or_null(activity.time_zone), Arg::of(activity.join_condition), or_null(activity.condition)});
}

void insert_dependent(const std::string& policy, int position, const core::Dependent& dependent) {
  const std::string action(core::dependent_action_name(dependent.action));
  boundary::execute(
      "INSERT INTO retention.policy_dependent VALUES ($1, $2, $3::pg_catalog.regclass, $4, NULLIF($5, ''), $6, "
      "NULLIF($7, ''), NULLIF($8, 0::pg_catalog.oid)::pg_catalog.regclass)",
      {Arg::of(policy), Arg::of(static_cast<std::int32_t>(position)), Arg::oid(dependent.relation),
       Arg::of(dependent.relation_name), Arg::of(dependent.label), Arg::of(action), Arg::of(dependent.join_condition),
       Arg::oid(dependent.parent)});
}

void insert_children(const std::string& name, const std::vector<core::Activity>& activities,
                     const std::vector<core::Dependent>& dependents) {
  int position = 0;
  for (const core::Activity& activity : activities)
    insert_activity(name, ++position, activity);
  position = 0;
  for (const core::Dependent& dependent : dependents)
    insert_dependent(name, ++position, dependent);
}

void load_children(core::Policy& policy) {
  for (const Row& row : boundary::query("SELECT relation::oid, relation_name, time_column, time_unit, time_zone, "
                                        "join_condition, condition FROM retention.policy_activity "
                                        "WHERE policy = $1 ORDER BY position",
                                        {Arg::of(policy.name)}))
    policy.activities.push_back({static_cast<Oid>(std::stoul(*row[0])), *row[1], *row[2],
                                 core::time_unit(row[3].value_or("")), row[4].value_or(""), *row[5],
                                 row[6].value_or("")});
  for (const Row& row :
       boundary::query("SELECT relation::oid, relation_name, label, action, join_condition, parent::oid "
                       "FROM retention.policy_dependent WHERE policy = $1 ORDER BY position",
                       {Arg::of(policy.name)}))
    policy.declared.push_back({static_cast<Oid>(std::stoul(*row[0])), *row[1], row[2].value_or(""),
                               core::dependent_action(*row[3]), row[4].value_or(""),
                               static_cast<Oid>(std::stoul(row[5].value_or("0")))});
}

} // namespace

std::string here() {
  const std::int64_t system = boundary::server([] { return static_cast<std::int64_t>(GetSystemIdentifier()); });
  return std::to_string(system) + ", " + std::to_string(MyDatabaseId);
}

bool has_column(const char* table, const char* column) {
  return boundary::server([&] {
    return get_attnum(get_relname_relid(table, get_namespace_oid("retention", false)), column) != InvalidAttrNumber;
  });
}

void no_such_policy(const std::string& name) {
  throw Failure(core::sqlstate::undefined_object, "policy " + core::quote(name) + " does not exist", "",
                "See retention.policies for those that do; retention.add_policy makes one, retention.adopt_preset "
                "one of the application rules.");
}

std::optional<core::Fields> load_fields(const std::string& name) {
  return as_keeper([&]() -> std::optional<core::Fields> {
    std::string list = "id, version";
    std::vector<const char*> read;
    for (const Column& column : columns) {
      if (!has_column("policy", column.name))
        continue;
      read.push_back(column.name);
      list += std::string(", ") + column.name + (std::string(column.type).rfind("oid::", 0) == 0 ? "::oid" : "");
    }
    const Rows rows = boundary::query("SELECT " + list + " FROM retention.policy WHERE name = $1", {Arg::of(name)});
    if (rows.empty())
      return std::nullopt;
    core::Fields fields{{"id", rows[0][0]}, {"version", rows[0][1]}};
    std::size_t at = 2;
    for (const char* column : read)
      fields[column] = rows[0][at++];
    // In a copy the oid of a role means nothing, or a stranger; its name means the role, where there is one.
    if (!at_home(name))
      fields["owner"] = boundary::single("SELECT pg_catalog.max(oid) FROM pg_catalog.pg_roles WHERE rolname = $1",
                                         {Arg::of(fields["owner_name"])});
    return fields;
  });
}

std::optional<core::Policy> load(const std::string& name) {
  const auto fields = load_fields(name);
  if (!fields)
    return std::nullopt;
  core::Policy policy = core::read_policy(*fields);
  return as_keeper([&] {
    load_children(policy);
    return policy;
  });
}

void insert(const core::Fields& fields, const std::vector<core::Activity>& activities,
            const std::vector<core::Dependent>& dependents) {
  as_keeper([&] {
    const std::string& name = *fields.at("name");
    std::string names = "system_identifier, database", values = here();
    std::vector<Arg> args;
    for (const auto& [field, value] : fields) {
      if (!is_kept(field, value))
        continue;
      args.push_back(Arg::of(value));
      names += ", " + field;
      values += ", $" + std::to_string(args.size()) + "::" + cast_of(field);
    }
    if (boundary::execute("INSERT INTO retention.policy (" + names + ") VALUES (" + values +
                              ") ON CONFLICT (name) DO NOTHING",
                          args) == 0)
      throw Failure(core::sqlstate::duplicate_object, "policy " + core::quote(name) + " already exists", "",
                    "Change it with retention.alter_policy, or remove it first with retention.remove_policy.");
    insert_children(name, activities, dependents);
    record_change(name, "added");
    return true;
  });
}

void update(const std::string& name, const core::Fields& fields, const std::string& change) {
  as_keeper([&] {
    std::vector<Arg> args{Arg::of(name)};
    std::string sets = "version = version + 1";
    for (const auto& [field, value] : fields) {
      if (!is_kept(field, value))
        continue;
      args.push_back(Arg::of(value));
      sets += ", " + field + " = $" + std::to_string(args.size()) + "::" + cast_of(field);
    }
    if (boundary::execute("UPDATE retention.policy SET " + sets + " WHERE name = $1", args) == 0)
      no_such_policy(name);
    record_change(name, change);
    return true;
  });
}

void replace_children(const std::string& name, const std::vector<core::Activity>& activities,
                      const std::vector<core::Dependent>& dependents) {
  as_keeper([&] {
    boundary::execute("DELETE FROM retention.policy_activity WHERE policy = $1", {Arg::of(name)});
    boundary::execute("DELETE FROM retention.policy_dependent WHERE policy = $1", {Arg::of(name)});
    insert_children(name, activities, dependents);
    return true;
  });
}

void remove(const std::string& name) {
  as_keeper([&] {
    record_change(name, "removed");
    if (boundary::execute("DELETE FROM retention.policy WHERE name = $1", {Arg::of(name)}) == 0)
      no_such_policy(name);
    return true;
  });
  forget_failures(name);
}

void pause(const std::string& name) { update(name, {{"paused", "true"}}, "paused"); }

void resume(const std::string& name, Oid owner) {
  as_keeper([&] {
    boundary::execute("UPDATE retention.policy SET (system_identifier, database) = (" + here() + ") WHERE name = $1",
                      {Arg::of(name)});
    return true;
  });
  update(name, {{"paused", "false"}, {"owner", std::to_string(owner)}}, "resumed");
}

bool is_at_home(const std::string& name) {
  return as_keeper([&] { return at_home(name); });
}

std::vector<std::string> names() {
  return as_keeper([] {
    std::vector<std::string> names;
    for (const Row& row : boundary::query("SELECT name FROM retention.policy ORDER BY name"))
      names.push_back(*row[0]);
    return names;
  });
}

std::vector<std::string> names_in_order() {
  return as_keeper([] {
    std::vector<std::string> names;
    for (const Row& row :
         boundary::query("SELECT p.name FROM retention.policy p WHERE NOT p.paused ORDER BY p.run_order, "
                         "(SELECT r.started FROM retention.run r WHERE r.policy = p.name AND r.action IS DISTINCT FROM "
                         "'restore' ORDER BY r.id DESC LIMIT 1) "
                         "NULLS FIRST, p.name"))
      names.push_back(*row[0]);
    return names;
  });
}

} // namespace pg_retention::server::store
