#include "extension/server/look.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/json.hpp"
#include "extension/core/message.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/erase.hpp"
#include "extension/server/failures.hpp"
#include "extension/server/family.hpp"
#include "extension/server/fuse.hpp"
#include "extension/server/presets.hpp"
#include "extension/server/rows.hpp"
#include "extension/server/run.hpp"
#include "extension/server/select.hpp"

#include <algorithm>
#include <set>

namespace pg_retention::server {
namespace {

using boundary::Arg;
using boundary::Row;
using boundary::Rows;
using boundary::Text;
using core::Fate;
using core::quote;
using core::RowKey;

constexpr const char* most_listed = "1000";

/// A policy resolved, its cutoff frozen and a snapshot taken, with its owner's rights.
class Look {
public:
  Look(const core::Policy& policy, const Text& as_of)
      : before_(act_as(runs_as(policy), zone_of(policy))), resolved(resolve(policy)),
        cutoff(cutoff_before(policy.expire_after, zone_of(policy), true, as_of)),
        clock(cutoff_before("0", "UTC", true, as_of)) {
    push_latest_snapshot();
    args_ = {Arg::time(this->cutoff)};
    leave_out_held();
  }

  /// Gives everything back; called on success.
  void close() {
    pop_snapshot();
    give_back(before_);
  }

  [[nodiscard]] Text one(const std::string& sql) const {
    return boundary::single(sql, args_, boundary::View::as_pushed);
  }
  [[nodiscard]] Row row(const std::string& sql) const {
    return boundary::query(sql, args_, boundary::View::as_pushed).at(0);
  }

  /// FROM and WHERE of the victims, without those that holds keep.
  [[nodiscard]] std::string victims() const { return core::victims_source(resolved.rule) + except_; }
  /// How many holds keep.
  [[nodiscard]] std::uint64_t held() const { return held_; }

private:
  Authority before_;
  std::vector<Arg> args_;
  std::uint64_t held_ = 0;
  std::string except_;

  void leave_out_held();

public:
  const Resolved resolved;
  const TimestampTz cutoff, clock; ///< the instant looked at, and what expires by it
};

/// The tables that rows lie in, one by one, as a parameter of type oid[].
Arg leaf_array(const std::vector<RowKey>& rows, const core::Leaves& leaves) {
  ArrayType* array = boundary::server([&] {
    auto* oids = static_cast<Datum*>(MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Datum) * (rows.size() + 1)));
    for (std::size_t i = 0; i < rows.size(); ++i)
      oids[i] = ObjectIdGetDatum(leaves.oid(core::leaf_of(rows[i])));
    return construct_array(oids, static_cast<int>(rows.size()), OIDOID, sizeof(Oid), true, TYPALIGN_INT);
  });
  return Arg::datum(OIDARRAYOID, PointerGetDatum(array));
}

/// Finds the victims that a run would count as held; a hold on a dependent keeps them, too.
void Look::leave_out_held() {
  const LegalHolds holds(resolved, clock);
  if (holds.standing().empty())
    return;
  core::Leaves leaves;
  Selection selection = select_victims(resolved.rule, cutoff, leaves);
  (void)gather_families(resolved, selection, Hold::none, holds);
  std::vector<RowKey> held;
  for (const Victim& victim : selection.victims)
    if (victim.fate == Fate::held)
      held.push_back(victim.key);
  held_ = held.size();
  args_.push_back(leaf_array(held, leaves));
  args_.push_back(tid_array(held));
  except_ = " AND NOT EXISTS (SELECT 1 FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) AS held (o, c) "
            "WHERE held.o = target.tableoid AND held.c = target.ctid)";
}

/// The first `most` keys among rows, as a JSON array: key columns by name, or the place where there is no key.
std::string sample_keys(const std::vector<RowKey>& rows, const core::Leaves& leaves, int most) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < rows.size() && i < static_cast<std::size_t>(most); ++i) {
    const core::Relation leaf = catalog::relation(leaves.oid(core::leaf_of(rows[i])), "of a sample");
    const boundary::Rows key = select_key(leaf, rows[i], "pg_catalog.jsonb_build_object('ctid', t.ctid)");
    if (!key.empty())
      parts.push_back(*key[0][0]);
  }
  return "[" + core::join(parts, ", ") + "]";
}

