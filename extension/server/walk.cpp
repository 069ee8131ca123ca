#include "extension/server/walk.hpp"

#include "extension/server/catalog.hpp"
#include "extension/server/scan.hpp"

#include <limits>

namespace pg_retention::server {
namespace {

using boundary::Arg;
using boundary::server;
using core::RowKey;

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
    chains_.find_or_add(integer_key(values[key], key_type_), chain);
  }

private:
  Selection& selection_;
  core::KeyNumbers& chains_;
  std::vector<RowKey> keys_;
  Oid key_type_;
};

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
  const core::KeyIndex keys(std::move(chains));
  const Oid type = catalog::require_column(key.child, key.child_columns.front()).base;
  for (const core::Relation& leaf : catalog::leaves(rule.target)) {
    const std::uint16_t number = selection.leaves.number(leaf.oid);
    const BlockNumber blocks = blocks_of(leaf.oid);
    if (blocks == 0)
      continue;
    KeyScan scan(leaf.oid, number, key.child_columns.front(), type);
    (void)scan.read(core::row_key(number, 0, 0), core::row_key(number, blocks, 0), keys,
                    std::numeric_limits<std::size_t>::max(), selection.victims);
    scan.close();
  }
  keep_used_chains(selection);
}

} // namespace pg_retention::server
