#include "extension/core/failure.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/returning.hpp"

#include <algorithm>

/// Archived rows that no longer fit, found table by table: what is found here need not be tried row by row. What is not
/// found here, the tables themselves refuse.
namespace pg_retention::server {

using boundary::Arg;
using boundary::Row;

namespace {

/// Whether a trigger sees each row before it is there, and may make it fit.
bool is_rewritten(const core::Relation& table) {
  return boundary::single(
             "SELECT 1 FROM pg_catalog.pg_trigger t WHERE t.tgtype & 7 = 7 AND t.tgenabled <> 'D' AND (t.tgrelid = $1 "
             "OR t.tgrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree($1) p)) LIMIT 1",
             {Arg::oid(table.oid)})
      .has_value();
}

} // namespace

/// Refuses the rows that `sql` selects; a statement that fails finds nothing.
void Returning::refuse(const std::string& sql, std::uint32_t why) {
  (void)boundary::attempt([&] {
    push_latest_snapshot();
    const std::vector<core::RowKey> found = select_rows(sql, {Arg::of(run_)}, leaves_);
    pop_snapshot();
    for (const core::RowKey row : found)
      if (const std::uint32_t number = rows_->find(row); number != core::Reunion::none)
        rows_->refuse(number, why);
  });
}

/// Rows that a hold on the archive keeps there.
void Returning::refuse_held(const LegalHolds& holds) {
  std::vector<core::RowKey> rows;
  for (std::uint32_t row = 0; row < rows_->size(); ++row)
    rows.push_back(rows_->key(row));
  const auto held = holds.held_among(rows, leaves_);
  if (held.empty())
    return;
  held_ = reason(core::sqlstate::not_in_prerequisite_state, "a legal hold keeps the row in the archive");
  for (std::uint32_t row = 0; row < rows_->size(); ++row)
    if (held.count(rows_->key(row)) != 0)
      rows_->refuse(row, held_);
}

void Returning::refuse_rows() {
  for (std::size_t i = 0; i < places_.size() && rows_->size() != 0; ++i) {
    const Place& place = places_[i];
    if (place.unfit != core::Reunion::none) {
      refuse(core::archived_select(place.was.archive), place.unfit);
      continue;
    }
    refuse_lost_columns(place);
    refuse_altered_values(place);
    refuse_strays(place);
    if (is_rewritten(place.was.table))
      continue;
    refuse_nulls(place);
    refuse_by_checks(place);
    refuse_taken_keys(place);
    refuse_orphans(i);
  }
}

/// A column that the table had when its rows were archived, and has no more: rows with a value there would lose it.
void Returning::refuse_lost_columns(const Place& place) {
  for (const std::string& column : place.was.columns)
    if (catalog::column(place.was.archive, column) && !catalog::column(place.was.table, column))
      refuse(core::archived_where(place.was.archive, "archived." + core::quote(column) + " IS NOT NULL"),
             reason(core::sqlstate::undefined_column, "column " + core::quote(column) + " of " +
                                                          place.was.table.label() +
                                                          " no longer exists, and the archive has values for it"));
}

/// Columns that are of another type since: rows whose value would come back rounded, cut or moved.
void Returning::refuse_altered_values(const Place& place) {
  for (const std::string& column : place.columns) {
    const std::string was = catalog::require_column(place.was.archive, column).declared,
                      now = catalog::require_column(place.was.table, column).declared;
    const std::string value = "(archived." + core::quote(column) + ")";
    if (was != now)
      refuse(core::archived_where(place.was.archive, value + "::pg_catalog.text IS DISTINCT FROM ((" + value +
                                                         "::" + now + ")::" + was + ")::pg_catalog.text"),
             reason(core::sqlstate::datatype_mismatch, "column " + core::quote(column) + " of " +
                                                           place.was.table.label() + " is of type " + now +
                                                           " now, which would change the value"));
  }
}

/// Columns that must have a value, and would get none.
void Returning::refuse_nulls(const Place& place) {
  for (const Row& row :
       boundary::query("SELECT a.attname, a.atthasdef OR a.attidentity <> '' FROM pg_catalog.pg_attribute a "
                       "WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull "
                       "AND a.attgenerated = ''",
                       {Arg::oid(place.was.table.oid)})) {
    const bool is_given = std::find(place.columns.begin(), place.columns.end(), *row[0]) != place.columns.end();
    if (!is_given && row[1] == "t")
      continue;
    refuse(core::archived_where(place.was.archive, is_given ? "archived." + core::quote(*row[0]) + " IS NULL" : "true"),
           reason("23502", "null value in column " + core::quote(*row[0]) + " of " + place.was.table.label() +
                               " violates not-null constraint"));
  }
}

void Returning::refuse_by_checks(const Place& place) {
  for (const Row& row :
       boundary::query("SELECT c.conname, pg_catalog.pg_get_expr(c.conbin, c.conrelid) FROM pg_catalog.pg_constraint c "
                       "WHERE c.conrelid = $1 AND c.contype = 'c'",
                       {Arg::oid(place.was.table.oid)}))
    refuse(core::archived_where(place.was.archive, "NOT (" + *row[1] + "\n)"),
           reason("23514",
                  "new row for " + place.was.table.label() + " violates check constraint " + core::quote(*row[0])));
}

void Returning::refuse_taken_keys(const Place& place) {
  for (const Row& row : boundary::query(R"(
    SELECT x.relname,
           (SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.n) FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k (no, n)
              JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.no WHERE k.n <= i.indnkeyatts),
           (SELECT pg_catalog.array_agg(pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname) ORDER BY k.n)
              FROM pg_catalog.unnest(i.indclass::pg_catalog.oid[]) WITH ORDINALITY k (no, n) JOIN pg_catalog.pg_opclass c ON c.oid = k.no
              JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype AND m.amopstrategy = 3
              JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace)
      FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_am h ON h.oid = x.relam
     WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND h.amname = 'btree')",
                                        {Arg::oid(place.was.table.oid)})) {
    const std::vector<std::string> columns = core::array_items(*row[1]),
                                   operators = core::array_items(row[2].value_or("{}"));
    if (columns.size() == operators.size())
      refuse(core::archived_with_taken_key(place.was.archive, place.was.table, columns, operators),
             reason("23505", "duplicate key value violates unique constraint " + core::quote(*row[0])));
  }
}

core::Relation Returning::archive_at(std::size_t place) const {
  return place < places_.size() ? places_[place].was.archive : core::Relation{};
}

/// Rows that hang without a key on rows that are neither there nor on their way: no constraint would refuse them.
void Returning::refuse_strays(const Place& place) {
  for (const Archived::Hang& hang : place.was.hangs)
    if (!hang.is_key) {
      const core::Relation& parent = layout_.tables[hang.parent].table;
      refuse(core::archived_orphans(place.was.archive, {}, hang.condition, parent, archive_at(hang.parent)),
             reason("23503", "the row that it belonged to is gone from " + parent.label()));
    }
}

/// Rows whose parents are neither there nor on their way.
void Returning::refuse_orphans(std::size_t place) {
  const Archived& was = places_[place].was;
  for (const core::ForeignKey& key : catalog::foreign_keys()) {
    if (key.is_temporal || key.child.oid != was.table.oid)
      continue;
    refuse(
        core::archived_orphans(was.archive, key.child_columns, key.condition("dependent", "target"), key.parent,
                               archive_at(place_of(layout_, key.parent))),
        reason("23503", "what the row refers to by " + core::quote(key.name) + " is gone from " + key.parent.label()));
  }
}

} // namespace pg_retention::server