/// Column `name` as an SQL value: read in the policy's zone where it is a naive time; NULL where there is none.
std::string shown(const core::Relation& relation, const std::string& alias, const std::string& name,
                  const std::string& zone) {
  const auto column = catalog::column(relation, name);
  if (!column)
    return "NULL";
  const std::string value = alias + "." + quote(name);
  return column->base_name == "timestamp" ? "pg_catalog.timezone(" + core::quote_literal(zone) + ", " + value + ")"
                                          : value;
}

/// The key of a row as an SQL value; the row's place where its table has none.
std::string key_value(const core::Relation& relation, const std::string& alias) {
  std::vector<std::string> columns;
  for (const std::string& column : catalog::key_columns(relation.oid))
    columns.push_back(alias + "." + quote(column));
  if (columns.empty())
    return alias + ".ctid";
  return columns.size() == 1 ? columns.front() : "ROW(" + core::join(columns, ", ") + ")::pg_catalog.text";
}

/// The first rows of a SELECT as a JSON array, as an SQL value.
std::string list_of(const std::string& select) {
  return "(SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(i)), '[]') FROM (" + select + " LIMIT " +
         most_listed + ") AS i)";
}

/// The items of a list: `columns` (`value AS name, ...`) of the victims, in the given order.
std::string listed(const Look& look, const std::string& columns, const std::string& tail) {
  return look.one("SELECT " + list_of("SELECT " + columns + look.victims() + tail)).value_or("[]");
}

std::uint64_t counted_victims(const Look& look, const std::string& what) {
  return std::stoull(look.one("SELECT " + what + look.victims()).value_or("0"));
}

/// What each preset's list holds. The target is read once, for the counts and the list.
void list_carts(const Look& look, core::JsonObject& out) {
  const core::Rule& rule = look.resolved.rule;
  const Row seen = look.row(
      "WITH cart AS MATERIALIZED (SELECT " + key_value(rule.subject(), "subject") + " AS user_id, " +
      key_value(rule.path[0].parent, core::step_alias(rule, 0)) + " AS cart_id, " + core::deciding_instant(rule) +
      " AS last_active, target.pg_retention_victims AS items" + core::victims_by_first_step(rule, look.victims()) +
      ") SELECT (SELECT COALESCE(pg_catalog.sum(items), 0) FROM cart), (SELECT pg_catalog.count(*) FROM cart), " +
      list_of("SELECT * FROM cart ORDER BY last_active, cart_id"));
  const std::uint64_t items = std::stoull(*seen[0]), carts = std::stoull(*seen[1]);
  const std::uint64_t users = std::stoull(look.one(core::expired_subjects_count(rule)).value_or("0"));
  out.set("message",
          core::counted(items, "cart item") + " of " + core::counted(users, "inactive user") + " would be deleted");
  out.set("deleted_items", static_cast<std::int64_t>(items)).set("affected_carts", static_cast<std::int64_t>(carts));
  out.set("inactive_users", static_cast<std::int64_t>(users));
  out.raw("inactive_carts", *seen[2]);
  out.set("truncated", carts > 1000);
}

void list_items(const Look& look, core::JsonObject& out) {
  const core::Rule& rule = look.resolved.rule;
  const std::uint64_t items = counted_victims(look, "pg_catalog.count(*)");
  out.set("message", core::counted(items, "cart item") + " would be deleted");
  out.set("deleted_items", static_cast<std::int64_t>(items));
  out.raw("old_cart_items",
          listed(look,
                 key_value(rule.target, "target") + " AS id, " + shown(rule.target, "target", "cart_id", "") +
                     " AS cart_id, " + core::deciding_instant(rule) + " AS created_at",
                 " ORDER BY 3, 1"));
  out.set("truncated", items > 1000);
}

