#include "extension/server/hold_define.hpp"

#include "extension/boundary/parse.hpp"
#include "extension/core/failure.hpp"
#include "extension/core/json.hpp"
#include "extension/core/policy.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/hold_store.hpp"
#include "extension/server/holds.hpp"
#include "extension/server/resolve.hpp"

#include <algorithm>

namespace pg_retention::server::hold_define {
namespace {

using boundary::Arg;
using boundary::Text;
using core::Failure;

/// The table of a hold, which the caller must be able to read.
core::Relation readable(Oid oid) {
  const auto relation = catalog::find(oid);
  if (!relation)
    throw Failure(core::sqlstate::undefined_table, "table with OID " + std::to_string(oid) + " does not exist");
  catalog::require_supported(*relation);
  const Oid role = caller();
  if (!boundary::server([&] { return pg_class_aclcheck(oid, role, ACL_SELECT) == ACLCHECK_OK; }))
    throw Failure(core::sqlstate::insufficient_privilege, "permission denied to place a hold on " + relation->label(),
                  "Who places a hold must be able to read the table.", "GRANT SELECT on it to that role.");
  return *relation;
}

/// What every hold says; checked.
hold_store::Placed begun(Oid relation, const std::string& reason, const Text& until) {
  hold_store::Placed hold;
  hold.relation = readable(relation);
  hold.zone = zone_of({});
  hold.reason = reason;
  hold.until = until;
  if (reason.find_first_not_of(" \t\n") == std::string::npos)
    throw Failure(core::sqlstate::invalid_parameter_value, "a hold needs a reason", "", "Say why the rows must stay.");
  if (until &&
      boundary::single("SELECT 1 WHERE $1::pg_catalog.timestamptz <= pg_catalog.clock_timestamp()", {Arg::of(until)}))
    throw Failure(core::sqlstate::invalid_parameter_value, "until must lie in the future", "",
                  "Leave it out for a hold that stands until it is released.");
  return hold;
}

/// Whose rights a hold is judged with.
Oid judged_as(const hold_store::Placed& hold) {
  return hold.as_table_owner ? catalog::owner(hold.relation.oid) : caller();
}

/// Sees that the hold can be judged, by those whose rights it has and on all that it reads, and writes it.
std::int64_t place(const hold_store::Placed& hold, const std::string& condition) {
  core::LegalHold judged;
  judged.relation = hold.relation;
  judged.condition = condition;
  const Authority before = act_as(judged_as(hold), hold.zone);
  boundary::query(core::held_rows_select(judged), {tid_array({})});
  give_back(before);
  begin_placing_hold();
  return hold_store::insert(hold);
}

/// The columns and values of a key, as JSON has them.
struct Key {
  std::vector<std::string> columns, values;
};

Key read_key(const std::string& document) {
  if (boundary::single("SELECT pg_catalog.jsonb_typeof($1::pg_catalog.jsonb)", {Arg::of(document)}) != "object")
    throw Failure(core::sqlstate::invalid_parameter_value, "key must be a JSON object", "",
                  "For example '{\"id\": 5}'::jsonb.");
  Key key;
  for (const boundary::Row& row :
       boundary::query("SELECT key, value FROM pg_catalog.jsonb_each_text($1::pg_catalog.jsonb) ORDER BY key",
                       {Arg::of(document)})) {
    if (!row[1])
      throw Failure(core::sqlstate::null_value_not_allowed, "key column " + core::quote(*row[0]) + " must not be null");
    key.columns.push_back(*row[0]);
    key.values.push_back(*row[1]);
  }
  return key;
}

/// Throws Failure unless these are the columns of the table's key.
void require_key_columns(const core::Relation& relation, const std::vector<std::string>& given) {
  push_latest_snapshot();
  std::vector<std::string> wanted = catalog::key_columns(relation.oid);
  pop_snapshot();
  if (wanted.empty())
    throw Failure(core::sqlstate::undefined_object, relation.label() + " has no key", "",
                  "Say with a condition which rows are meant.");
  const std::string list = core::join(wanted, ", ");
  if (!std::is_permutation(wanted.begin(), wanted.end(), given.begin(), given.end()))
    throw Failure(core::sqlstate::invalid_parameter_value,
                  "key must have the columns of the key of " + relation.label() + ": " + list, "",
                  "For all rows with one of them, say it with a condition.");
}

bool has_rows(const hold_store::Placed& hold, const std::string& condition) {
  const Authority before = act_as(judged_as(hold), hold.zone);
  const bool found =
      boundary::single("SELECT 1 FROM " + hold.relation.sql() + " AS target WHERE " + condition + " LIMIT 1")
          .has_value();
  give_back(before);
  return found;
}

} // namespace

std::int64_t add_by_condition(Oid relation, const std::string& condition, const std::string& reason,
                              const Text& until) {
  hold_store::Placed hold = begun(relation, reason, until);
  boundary::require_expression(condition, "condition");
  // The second item has no columns; with it, names are written out with their table.
  const std::string written = boundary::qualified_expression(
      condition, hold.relation.sql() + " AS target CROSS JOIN (SELECT) AS pg_retention_nothing");
  hold.condition = written;
  hold.as_table_owner = boundary::server([] { return superuser(); });
  return place(hold, written);
}

std::int64_t add_by_key(Oid relation, const std::string& document, const std::string& reason, const Text& until) {
  hold_store::Placed hold = begun(relation, reason, until);
  Key key = read_key(document);
  require_key_columns(hold.relation, key.columns);
  core::JsonObject written;
  for (std::size_t i = 0; i < key.columns.size(); ++i) {
    key.values[i] = boundary::written_value(key.values[i], catalog::require_column(hold.relation, key.columns[i]).base);
    written.set(key.columns[i], key.values[i]);
  }
  hold.key = written.text();
  hold.as_table_owner = true;
  const std::string condition = hold_store::key_condition(hold.relation, key.columns, key.values);
  const std::int64_t id = place(hold, condition);
  if (!has_rows(hold, condition))
    boundary::notice("no row of " + hold.relation.label() + " has this key at present",
                     "The hold stands all the same, for a row that will have it.");
  return id;
}

void release(std::int64_t id, const std::string& reason) {
  const auto hold = hold_store::find(id);
  const std::string name = "hold " + std::to_string(id);
  if (!hold)
    throw Failure(core::sqlstate::undefined_object, name + " does not exist", "", "See retention.holds.");
  if (!boundary::server([&] { return superuser(); })) {
    if (!OidIsValid(hold->owner))
      throw Failure(core::sqlstate::insufficient_privilege, "must be superuser to release " + name,
                    "The role that placed it, " + core::quote(hold->owner_name) + ", no longer exists.");
    require_membership(hold->owner, name);
  }
  if (reason.find_first_not_of(" \t\n") == std::string::npos)
    throw Failure(core::sqlstate::invalid_parameter_value, "a release needs a reason", "",
                  "Say why the rows need not stay any more.");
  if (hold->released_at || !hold_store::release(id, reason))
    throw Failure(core::sqlstate::not_in_prerequisite_state, name + " was released already", "",
                  "See SELECT * FROM retention.holds WHERE id = " + std::to_string(id) + ".");
}

} // namespace pg_retention::server::hold_define
