#include "extension/server/select.hpp"

#include "extension/server/catalog.hpp"
#include "extension/server/parts.hpp"
#include "extension/server/walk.hpp"

#include <algorithm>

namespace pg_retention::server {
namespace {

using boundary::Arg;
using core::RowKey;

/// Fills a Selection from the rows of victims_select.
class VictimSink final : public boundary::Sink {
public:
  VictimSink(Selection& selection, bool with_instants)
      : selection_(selection), chain_(selection.guards.width()), with_instants_(with_instants) {}

  void accept(const Datum* values, const bool* nulls) override {
    const std::size_t width = chain_.size();
    for (std::size_t step = 0; step < width; ++step)
      chain_[step] = row_at(values, 2 + 2 * step, selection_.leaves);
    const std::uint32_t chain = width == 0 ? 0 : selection_.guards.chain(chain_.data());
    selection_.victims.push_back({row_at(values, 0, selection_.leaves), chain, core::Fate::goes});
    const std::size_t instant = 2 + 2 * width;
    if (!with_instants_ || nulls[instant])
      return;
    const TimestampTz at = DatumGetTimestampTz(values[instant]);
    selection_.oldest = std::min(selection_.oldest, at);
    selection_.newest = std::max(selection_.newest, at);
  }

private:
  Selection& selection_;
  std::vector<RowKey> chain_;
  bool with_instants_;
};

class ReferenceSink final : public boundary::Sink {
public:
  explicit ReferenceSink(core::Leaves& leaves) : leaves_(leaves) {}
  void accept(const Datum* values, const bool*) override {
    references.push_back({row_at(values, 0, leaves_), row_at(values, 2, leaves_)});
  }
  std::vector<Reference> references;

private:
  core::Leaves& leaves_;
};

class RowSink final : public boundary::Sink {
public:
  explicit RowSink(core::Leaves& leaves) : leaves_(leaves) {}
  void accept(const Datum* values, const bool*) override { rows.push_back(row_at(values, 0, leaves_)); }
  std::vector<RowKey> rows;

private:
  core::Leaves& leaves_;
};

bool in_place(const Victim& a, const Victim& b) { return a.key < b.key; }

void sort(std::vector<Victim>& victims) {
  if (!std::is_sorted(victims.begin(), victims.end(), in_place))
    std::sort(victims.begin(), victims.end(), in_place);
}

} // namespace

RowKey row_at(const Datum* values, std::size_t column, core::Leaves& leaves) {
  const auto* tid = reinterpret_cast<const ItemPointerData*>(DatumGetPointer(values[column + 1]));
  return core::row_key(leaves.number(DatumGetObjectId(values[column])), ItemPointerGetBlockNumberNoCheck(tid),
                       ItemPointerGetOffsetNumberNoCheck(tid));
}

Selection select_victims(const core::Rule& rule, TimestampTz cutoff, core::Leaves& leaves, bool with_instants) {
  Selection selection(leaves, rule.path.size());
  if (!with_instants && may_walk_blocks(rule) && planner_reads_whole_target(rule, cutoff)) {
    walk_blocks(rule, cutoff, selection);
    sort(selection.victims);
    return selection;
  }
  VictimSink sink(selection, with_instants);
  boundary::stream(core::victims_select(rule, with_instants), {Arg::time(cutoff)}, sink);
  sort(selection.victims);
  return selection;
}

Selection select_victims_among(const core::Rule& rule, TimestampTz cutoff, const std::vector<RowKey>& rows,
                               core::Leaves& leaves) {
  Selection selection(leaves, rule.path.size());
  VictimSink sink(selection, false);
  std::vector<Victim>& victims = selection.victims;
  core::Rule part = rule;
  // The newest of a group may lie in any part.
  const auto stretches = rule.keep_latest > 0 ? std::vector<Stretch>{{rule.target, rows}}
                                              : by_part(rule.target, rows, leaves, core::probes_of(rule));
  for (const Stretch& stretch : stretches) {
    const auto before = static_cast<std::ptrdiff_t>(victims.size());
    part.target = stretch.table;
    part.is_leaf = stretch.table.oid != rule.target.oid;
    boundary::stream(core::victims_select(part) + " AND target.ctid = ANY ($2)",
                     {Arg::time(cutoff), tid_array(stretch.rows)}, sink);
    // The statement knows places only: a place of another leaf may have come along.
    const auto is_stray = [&](const Victim& victim) {
      return !std::binary_search(stretch.rows.begin(), stretch.rows.end(), victim.key);
    };
    victims.erase(std::remove_if(victims.begin() + before, victims.end(), is_stray), victims.end());
  }
  sort(victims);
  return selection;
}

Arg tid_array(const std::vector<RowKey>& rows) {
  ArrayType* array = boundary::server([&] {
    auto* tids = static_cast<ItemPointerData*>(
        MemoryContextAllocHuge(CurrentMemoryContext, sizeof(ItemPointerData) * (rows.size() + 1)));
    auto* datums = static_cast<Datum*>(MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Datum) * (rows.size() + 1)));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      ItemPointerSet(&tids[i], core::block_of(rows[i]), core::offset_of(rows[i]));
      datums[i] = PointerGetDatum(&tids[i]);
    }
    ArrayType* result =
        construct_array(datums, static_cast<int>(rows.size()), TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT);
    pfree(datums);
    pfree(tids);
    return result;
  });
  return Arg::datum(TIDARRAYOID, PointerGetDatum(array));
}

