#include "extension/server/strategy.hpp"

#include "extension/boundary/parse.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/parts.hpp"
#include "extension/server/settings.hpp"
#include "extension/server/walk.hpp"

#include <algorithm>
#include <exception>

namespace pg_retention::server {
namespace {

using boundary::Arg;
using core::RowKey;
using core::Version;

/// A row's version from the three columns (tableoid, ctid, xmin) that begin at `column`.
Version version_at(const Datum* values, std::size_t column, core::Leaves& leaves) {
  return {row_at(values, column, leaves), DatumGetTransactionId(values[column + 2])};
}

/// Whether the rows of a relation have versions that can be looked at.
bool has_versions_throughout(const core::Relation& relation) {
  const std::vector<core::Relation> leaves = catalog::leaves(relation);
  return std::all_of(leaves.begin(), leaves.end(), [](const core::Relation& leaf) { return has_versions(leaf.oid); });
}

/// The same for the rows on the path.
bool path_has_versions(const core::Rule& rule) {
  return std::all_of(rule.path.begin(), rule.path.end(),
                     [](const core::ForeignKey& step) { return has_versions_throughout(step.parent); });
}

/// Whether a plan of the victims' statement has more than one scan in it.
bool joins_or_nests(const core::Rule& rule, TimestampTz cutoff) {
  const auto plan = boundary::single("EXPLAIN (FORMAT JSON) " + core::victims_select(rule), {Arg::time(cutoff)});
  return !plan || boundary::single("SELECT pg_catalog.jsonb_path_exists($1::pg_catalog.jsonb, '$.** ? "
                                   "(exists(@.\"Join Type\") || exists(@.\"Subplan Name\"))')",
                                   {Arg::of(*plan)}) != "f";
}

/// Why the rows of a range of blocks cannot be judged by themselves; empty where they can.
std::string why_not_ranges(const core::Rule& rule, TimestampTz cutoff) {
  if (!rule.path.empty())
    return "the path cannot be looked up by one integer key";
  if (!rule.activities.empty())
    return "activity of other tables decides";
  if (rule.keep_latest > 0)
    return "keep_latest compares rows with each other";
  const std::vector<core::Relation> leaves = catalog::leaves(rule.target);
  if (!std::all_of(leaves.begin(), leaves.end(),
                   [](const core::Relation& leaf) { return catalog::is_open(leaf.oid, ACL_SELECT); }))
    return "the policy's owner has no right on each partition by itself";
  const bool is_one_table = leaves.size() == 1 && leaves.front().oid == rule.target.oid;
  if (!is_one_table && !means_the_same_in_parts(rule.target, core::probes_of(rule)))
    return "what the condition says of a row might be something else where its part is named";
  if (joins_or_nests(rule, cutoff))
    return "the condition looks at other tables";
  return {};
}

/// Whether a row that is still the version that was judged is still a victim, as far as its own path goes.
bool follows_from_versions(const core::Rule& rule) {
  if (rule.keep_latest > 0 || !has_versions_throughout(rule.target) || !path_has_versions(rule))
    return false;
  const std::string probe = core::conditions_probe(rule);
  return probe.empty() || boundary::follows_from_rows(probe);
}

/// Takes in the chains of expired subjects; gives up where they need more memory than they may.
class KeySink final : public boundary::Sink {
public:
  KeySink(core::Chains& chains, core::Leaves& leaves, Oid type, std::size_t memory)
      : chains_(chains), leaves_(leaves), versions_(chains.width()), type_(type), memory_(memory) {}

  void accept(const Datum* values, const bool* nulls) override {
    const std::size_t key = 3 * versions_.size();
    if (nulls[key] || !fits)
      return;
    for (std::size_t step = 0; step < versions_.size(); ++step)
      versions_[step] = version_at(values, 3 * step, leaves_);
    (void)chains_.add(integer_key(values[key], type_), versions_.data());
    fits = chains_.memory() <= memory_;
  }
  bool fits = true;

private:
  core::Chains& chains_;
  core::Leaves& leaves_;
  std::vector<Version> versions_;
  Oid type_;
  std::size_t memory_;
};

/// Takes in victims, and with versions their chains.
class ListSink final : public boundary::Sink {
public:
  ListSink(Spool& list, core::Chains* chains, core::Leaves& leaves, core::Slice slice)
      : list_(list), chains_(chains), leaves_(leaves), slice_(slice),
        versions_(chains != nullptr ? chains->width() : 0) {}

