#include "extension/server/returning.hpp"

#include "extension/core/failure.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"

#include <algorithm>

namespace pg_retention::server {
namespace {

using boundary::Arg;
using core::Failure;
using core::Reunion;
using core::RowKey;

/// Rows of one statement: so many that its price does not count, so few that half of them is soon found.
constexpr std::uint32_t rows_a_statement = 20000;

/// Keys listed of the rows that stay for one reason.
constexpr std::size_t most_sampled = 100;

/// Reasons that are told apart; a trigger may give every row one of its own.
constexpr std::size_t most_reasons = 1000;

/// What refers to what, streamed into a reunion.
class LinkSink final : public boundary::Sink {
public:
  LinkSink(Reunion& rows, core::Leaves& leaves) : rows_(rows), leaves_(leaves) {}
  void accept(const Datum* values, const bool*) override {
    const std::uint32_t child = rows_.find(row_at(values, 0, leaves_)), parent = rows_.find(row_at(values, 2, leaves_));
    if (child != Reunion::none && parent != Reunion::none && child != parent)
      rows_.link(child, parent);
  }

private:
  Reunion& rows_;
  core::Leaves& leaves_;
};

} // namespace

Returning::Returning(const Layout& layout, std::int64_t run, bool is_partial)
    : layout_(layout), run_(run), is_partial_(is_partial), returned_(layout.archived()), staying_(layout.archived()),
      locked_(layout.archived()) {
  for (std::size_t i = 0; i < layout.archived(); ++i)
    prepare(layout.tables[i]);
  orphaned_ = reason("23503", "the row that it belongs to stays in the archive");
  find_rows();
  link_rows();
  std::vector<Oid> archives;
  for (const Place& place : places_)
    archives.push_back(place.was.archive.oid);
  keep_holds_as_they_are();
  refuse_held(LegalHolds(archives, boundary::server([] { return GetCurrentTimestamp(); })));
  refuse_rows();
  rows_->settle(!is_partial);
}

std::uint32_t Returning::reason(const std::string& sqlstate, const std::string& message) {
  std::size_t same_state = reasons_.size();
  for (std::size_t i = 0; i < reasons_.size(); ++i)
    if (reasons_[i].sqlstate == sqlstate) {
      if (reasons_[i].message == message)
        return static_cast<std::uint32_t>(i);
      same_state = std::min(same_state, i);
    }
  if (same_state < reasons_.size() && reasons_.size() >= most_reasons)
    return static_cast<std::uint32_t>(same_state);
  reasons_.push_back({sqlstate, message});
  return static_cast<std::uint32_t>(reasons_.size() - 1);
}

/// A table and its archive as they are now. What is wrong with the target or with an archive ends the restore; a
/// dependent whose table cannot take rows keeps them in the archive.
void Returning::prepare(const Archived& table) {
  const bool is_target = places_.empty();
  if (table.archive.oid == InvalidOid)
    throw Failure(core::sqlstate::undefined_table, "archive " + table.archive.name + " no longer exists",
                  "Rows that belong to those of " + layout_.tables.front().table.label() + " may be lost with it.");
  catalog::require_supported(table.archive);
  require(layout_.owner, table.archive.oid, ACL_DELETE, table.archive.label());
  require(layout_.owner, table.archive.oid, ACL_SELECT, table.archive.label());
  places_.push_back({table, {}, Reunion::none});
  Place& place = places_.back();
  const auto caught = boundary::attempt([&] {
    if (table.table.oid == InvalidOid)
      throw Failure(core::sqlstate::undefined_table, "table " + table.table.name + " no longer exists");
    catalog::require_supported(table.table);
    if (table.table.kind == 'r' && catalog::leaves(table.table).size() > 1)
      throw Failure(core::sqlstate::feature_not_supported,
                    "rows of " + table.table.label() + " cannot be put back: other tables inherit from it",
                    "Its archive does not say which of them a row came from.");
    require(layout_.owner, table.table.oid, ACL_INSERT, table.table.label());
    for (const catalog::Column& column : catalog::columns(table.table.oid))
      if (!catalog::require_column(table.table, column.name).is_generated && column.name != core::archive_run &&
          column.name != core::archive_time && catalog::column(table.archive, column.name))
        place.columns.push_back(column.name);
    boundary::prepare(core::return_statement({{table.archive, table.table, place.columns}}, run_), {TIDARRAYOID});
  });
  if (caught && is_target)
    throw Failure(caught->sqlstate.c_str(), caught->message, caught->detail, caught->hint);
  if (caught)
    place.unfit = reason(caught->sqlstate, caught->message);
}

void Returning::find_rows() {
  std::vector<RowKey> all;
  push_latest_snapshot();
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const std::vector<RowKey> rows =
        select_rows(core::archived_select(places_[i].was.archive), {Arg::of(run_)}, leaves_);
    all.insert(all.end(), rows.begin(), rows.end());
    place_of_leaf_.resize(leaves_.size(), i);
    for (const RowKey row : rows)
      if (place_of_leaf_[core::leaf_of(row)] != i)
        throw Failure(core::sqlstate::feature_not_supported,
                      "rows of several tables lie in the archive " + places_[i].was.archive.label(),
                      "Nothing there tells them apart.");
  }
  pop_snapshot();
  std::sort(all.begin(), all.end());
  rows_.emplace(std::move(all));
}

