#include "extension/server/hold_store.hpp"

#include "extension/boundary/parse.hpp"
#include "extension/core/failure.hpp"
#include "extension/core/policy.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/store.hpp"

namespace pg_retention::server::hold_store {
namespace {

using boundary::Arg;
using boundary::Row;
using boundary::Rows;
using boundary::View;
using core::Failure;

/// Whether the table is there: a library may serve the objects of a version that had none.
bool has_table() {
  return boundary::server([] {
    const Oid schema = get_namespace_oid("retention", true);
    return OidIsValid(schema) && OidIsValid(get_relname_relid("hold", schema));
  });
}

/// SQL over `retention.hold AS h` for whether it was placed in this very database.
std::string at_home() { return "((h.system_identifier, h.database) = (" + store::here() + "))"; }

/// SQL over the same for the role that a hold belongs to: its oid means nothing in a copy. NULL where it is gone.
std::string owner() {
  return "(SELECT r.oid FROM pg_catalog.pg_roles r WHERE CASE WHEN " + at_home() +
         " AND EXISTS (SELECT 1 FROM pg_catalog.pg_roles x WHERE x.oid = h.owner) THEN r.oid = h.owner "
         "ELSE r.rolname = h.owner_name END)";
}

Oid oid_of(const boundary::Text& text) { return text ? static_cast<Oid>(std::stoul(*text)) : InvalidOid; }

/// What a hold says of the rows of its table.
std::string condition_of(const core::LegalHold& hold, const Row& row) {
  if (row[5])
    return *row[5];
  return key_condition(hold.relation, core::array_items(*row[3]), core::array_items(*row[4]));
}

} // namespace

std::int64_t insert(const Placed& hold) {
  const Oid owner = caller();
  const std::string owner_name = role_name(owner), relation_name = hold.relation.sql();
  const auto id = as_keeper([&] {
    return boundary::single(
        "INSERT INTO retention.hold (relation, relation_name, key, condition, as_table_owner, time_zone, reason, "
        "until, "
        "owner, owner_name, system_identifier, database) VALUES ($1, $2, $3::pg_catalog.jsonb, $4, $5, $6, $7, "
        "$8::pg_catalog.timestamptz, $9, $10, " +
            store::here() + ") RETURNING id",
        {Arg::oid(hold.relation.oid), Arg::of(relation_name), Arg::of(hold.key), Arg::of(hold.condition),
         Arg::of(hold.as_table_owner), Arg::of(hold.zone), Arg::of(hold.reason), Arg::of(hold.until), Arg::oid(owner),
         Arg::of(owner_name)});
  });
  return std::stoll(id.value());
}

std::optional<Known> find(std::int64_t id) {
  const Rows rows = as_keeper([&] {
    return boundary::query("SELECT " + owner() + ", h.owner_name, h.released_at FROM retention.hold h WHERE h.id = $1",
                           {Arg::of(id)});
  });
  if (rows.empty())
    return std::nullopt;
  return Known{oid_of(rows[0][0]), *rows[0][1], rows[0][2]};
}

bool release(std::int64_t id, const std::string& reason) {
  const bool is_released = as_keeper([&] {
    return boundary::execute("UPDATE retention.hold SET released_by = SESSION_USER, released_at = "
                             "pg_catalog.clock_timestamp(), release_reason = $2 WHERE id = $1 AND released_at IS NULL",
                             {Arg::of(id), Arg::of(reason)}) == 1;
  });
  return is_released;
}

std::vector<core::LegalHold> standing(TimestampTz clock) {
  std::vector<core::LegalHold> holds;
  if (!has_table())
    return holds;
  const Rows rows = as_keeper([&] {
    return boundary::query(
        "SELECT h.id, CASE WHEN " + at_home() +
            " AND EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = h.relation AND c.relkind IN ('r', 'p')) "
            "THEN "
            "h.relation ELSE pg_catalog.to_regclass(h.relation_name)::pg_catalog.oid END, h.relation_name, "
            "(SELECT pg_catalog.array_agg(k.key ORDER BY k.key) FROM pg_catalog.jsonb_each_text(h.key) k), "
            "(SELECT pg_catalog.array_agg(k.value ORDER BY k.key) FROM pg_catalog.jsonb_each_text(h.key) k), "
            "h.condition, h.as_table_owner, " +
            owner() + ", h.time_zone, h.reason, h.until, " + at_home() +
            " FROM retention.hold h WHERE h.released_at IS NULL AND (h.until IS NULL OR h.until > $1) ORDER BY h.id",
        {Arg::time(clock)}, View::as_pushed);
  });
  for (const Row& row : rows) {
    const bool is_at_home = row[11] == "t";
    if (!row[1] && is_at_home)
      continue;
    if (!row[1])
      throw Failure(
          core::sqlstate::hold_in_doubt, "the table of hold " + *row[0] + ", " + *row[2] + ", is not in this database",
          "The hold came with a copy of the database it was placed in.",
          "Place it anew on the table that it means here, then SELECT retention.release_hold(" + *row[0] + ", '...').");
    core::LegalHold hold;
    hold.id = std::stoll(*row[0]);
    hold.relation = catalog::relation(oid_of(row[1]), *row[2]);
    hold.condition = condition_of(hold, row);
    hold.as_table_owner = row[6] == "t";
    hold.role = hold.as_table_owner ? catalog::owner(hold.relation.oid) : oid_of(row[7]);
    hold.zone = *row[8];
    hold.reason = *row[9];
    hold.until = row[10].value_or("");
    holds.push_back(std::move(hold));
  }
  return holds;
}

std::vector<Archive> archives() {
  const Rows rows = as_keeper([&] {
    return boundary::query(
        "SELECT t.oid, a.oid FROM (SELECT relation::pg_catalog.oid, archive::pg_catalog.oid FROM retention.archive "
        "UNION "
        "SELECT target::pg_catalog.oid, archive_to::pg_catalog.oid FROM retention.policy) x (t, a) "
        "JOIN pg_catalog.pg_class t ON t.oid = x.t JOIN pg_catalog.pg_class a ON a.oid = x.a ORDER BY 1, 2");
  });
  std::vector<Archive> archives;
  for (const Row& row : rows)
    archives.push_back({catalog::relation(oid_of(row[0]), *row[0]), catalog::relation(oid_of(row[1]), *row[1])});
  return archives;
}

std::string key_condition(const core::Relation& relation, const std::vector<std::string>& columns,
                          const std::vector<std::string>& values) {
  std::vector<std::string> terms;
  for (std::size_t i = 0; i < columns.size(); ++i)
    terms.push_back(boundary::equals("target." + core::quote(columns[i]), values[i],
                                     catalog::require_column(relation, columns[i]).base));
  return core::join(terms, " AND ");
}

} // namespace pg_retention::server::hold_store
