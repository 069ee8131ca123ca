#include "extension/server/walk.hpp"

#include "extension/server/catalog.hpp"

#include <array>

namespace pg_retention::server {
namespace {

using boundary::Arg;
using boundary::server;
using core::RowKey;

bool is_integer(Oid type) { return type == INT2OID || type == INT4OID || type == INT8OID; }

/// An integer of any width.
std::int64_t integer(Datum value, Oid type) {
  return type == INT2OID ? DatumGetInt16(value) : type == INT4OID ? DatumGetInt32(value) : DatumGetInt64(value);
}

/// Takes in chains of guards and the key under which the target refers to each.
class ChainSink final : public boundary::Sink {
public:
  ChainSink(Selection& selection, core::KeyNumbers& chains, Oid key_type)
      : selection_(selection), chains_(chains), keys_(selection.guards.width()), key_type_(key_type) {}

  void accept(const Datum* values, const bool* nulls) override {
    const std::size_t key = 2 * keys_.size();
    if (nulls[key])
      return;
    for (std::size_t step = 0; step < keys_.size(); ++step)
      keys_[step] = row_at(values, 2 * step, selection_.leaves);
    const std::uint32_t chain = selection_.guards.chain(keys_.data());
    chains_.find_or_add(static_cast<std::uint64_t>(integer(values[key], key_type_)), chain);
  }

private:
  Selection& selection_;
  core::KeyNumbers& chains_;
  std::vector<RowKey> keys_;
  Oid key_type_;
};

/// A scan of one leaf, kept by the server between portions.
struct Scan {
  Relation table;
  TableScanDesc descriptor;
  TupleTableSlot* slot;
  AttrNumber column;
};

/// Rows found by one portion of a scan.
struct Portion {
  std::array<Victim, 8192> rows;
  std::size_t count;
  bool is_last;
};

Scan open_scan(Oid leaf, const std::string& column) {
  return server([&] {
    Relation const table = table_open(leaf, AccessShareLock);
    // In physical order: no synchronized scan, which would begin in the middle.
    TableScanDesc const descriptor = table_beginscan_strat(table, GetActiveSnapshot(), 0, nullptr, true, false);
    return Scan{table, descriptor, table_slot_create(table, nullptr), get_attnum(leaf, column.c_str())};
  });
}

/// Reads on until the portion is full or the leaf is at its end. The set is only read, so nothing here can throw.
void read_portion(const Scan& scan, Oid type, std::uint16_t leaf, const core::KeyNumbers& chains, Portion& portion) {
  server([&] {
    portion.count = 0;
    portion.is_last = false;
    while (portion.count < portion.rows.size()) {
      if (!table_scan_getnextslot(scan.descriptor, ForwardScanDirection, scan.slot)) {
        portion.is_last = true;
        return;
      }
      CHECK_FOR_INTERRUPTS();
      bool is_null = false;
      Datum const value = slot_getattr(scan.slot, scan.column, &is_null);
      if (is_null)
        continue;
      const std::uint32_t chain = chains.find(static_cast<std::uint64_t>(integer(value, type)));
      if (chain == core::KeyNumbers::none)
        continue;
      const ItemPointerData& tid = scan.slot->tts_tid;
      portion.rows[portion.count++] = {
          core::row_key(leaf, ItemPointerGetBlockNumber(&tid), ItemPointerGetOffsetNumber(&tid)), chain,
          core::Fate::goes};
    }
  });
}

void close_scan(const Scan& scan) {
  server([&] {
    ExecDropSingleTupleTableSlot(scan.slot);
    table_endscan(scan.descriptor);
    table_close(scan.table, NoLock);
  });
}

/// Drops chains that no victim needs: their rows must be neither locked nor counted.
void keep_used_chains(Selection& selection) {
  core::Guards used(selection.guards.width());
  std::vector<std::uint32_t> numbers(selection.guards.size(), core::KeyNumbers::none);
  std::vector<RowKey> keys(selection.guards.width());
  for (Victim& victim : selection.victims) {
    std::uint32_t& number = numbers[victim.chain];
    if (number == core::KeyNumbers::none) {
      for (std::size_t step = 0; step < keys.size(); ++step)
        keys[step] = selection.guards.key(victim.chain, step);
      number = used.chain(keys.data());
    }
    victim.chain = number;
  }
  selection.guards = std::move(used);
}

} // namespace

bool may_walk_blocks(const core::Rule& rule) {
  if (rule.path.empty() || !rule.conditions.empty() || !rule.expiry_expression.empty())
    return false;
  const core::ForeignKey& key = rule.path.front();
  if (key.child_columns.size() != 1 || key.operators.front() != "OPERATOR(pg_catalog.=)")
    return false;
  const auto child = catalog::column(key.child, key.child_columns.front());
  const auto parent = catalog::column(key.parent, key.parent_columns.front());
  if (!child || !parent || !is_integer(child->base) || !is_integer(parent->base))
    return false;
  // Row security that hides rows must be an error; only the executor raises it.
  return server([&] {
    Relation const table = table_open(rule.target.oid, AccessShareLock);
    const bool is_plain = !table->rd_rel->relrowsecurity;
    table_close(table, NoLock);
    return is_plain;
  });
}

bool planner_reads_whole_target(const core::Rule& rule, TimestampTz cutoff) {
  const auto plan = boundary::single("EXPLAIN (FORMAT JSON) " + core::victims_select(rule), {Arg::time(cutoff)});
  return plan && boundary::single("SELECT pg_catalog.jsonb_path_exists($1::pg_catalog.jsonb, "
                                  "'$.** ? (@.Alias starts with \"target\" && @.\"Node Type\" != \"Seq Scan\" && "
                                  "exists(@.\"Relation Name\"))')",
                                  {Arg::of(*plan)}) == "f";
}

void walk_blocks(const core::Rule& rule, TimestampTz cutoff, Selection& selection) {
  const core::ForeignKey& key = rule.path.front();
  core::KeyNumbers chains;
  ChainSink sink(selection, chains, catalog::require_column(key.parent, key.parent_columns.front()).base);
  boundary::stream(core::chains_select(rule), {Arg::time(cutoff)}, sink);
  if (chains.size() == 0)
    return;
  const Oid type = catalog::require_column(key.child, key.child_columns.front()).base;
  Portion portion{};
  for (const core::Relation& leaf : catalog::leaves(rule.target)) {
    const std::uint16_t number = selection.leaves.number(leaf.oid);
    const Scan scan = open_scan(leaf.oid, key.child_columns.front());
    do {
      read_portion(scan, type, number, chains, portion);
      selection.victims.insert(selection.victims.end(), portion.rows.begin(),
                               portion.rows.begin() + static_cast<std::ptrdiff_t>(portion.count));
    } while (!portion.is_last);
    close_scan(scan);
  }
  keep_used_chains(selection);
}

} // namespace pg_retention::server