boundary::Rows select_key(const core::Relation& leaf, RowKey row, const std::string& keyless) {
  std::vector<std::string> pairs;
  for (const std::string& column : catalog::key_columns(leaf.oid))
    pairs.push_back(core::quote_literal(column) + ", t." + core::quote(column));
  const std::string key = pairs.empty() ? keyless : "pg_catalog.jsonb_build_object(" + core::join(pairs, ", ") + ")";
  return boundary::query("SELECT " + key + " FROM " + catalog::rows_of_leaf(leaf, "t", "WHERE") + "t.ctid = ANY ($1)",
                         {tid_array({row})}, boundary::View::as_pushed);
}

std::vector<std::pair<core::Bond, std::vector<RowKey>>>
by_parent(const core::Bond& bond, const std::vector<RowKey>& parents, const core::Leaves& leaves) {
  // A key to a plain table does not mean the rows of its heirs.
  if (bond.is_key && bond.parent.kind != RELKIND_PARTITIONED_TABLE)
    return {{bond, parents}};
  std::vector<std::pair<core::Bond, std::vector<RowKey>>> out;
  for (Stretch& stretch : by_part(bond.parent, parents, leaves, core::probes_of(bond))) {
    out.emplace_back(bond, std::move(stretch.rows));
    out.back().first.parent = stretch.table;
  }
  return out;
}

void sort_once(std::vector<Reference>& references) {
  const auto both = [](const Reference& reference) { return std::pair(reference.child, reference.parent); };
  std::sort(references.begin(), references.end(),
            [&](const Reference& a, const Reference& b) { return both(a) < both(b); });
  references.erase(std::unique(references.begin(), references.end(),
                               [&](const Reference& a, const Reference& b) { return both(a) == both(b); }),
                   references.end());
}

std::vector<Reference> select_children(const core::Bond& bond, const std::vector<RowKey>& parents,
                                       core::Leaves& leaves) {
  std::vector<Reference> references;
  for (const auto& [part, rows] : by_parent(bond, parents, leaves)) {
    const std::vector<Reference> found = select_references(core::children_select(part), {tid_array(rows)}, leaves);
    references.insert(references.end(), found.begin(), found.end());
  }
  sort_once(references);
  return references;
}

std::vector<Reference> select_references(const std::string& sql, const std::vector<Arg>& args, core::Leaves& leaves) {
  ReferenceSink sink(leaves);
  boundary::stream(sql, args, sink);
  return std::move(sink.references);
}

std::vector<RowKey> select_rows(const std::string& sql, const std::vector<Arg>& args, core::Leaves& leaves) {
  RowSink sink(leaves);
  boundary::stream(sql, args, sink);
  return std::move(sink.rows);
}

std::vector<RowKey> standing_rows(const core::Relation& target, const std::vector<RowKey>& rows, core::Leaves& leaves) {
  if (rows.empty())
    return {};
  push_latest_snapshot();
  std::vector<RowKey> standing;
  for (const Stretch& stretch : by_part(target, rows, leaves, {})) {
    const std::string sql = "SELECT tableoid, ctid FROM " + stretch.table.sql() + " WHERE ctid = ANY ($1)";
    const std::vector<RowKey> found = select_rows(sql, {tid_array(stretch.rows)}, leaves);
    standing.insert(standing.end(), found.begin(), found.end());
  }
  pop_snapshot();
  // The statement knows places only: a place of another leaf may have come along.
  const auto is_stray = [&](RowKey row) { return !std::binary_search(rows.begin(), rows.end(), row); };
  standing.erase(std::remove_if(standing.begin(), standing.end(), is_stray), standing.end());
  std::sort(standing.begin(), standing.end());
  standing.erase(std::unique(standing.begin(), standing.end()), standing.end());
  return standing;
}

void push_latest_snapshot() {
  boundary::server([] {
    CommandCounterIncrement();
    PushActiveSnapshot(GetLatestSnapshot());
  });
}

void pop_snapshot() {
  boundary::server([] { PopActiveSnapshot(); });
}

} // namespace pg_retention::server