void list_sessions(const Look& look, core::JsonObject& out) {
  const core::Rule& rule = look.resolved.rule;
  const std::uint64_t sessions = counted_victims(look, "pg_catalog.count(*)");
  const core::ActivitySource& messages = rule.activities.at(0);
  const std::string last = "(SELECT pg_catalog.max(" + core::instant("activity", messages.time) + ") FROM " +
                           messages.relation.sql() + " AS activity WHERE (" + messages.join_condition + "\n)" +
                           (messages.condition.empty() ? "" : " AND (" + messages.condition + "\n)") + ")";
  out.set("message", "Found " + core::counted(sessions, "inactive session"));
  out.raw("inactive_sessions",
          listed(look,
                 key_value(rule.target, "target") + " AS id, " + key_value(rule.subject(), "subject") +
                     " AS user_id, " + shown(rule.target, "target", "created_at", look.resolved.zone) +
                     " AS created_at, " + last + " AS last_message_time",
                 " ORDER BY 4 NULLS FIRST, 1"));
  out.set("count", static_cast<std::int64_t>(sessions)).set("truncated", sessions > 1000);
}

void list_bookings(const Look& look, core::JsonObject& out) {
  const core::Rule& rule = look.resolved.rule;
  const std::uint64_t bookings = counted_victims(look, "pg_catalog.count(*)");
  const std::string created = core::deciding_instant(rule);
  out.set("message", "Found " + core::counted(bookings, "expired pending booking"));
  out.raw("expired_bookings",
          listed(look,
                 key_value(rule.target, "target") + " AS booking_id, " + created + " AS created_at, " +
                     "pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.now() - " + created +
                     ") / 60)::pg_catalog.int8 AS minutes_old, " + shown(rule.target, "target", "total_cost", "") +
                     " AS total_cost, " + shown(rule.target, "target", "status", "") + " AS status",
                 " ORDER BY 2, 1"));
  out.set("count", static_cast<std::int64_t>(bookings)).set("truncated", bookings > 1000);
}

/// A stored policy may bear a preset's name and have another shape: then its list has no meaning.
void require_shape(const std::string& preset, const core::Rule& rule) {
  const bool fits = preset == "inactive_carts"      ? !rule.path.empty() && !rule.times.empty()
                    : preset == "inactive_sessions" ? !rule.path.empty() && rule.activities.size() == 1
                                                    : rule.path.empty() && !rule.times.empty();
  if (!fits)
    throw core::Failure(core::sqlstate::not_in_prerequisite_state,
                        "policy " + quote(preset) + " no longer has the shape of its preset", "",
                        "See it with SELECT * FROM retention.preview('" + preset + "').");
}

Text when(TimestampTz instant) { return TIMESTAMP_NOT_FINITE(instant) ? Text() : Text(iso(instant)); }

/// The one row of a count: how many, the oldest and the newest.
class CountSink final : public boundary::Sink {
public:
  void accept(const Datum* values, const bool* nulls) override {
    rows = DatumGetInt64(values[0]);
    if (nulls[1])
      return;
    oldest = DatumGetTimestampTz(values[1]);
    newest = DatumGetTimestampTz(values[2]);
  }
  std::int64_t rows = 0;
  TimestampTz oldest = DT_NOEND, newest = DT_NOBEGIN;
};

/// The preview where no victim depends on another row: counted by one statement, none of them remembered.
Rows counted_rows(const Look& look, int sample) {
  const core::Rule& rule = look.resolved.rule;
  const std::string victims = look.victims();
  const std::vector<Arg> args{Arg::time(look.cutoff)};
  CountSink sink;
  boundary::stream("SELECT pg_catalog.count(*), " + core::bound_of_instants(rule, "min") + ", " +
                       core::bound_of_instants(rule, "max") + victims,
                   args, sink);
  core::Leaves leaves;
  const std::vector<RowKey> rows =
      select_rows("SELECT target.tableoid, target.ctid" + victims + " LIMIT " + std::to_string(sample), args, leaves);
  return {{rule.target.label(), "target", std::to_string(sink.rows), "0", "0", when(sink.oldest), when(sink.newest),
           sample_keys(rows, leaves, sample), "0"}};
}

