#include "extension/server/failures.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/settings.hpp"

#include <algorithm>
#include <cstdio>
#include <map>

namespace pg_retention::server {
namespace {

using boundary::Arg;
using boundary::server;
using core::RowKey;

/// What of a text is kept: errors may carry whole rows, or whatever a trigger chooses to say.
std::string clipped(const std::string& text) {
  constexpr int most = 1000;
  const int kept = server([&] { return pg_mbcliplen(text.c_str(), static_cast<int>(text.size()), most); });
  return text.substr(0, static_cast<std::size_t>(kept));
}

/// A key that is a place rather than columns: `"(block,offset)"`, or `"block n"`.
std::string place_key(RowKey row) {
  const std::string block = std::to_string(core::block_of(row));
  if (core::offset_of(row) == 0)
    return "\"block " + block + "\"";
  return "\"(" + block + "," + std::to_string(core::offset_of(row)) + ")\"";
}

/// The place that such a key means in a leaf.
RowKey place_of(const std::string& key, std::uint16_t leaf) {
  unsigned block = 0;
  unsigned offset = 0;
  if (std::sscanf(key.c_str(), "\"(%u,%u)\"", &block, &offset) < 2)
    (void)std::sscanf(key.c_str(), "\"block %u\"", &block);
  return core::row_key(leaf, block, static_cast<std::uint16_t>(offset));
}

/// Whether a block can be read, as far as its page goes.
bool can_be_read(RowKey row, Oid leaf) {
  return !boundary::attempt([&] {
    server([&] {
      Relation const table = table_open(leaf, AccessShareLock);
      if (core::block_of(row) < RelationGetNumberOfBlocks(table))
        ReleaseBuffer(ReadBuffer(table, core::block_of(row)));
      table_close(table, NoLock);
    });
  });
}

/// The equality of a column's type, written out with its schema: nothing else is on the owner's search_path.
std::string equality(Oid type) {
  const Oid oid = server([&] { return lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr; });
  return boundary::single("SELECT 'OPERATOR(' || pg_catalog.quote_ident(n.nspname) || '.' || o.oprname || ')' FROM "
                          "pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace WHERE "
                          "o.oid = $1",
                          {Arg::oid(oid)})
      .value_or("OPERATOR(pg_catalog.=)");
}

} // namespace

bool may_be_of_rows(const std::string& sqlstate) noexcept {
  // Connection, transaction state and rollback, syntax and access rules, resources, operator and system.
  for (const char* of_all : {"08", "25", "40", "42", "53", "57", "58"})
    if (sqlstate.compare(0, 2, of_all) == 0)
      return false;
  // A lock that was not to be had, a table in use, a hold that cannot be judged: nothing goes while that is in doubt.
  return sqlstate != core::sqlstate::lock_not_available && sqlstate != "55006" &&
         sqlstate != core::sqlstate::hold_in_doubt;
}

bool Failures::are_kept() {
  return server([] { return OidIsValid(get_relname_relid("failure", get_namespace_oid("retention", false))); });
}

void Failures::load() {
  entries_.clear();
  if (!are_kept())
    return;
  const Authority before = act_as_keeper();
  for (const boundary::Row& row :
       boundary::query("SELECT id, relation::pg_catalog.oid, key::pg_catalog.text, next_try > "
                       "pg_catalog.clock_timestamp() FROM retention.failure WHERE policy = $1 ORDER BY relation, id",
                       {Arg::of(policy_)}))
    entries_.push_back({std::stoll(*row[0]), static_cast<Oid>(std::stoul(*row[1])), *row[2], row[3] == "t", false, 0});
  give_back(before);
}

void Failures::find(const Resolved& resolved, TimestampTz cutoff, core::Leaves& leaves) {
  waiting_.clear();
  unreadable_.clear();
  if (entries_.empty())
    return;
  std::map<Oid, core::Relation> parts;
  for (const core::Relation& leaf : catalog::leaves(resolved.rule.target))
    parts.emplace(leaf.oid, leaf);
  std::map<Oid, Some> by_leaf;
  for (Entry& entry : entries_) {
    entry.is_solved = parts.count(entry.relation) == 0;
    if (!entry.is_solved)
      by_leaf[entry.relation].push_back(&entry);
  }
  Some found;
  push_latest_snapshot();
  for (const auto& [oid, entries] : by_leaf)
    find_in_leaf(parts.at(oid), leaves.number(oid), entries, found);
  judge(resolved, cutoff, leaves, found);
  pop_snapshot();
}

/// Finds the places of the rows that the entries of one leaf mean; those that are not there are solved.
void Failures::find_in_leaf(const core::Relation& leaf, std::uint16_t number, const Some& entries, Some& found) {
  Some by_key;
  for (Entry* entry : entries) {
    if (entry->key.front() == '{') {
      by_key.push_back(entry);
      continue;
    }
    entry->row = place_of(entry->key, number);
    if (core::offset_of(entry->row) != 0)
      found.push_back(entry);
    else if (can_be_read(entry->row, leaf.oid))
      entry->is_solved = true;
    else if (entry->waits)
      unreadable_.insert(entry->row);
  }
  // A key that cannot be read back into its type, or a table whose key became another: its rows are tried anew.
  (void)boundary::attempt([&] { find_by_key(leaf, number, by_key, found); });
}

void Failures::find_by_key(const core::Relation& leaf, std::uint16_t number, const Some& entries, Some& found) const {
  // Read back by the types of the columns: an array, a row or a document is no text in JSON.
  std::vector<std::string> terms, fields;
  for (const std::string& name : catalog::key_columns(leaf.oid)) {
    const catalog::ColumnType type = catalog::require_column(leaf, name);
    terms.push_back("target." + core::quote(name) + " " + equality(type.base) + " k." + core::quote(name));
    fields.push_back(core::quote(name) + " " + type.declared);
  }
  if (terms.empty() || entries.empty())
    return;
  std::vector<std::string> keys;
  std::map<std::string, Entry*> by_number;
  for (Entry* entry : entries) {
    entry->is_solved = true;
    by_number[std::to_string(keys.size())] = entry;
    keys.push_back("{\"n\": " + std::to_string(keys.size()) + ", \"key\": " + entry->key + "}");
  }
  const std::string list = "[" + core::join(keys, ", ") + "]";
  for (const boundary::Row& row :
       boundary::query("SELECT f.n, pg_catalog.split_part(pg_catalog.btrim(target.ctid::pg_catalog.text, '()'), ',', "
                       "1), pg_catalog.split_part(pg_catalog.btrim(target.ctid::pg_catalog.text, '()'), ',', 2) FROM "
                       "pg_catalog.jsonb_to_recordset($1::pg_catalog.jsonb) AS f (n pg_catalog.int4, key "
                       "pg_catalog.jsonb) CROSS JOIN LATERAL pg_catalog.jsonb_to_record(f.key) AS k (" +
                           core::join(fields, ", ") + ") JOIN " + catalog::rows_of_leaf(leaf, "target", "ON") +
                           core::join(terms, " AND "),
                       {Arg::of(list)}, boundary::View::as_pushed)) {
    Entry* const entry = by_number.at(*row[0]);
    entry->row = core::row_key(number, static_cast<std::uint32_t>(std::stoul(*row[1])),
                               static_cast<std::uint16_t>(std::stoul(*row[2])));
    entry->is_solved = false;
    found.push_back(entry);
  }
}

/// Which of the rows are victims still. One that cannot be judged stands, and must not be read while it waits.
void Failures::judge(const Resolved& resolved, TimestampTz cutoff, core::Leaves& leaves, const Some& found) {
  std::set<RowKey> victims, unjudged;
  const auto judge_rows = [&](const std::vector<RowKey>& rows) {
    return boundary::attempt([&] {
      for (const Victim& victim : select_victims_among(resolved.rule, cutoff, rows, leaves).victims)
        victims.insert(victim.key);
    });
  };
  std::vector<RowKey> rows;
  for (const Entry* entry : found)
    rows.push_back(entry->row);
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  if (judge_rows(rows)) {
    victims.clear();
    for (const RowKey row : rows)
      if (judge_rows({row}))
        unjudged.insert(row);
  }
  for (Entry* entry : found) {
    const bool is_unjudged = unjudged.count(entry->row) != 0;
    entry->is_solved = !is_unjudged && victims.count(entry->row) == 0;
    if (entry->is_solved || !entry->waits)
      continue;
    waiting_.insert(entry->row);
    if (is_unjudged)
      unreadable_.insert(entry->row);
  }
}

namespace {

/// Takes out what `waits` says of, and tells how many.
template <class Row, class Waits>
std::size_t take_out(std::vector<Row>& rows, Waits waits) {
  const auto kept = std::remove_if(rows.begin(), rows.end(), waits);
  const auto count = static_cast<std::size_t>(rows.end() - kept);
  rows.erase(kept, rows.end());
  return count;
}

} // namespace

std::size_t Failures::leave_out(std::vector<Victim>& victims) const {
  return waiting_.empty() ? 0 : take_out(victims, [&](const Victim& victim) { return waits(victim.key); });
}

std::size_t Failures::leave_out(std::vector<RowKey>& rows) const {
  return waiting_.empty() ? 0 : take_out(rows, [&](RowKey row) { return waits(row); });
}

void Failures::forget_solved() {
  std::vector<std::string> ids;
  for (const Entry& entry : entries_)
    if (entry.is_solved)
      ids.push_back(std::to_string(entry.id));
  if (ids.empty())
    return;
  const Authority before = act_as_keeper();
  // Slices of one run come to the same entries: each is settled by one of them.
  boundary::execute("DELETE FROM retention.failure WHERE id IN (SELECT f.id FROM retention.failure f WHERE f.id = ANY "
                    "($1::pg_catalog.int8[]) FOR UPDATE SKIP LOCKED)",
                    {Arg::of(core::array_text(ids))});
  give_back(before);
}

std::string Failures::key_of(RowKey row, const core::Leaves& leaves) {
  if (core::offset_of(row) == 0)
    return place_key(row);
  boundary::Text key;
  bool is_there = false;
  push_latest_snapshot();
  const auto unreadable = boundary::attempt([&] {
    const core::Relation leaf = catalog::relation(leaves.oid(core::leaf_of(row)), "of a row that failed");
    const boundary::Rows rows = select_key(leaf, row, "NULL");
    is_there = !rows.empty();
    if (is_there)
      key = rows[0][0];
  });
  pop_snapshot();
  if (!unreadable && !is_there)
    return "";
  return key.value_or(place_key(row));
}

void Failures::record(std::int64_t run, Oid leaf, const std::string& key, const boundary::Caught& fault) const {
  const std::string message = clipped(fault.message), detail = clipped(fault.detail);
  const Authority before = act_as_keeper();
  boundary::execute(
      R"(INSERT INTO retention.failure AS f (policy, relation, key, run, sqlstate, message, detail, next_try)
         VALUES ($1, $2::pg_catalog.regclass, $3::pg_catalog.jsonb, $4, $5, $6, NULLIF($7, ''),
                 pg_catalog.now() + LEAST($8, $9) * interval '1 second')
         ON CONFLICT (policy, relation, pg_catalog.jsonb_hash_extended(key, 0)) DO UPDATE
           SET run = EXCLUDED.run, sqlstate = EXCLUDED.sqlstate, message = EXCLUDED.message, detail = EXCLUDED.detail,
               attempts = f.attempts + 1, last_seen = pg_catalog.now(),
               next_try = pg_catalog.now() + LEAST($8 * 2 ^ LEAST(f.attempts, 40), $9) * interval '1 second')",
      {Arg::of(policy_), Arg::oid(leaf), Arg::of(key), Arg::of(run), Arg::of(fault.sqlstate), Arg::of(message),
       Arg::of(detail), Arg::of(std::int32_t{settings::failure_pause()}),
       Arg::of(std::int32_t{settings::failure_pause_max()})});
  give_back(before);
}

std::uint64_t end_pauses(const boundary::Text& policy) {
  return as_keeper([&] {
    return boundary::execute(
        "UPDATE retention.failure SET next_try = pg_catalog.clock_timestamp() WHERE (policy = $1 OR $1 "
        "IS NULL) AND next_try > pg_catalog.clock_timestamp()",
        {Arg::of(policy)});
  });
}

void forget_failures(const std::string& policy) {
  if (!Failures::are_kept())
    return;
  const Authority before = act_as_keeper();
  boundary::execute("DELETE FROM retention.failure WHERE policy = $1", {Arg::of(policy)});
  give_back(before);
}

} // namespace pg_retention::server