std::optional<boundary::Caught> Returning::link(std::size_t child, std::size_t parent, const std::string& condition) {
  return boundary::attempt([&] {
    LinkSink sink(*rows_, leaves_);
    push_latest_snapshot();
    boundary::stream(core::archived_links(places_[child].was.archive, places_[parent].was.archive, condition),
                     {Arg::of(run_)}, sink);
    pop_snapshot();
  });
}

void Returning::link_rows() {
  for (std::size_t child = 0; child < places_.size(); ++child)
    for (const Archived::Hang& hang : places_[child].was.hangs) {
      const auto caught = link(child, hang.parent, hang.condition);
      // A key that was altered or dropped is no bond any more; of rows that no key binds nothing else would tell.
      if (caught && !hang.is_key)
        places_[child].unfit = reason(caught->sqlstate, caught->message);
    }
  link_by_keys_of_today();
}

/// Keys that came after the run bind its rows too.
void Returning::link_by_keys_of_today() {
  for (const core::ForeignKey& key : catalog::foreign_keys()) {
    const std::size_t child = place_of(layout_, key.child), parent = place_of(layout_, key.parent);
    if (child >= places_.size() || parent >= places_.size() || key.is_temporal)
      continue;
    const std::string condition = key.condition("dependent", "target");
    const std::vector<Archived::Hang>& known = places_[child].was.hangs;
    if (std::none_of(known.begin(), known.end(),
                     [&](const Archived::Hang& hang) { return hang.parent == parent && hang.condition == condition; }))
      (void)link(child, parent, condition);
  }
}

void Returning::run() {
  std::uint32_t first = 0;
  while (first < rows_->units()) {
    std::uint32_t last = first, rows = 0;
    while (last < rows_->units() && (rows == 0 || rows < rows_a_statement))
      rows += static_cast<std::uint32_t>(rows_->end(last) - rows_->begin(last)), ++last;
    try_units(first, last);
    first = last;
  }
  count();
}

/// Puts units back at once; where that fails, each half of them. Parents stand before children, so that those of a unit
/// are decided when its turn comes, or go with it.
void Returning::try_units(std::uint32_t first, std::uint32_t last) {
  std::vector<std::uint32_t> units;
  for (std::uint32_t unit = first; unit < last; ++unit)
    if (rows_->may_return(unit, orphaned_))
      units.push_back(unit);
  if (units.empty())
    return;
  boundary::Scratch scratch;
  const auto caught = boundary::attempt([&] { put_back(units); });
  scratch.release();
  if (!caught)
    return;
  if (units.size() == 1)
    return rows_->keep(units.front(), reason(caught->sqlstate, caught->message));
  const std::uint32_t middle = units[units.size() / 2];
  try_units(first, middle);
  try_units(middle, last);
}