/// The preview of victims that others hang on, that holds may keep, or that failed before.
Rows gathered_rows(const Look& look, int sample, Failures& failures, const LegalHolds& holds) {
  core::Leaves leaves;
  Selection selection = select_victims(look.resolved.rule, look.cutoff, leaves, true);
  failures.find(look.resolved, look.cutoff, leaves);
  const std::string failed = std::to_string(failures.leave_out(selection.victims));
  const FamilyTree tree = gather_families(look.resolved, selection, Hold::none, holds);
  std::uint64_t blocked = 0, held = 0;
  std::vector<RowKey> rows;
  for (const Victim& victim : selection.victims) {
    if (victim.fate == Fate::goes)
      rows.push_back(victim.key);
    else
      ++(victim.fate == Fate::held ? held : blocked);
  }
  Rows out;
  out.push_back({look.resolved.rule.target.label(), "target", std::to_string(rows.size()), std::to_string(blocked),
                 std::to_string(held), when(selection.oldest), when(selection.newest),
                 sample_keys(rows, leaves, sample), failed});
  for (const auto& [label, count] : count_dependents(look.resolved, tree)) {
    std::vector<RowKey> members;
    for (std::uint32_t row = tree.victims;
         row < tree.family.size() && members.size() < static_cast<std::size_t>(sample); ++row)
      if (tree.family.goes(row) && tree.labels[tree.label_of[row]] == label)
        members.push_back(tree.family.key(row));
    out.push_back({label, "dependent", std::to_string(count), "0", "0", Text(), Text(),
                   sample_keys(members, leaves, sample), "0"});
  }
  return out;
}

} // namespace

Rows preview_rows(const core::Policy& policy, const Text& as_of, int sample) {
  Look look(policy, as_of);
  Failures failures(policy.name);
  failures.load();
  const LegalHolds holds(look.resolved, look.clock);
  const bool goes_alone = look.resolved.edges.empty() && failures.is_empty() && holds.standing().empty();
  Rows out = goes_alone ? counted_rows(look, sample) : gathered_rows(look, sample, failures, holds);
  look.close();
  note_preview(policy);
  return out;
}

std::string preview_dictionary(const std::string& preset) {
  const core::Policy policy = presets::stored_or_built(preset);
  Look look(policy, Text());
  core::JsonObject out;
  out.set("success", true);
  require_shape(preset, look.resolved.rule);
  if (preset == "inactive_carts")
    list_carts(look, out);
  else if (preset == "old_cart_items")
    list_items(look, out);
  else if (preset == "inactive_sessions")
    list_sessions(look, out);
  else
    list_bookings(look, out);
  if (look.held() != 0)
    out.set("held", static_cast<std::int64_t>(look.held()));
  look.close();
  note_preview(policy);
  out.set("cutoff_time", iso(look.cutoff));
  return out.text();
}

Rows user_activity() {
  const core::Policy policy = presets::stored_or_built("inactive_carts");
  Look look(policy, Text());
  const core::Rule& rule = look.resolved.rule;
  if (rule.path.empty() || rule.times.empty())
    throw core::Failure(core::sqlstate::not_in_prerequisite_state,
                        "policy \"inactive_carts\" has no subject with a time of its own", "",
                        "get_user_activity() lists the subjects of that policy by their time column.");
  const std::string instant = core::deciding_instant(rule);
  const std::string user = key_value(rule.subject(), "subject");
  std::string times;
  for (const core::TimeColumn& time : rule.times)
    times += ", subject." + quote(time.column);
  const std::string sql = "SELECT " + user + "::text, CASE WHEN " + instant + " IS NULL OR " + instant +
                          " = '-infinity' THEN 'unknown' WHEN " + core::times_expired(rule) +
                          " THEN 'inactive' ELSE 'active' END, " + instant + ", CASE WHEN pg_catalog.isfinite(" +
                          instant + ") THEN pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.now() - " + instant +
                          ") / 86400)::pg_catalog.int4 END, " + "pg_catalog.count(target.tableoid)" +
                          core::subjects_source(rule) + " GROUP BY " + user + times + " ORDER BY 3 NULLS LAST, 1";
  Rows rows = boundary::query(sql, {Arg::time(look.cutoff)}, boundary::View::as_pushed);
  look.close();
  return rows;
}

} // namespace pg_retention::server