  void accept(const Datum* values, const bool*) override {
    ++seen;
    const RowKey row = row_at(values, 0, leaves_);
    if (!slice_.has(core::block_of(row)))
      return;
    if (chains_ == nullptr) {
      list_.add({row, 0, 0});
      return;
    }
    for (std::size_t step = 0; step < versions_.size(); ++step)
      versions_[step] = version_at(values, 3 * (step + 1), leaves_);
    const std::uint32_t chain = versions_.empty() ? 0 : chains_->add(versions_[0].row, versions_.data());
    list_.add({row, DatumGetTransactionId(values[2]), chain});
  }
  std::uint64_t seen = 0;

private:
  Spool& list_;
  core::Chains* chains_;
  core::Leaves& leaves_;
  core::Slice slice_;
  std::vector<Version> versions_;
};

} // namespace

const char* walk_name(Way way) { return way == Way::keys || way == Way::ranges ? "blocks" : "list"; }

bool can_take_turns(const Resolved& resolved) {
  constexpr BlockNumber fewest_pages = 1024;
  // A smaller part the planner may prefer to read whole where a batch is judged again, which would give back what
  // others have replaced too.
  constexpr BlockNumber fewest_in_part = 64;
  const core::Rule& rule = resolved.rule;
  if (rule.set_clause.empty() || !resolved.edges.empty() || !has_versions_throughout(rule.target))
    return false;
  const Parts parts(rule.target, rule.set_clause);
  std::uint64_t pages = 0;
  for (const core::Relation& leaf : catalog::leaves(rule.target)) {
    const BlockNumber blocks = blocks_of(leaf.oid);
    if ((blocks != 0 && blocks < fewest_in_part) || parts.must_name_root(leaf))
      return false;
    pages += blocks;
  }
  return pages >= fewest_pages && !catalog::sets_off_changes(rule.target);
}

Strategy choose_strategy(const Resolved& resolved, TimestampTz cutoff, Bounds bounds) {
  const core::Rule& rule = resolved.rule;
  const settings::Walk forced = settings::walk();
  // Few rows of many pages would have as many pages logged whole after a checkpoint.
  const bool takes_turns = !bounds.is_limited && can_take_turns(resolved);
  std::string reason;
  if (forced == settings::Walk::list) {
    reason = "retention.walk is list";
  } else if (forced == settings::Walk::automatic && !planner_reads_whole_target(rule, cutoff)) {
    reason = "the planner reaches the victims through indexes";
  } else {
    const std::string because =
        forced == settings::Walk::blocks ? "retention.walk is blocks" : "the planner would read the whole target";
    const bool is_update = !rule.set_clause.empty();
    if (!is_update && may_walk_blocks(rule) && rule.activities.empty() && path_has_versions(rule))
      return {Way::keys, because + "; the keys of the expired subjects are looked up in memory"};
    std::string why_not = why_not_ranges(rule, cutoff);
    if (is_update && why_not.empty() && forced == settings::Walk::automatic && takes_turns)
      why_not = "updates take turns";
    // An updated row may come to lie in a block to come; it is known there by who wrote it, if that can only be the
    // run.
    if (is_update && why_not.empty() &&
        (bounds.is_sliced || !resolved.edges.empty() || catalog::has_triggers(rule.target)))
      why_not = "updated rows could not be told from others";
    if (why_not.empty())
      return {Way::ranges, because + "; each range of blocks is judged by the policy's statement"};
    reason = because + ", but " + why_not;
  }
  if (takes_turns)
    reason += "; the rows of a page are updated in turns, in the room that others have left";
  if (follows_from_versions(rule))
    return {Way::versions, reason + "; rows chosen at the start are recognised by their versions", takes_turns};
  return {Way::judged, reason + "; each batch is judged again by the policy's whole statement", takes_turns};
}

Remembered::Remembered(Strategy& strategy, const core::Rule& rule, TimestampTz cutoff, core::Leaves& leaves,
                       core::Slice slice, std::size_t in_turns)
    : Remembered(rule, strategy.takes_turns ? in_turns : 0) {
  try {
    fill(strategy, rule, cutoff, leaves, slice);
  } catch (const std::exception&) {
    list_.drop();
    throw;
  }
}

Remembered::Remembered(const core::Rule& rule, std::size_t in_turns)
    : chains_(rule.path.size()), list_(settings::work_mem() / 2, in_turns) {}

void Remembered::add(RowKey row) {
  list_.add({row, 0, 0});
  list_.settle();
  ++chosen_;
}

void Remembered::fill(Strategy& strategy, const core::Rule& rule, TimestampTz cutoff, core::Leaves& leaves,
                      core::Slice slice) {
  const std::size_t memory = settings::work_mem();
  bool fits = true;
  if (strategy.way == Way::keys)
    fits = read_keys(rule, cutoff, leaves, memory);
  else if (strategy.way == Way::versions)
    fits = read_list(rule, cutoff, leaves, slice, true, memory / 2);
  if (!fits) {
    strategy.way = Way::judged;
    strategy.reason += ", but they need more memory than retention.work_mem allows: each batch is judged again by the "
                       "policy's whole statement";
    chains_ = core::Chains(rule.path.size());
    list_.drop();
    chosen_ = 0;
  }
  if (strategy.way == Way::judged)
    (void)read_list(rule, cutoff, leaves, slice, false, memory / 2);
  list_.close();
  if (strategy.way == Way::judged)
    return;
  chains_.seal();
  if (chains_.width() != 0)
    watch_ = std::make_unique<Watch>(chains_, leaves);
  if (strategy.way == Way::versions) {
    source_ = std::make_unique<ListSource>(list_, leaves);
  } else {
    source_ =
        std::make_unique<BlockSource>(rule, cutoff, leaves, slice, strategy.way == Way::keys ? &chains_ : nullptr);
  }
}

bool Remembered::read_keys(const core::Rule& rule, TimestampTz cutoff, core::Leaves& leaves, std::size_t memory) {
  const core::ForeignKey& key = rule.path.front();
  KeySink sink(chains_, leaves, catalog::require_column(key.parent, key.parent_columns.front()).base, memory);
  boundary::stream(core::chains_select(rule, true), {Arg::time(cutoff)}, sink);
  return sink.fits;
}

bool Remembered::read_list(const core::Rule& rule, TimestampTz cutoff, core::Leaves& leaves, core::Slice slice,
                           bool with_versions, std::size_t memory) {
  ListSink sink(list_, with_versions ? &chains_ : nullptr, leaves, slice);
  const std::string sql = with_versions ? core::victim_versions_select(rule) : core::victims_select(rule);
  const bool fits = boundary::stream_in_parts(sql, {Arg::time(cutoff)}, sink, [&] {
    list_.settle();
    return chains_.memory() <= memory;
  });
  chosen_ = sink.seen;
  return fits;
}

} // namespace pg_retention::server