void Returning::put_back(const std::vector<std::uint32_t>& units) {
  boundary::server([] { CHECK_FOR_INTERRUPTS(); });
  std::map<std::uint16_t, std::vector<RowKey>> by_leaf;
  for (const std::uint32_t unit : units)
    for (const std::uint32_t* row = rows_->begin(unit); row != rows_->end(unit); ++row)
      by_leaf[core::leaf_of(rows_->key(*row))].push_back(rows_->key(*row));
  std::vector<core::RowReturn> returns;
  std::vector<Arg> places;
  for (auto& [leaf, rows] : by_leaf) {
    const Place& place = places_[place_of_leaf_[leaf]];
    returns.push_back({catalog::relation(leaves_.oid(leaf), "of an archive"), place.was.table, place.columns});
    std::sort(rows.begin(), rows.end());
    places.push_back(tid_array(rows));
  }
  const boundary::Row counts = boundary::change(core::return_statement(returns, run_), places).at(0);
  std::size_t at = 0;
  for (const auto& [leaf, rows] : by_leaf) {
    if (std::stoull(*counts[at]) != rows.size())
      throw Failure(core::sqlstate::serialization_failure,
                    "rows in archive " + returns[at].part.label() + " were changed by somebody else");
    if (counts[at + returns.size()] != counts[at])
      throw Failure("23001", "a trigger or a rule of " + returns[at].table.label() + " kept rows out");
    ++at;
  }
}

void Returning::count() {
  std::map<std::pair<std::size_t, std::uint32_t>, std::pair<std::uint64_t, std::vector<RowKey>>> stay;
  for (std::uint32_t row = 0; row < rows_->size(); ++row) {
    const RowKey key = rows_->key(row);
    const std::size_t place = place_of_leaf_[core::leaf_of(key)];
    const std::uint32_t why = rows_->why(row);
    if (why == Reunion::none) {
      ++returned_[place];
      continue;
    }
    ++(core::sqlstate::is_passing(reasons_[why].sqlstate) ? locked_ : staying_)[place];
    if (why == held_ && place == 0)
      ++held_count_;
    auto& [rows, sample] = stay[{place, why}];
    ++rows;
    if (sample.size() < most_sampled)
      sample.push_back(key);
  }
  for (const auto& [where, what] : stay)
    list(where.first, where.second, what.second, what.first);
}

/// Adds to what stays of a table for one SQLSTATE; the keys are those of the first message.
void Returning::list(std::size_t place, std::uint32_t why, const std::vector<RowKey>& sample, std::uint64_t rows) {
  const Archived& was = places_[place].was;
  Unrestored& listed =
      unrestored_[{was.table.oid == InvalidOid ? was.table.name : was.table.label(), reasons_[why].sqlstate}];
  const bool is_first = listed.rows == 0;
  listed.rows += rows;
  if (!is_first)
    return;
  listed.message = reasons_[why].message;
  listed.sample_keys = "[]";
  std::vector<std::string> pairs;
  for (const std::string& column :
       was.table.oid == InvalidOid ? std::vector<std::string>() : catalog::key_columns(was.table.oid))
    if (catalog::column(was.archive, column))
      pairs.push_back(core::quote_literal(column) + ", archived." + core::quote(column));
  if (pairs.empty())
    pairs.push_back("'ctid', archived.ctid");
  const auto keys =
      boundary::single("SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(" + core::join(pairs, ", ") +
                           ") ORDER BY archived.ctid) FROM " + was.archive.sql() +
                           " AS archived WHERE archived.ctid = ANY ($1) AND archived." + core::archive_run + " = $2",
                       {tid_array(sample), Arg::of(run_)});
  listed.sample_keys = keys.value_or("[]");
}

} // namespace pg_retention::server
