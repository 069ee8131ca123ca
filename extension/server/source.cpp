#include "extension/server/source.hpp"

#include "extension/server/catalog.hpp"
#include "extension/server/versions.hpp"

#include <algorithm>

namespace pg_retention::server {
namespace {

using boundary::Arg;
using core::RowKey;

constexpr RowKey in_leaf = 0xffffffffffff; // block and offset
/// A statement has a price of its own, so it judges more blocks at a time than a look-up in memory.
constexpr BlockNumber most_blocks_by_keys = 64, most_blocks_by_statement = 1024;

class PlaceSink final : public boundary::Sink {
public:
  PlaceSink(core::Leaves& leaves, std::vector<Victim>& victims, const std::unordered_set<TransactionId>& written)
      : leaves_(leaves), victims_(victims), written_(written) {}
  void accept(const Datum* values, const bool*) override {
    if (written_.count(DatumGetTransactionId(values[2])) == 0)
      victims_.push_back({row_at(values, 0, leaves_), 0, core::Fate::goes});
  }

private:
  core::Leaves& leaves_;
  std::vector<Victim>& victims_;
  const std::unordered_set<TransactionId>& written_;
};

} // namespace

BlockSource::BlockSource(const core::Rule& rule, TimestampTz cutoff, core::Leaves& leaves, core::Slice slice,
                         const core::Chains* chains)
    : rule_(rule), cutoff_(cutoff), leaves_(leaves), slice_(slice), chains_(chains),
      stride_(chains != nullptr ? most_blocks_by_keys : most_blocks_by_keys * 2) {
  if (chains != nullptr) {
    column_ = rule.path.front().child_columns.front();
    type_ = catalog::require_column(rule.path.front().child, column_).base;
  }
  rule_.is_leaf = true;
  // Without an expired subject there is nothing to find.
  if (chains != nullptr && chains->size() == 0)
    return;
  for (const core::Relation& leaf : catalog::leaves(rule.target)) {
    const BlockNumber blocks = blocks_of(leaf.oid);
    if (blocks != 0)
      ranges_.push_back({leaf, leaves.number(leaf.oid), blocks});
    blocks_ += blocks;
  }
  skip_to_slice();
}

/// Goes on to the next block of the slice, or to the next leaf.
void BlockSource::skip_to_slice() {
  while (leaf_ < ranges_.size()) {
    const BlockNumber block = core::block_of(at_), next = slice_.next(block);
    if (next != block)
      at_ = core::row_key(0, next, 0);
    if (next < ranges_[leaf_].blocks)
      return;
    ++leaf_;
    at_ = 0;
  }
}

void BlockSource::read(std::size_t most, std::vector<Victim>& victims) {
  if (at_end())
    return;
  const Range& range = ranges_[leaf_];
  RowKey end = end_of_read();
  if (hops_over_spot(end))
    return;
  const std::size_t before = victims.size();
  const bool is_done =
      chains_ != nullptr ? read_keys(range, end, most, victims) : read_statement(range, end, most, victims);
  at_ = is_done ? end : (victims.back().key & in_leaf) + 1;
  if (rows_ != 0) {
    rows_ = rows_ < MaxHeapTuplesPerPage ? rows_ * 2 : 0;
    return skip_to_slice();
  }
  // As many blocks the next time as give about what is asked for.
  const std::size_t found = victims.size() - before;
  const BlockNumber widest = chains_ != nullptr ? most_blocks_by_keys : most_blocks_by_statement;
  if (!is_done)
    stride_ = std::max<BlockNumber>(stride_ / 2, 1);
  else if (found < most / 2)
    stride_ = std::min(stride_ * 2, widest);
  skip_to_slice();
}

/// Up to where the next read goes, at most.
RowKey BlockSource::end_of_read() const {
  const BlockNumber block = core::block_of(at_);
  const std::uint32_t offset = core::offset_of(at_) + rows_;
  if (rows_ != 0 && offset <= MaxHeapTuplesPerPage)
    return core::row_key(0, block, static_cast<std::uint16_t>(offset));
  return core::row_key(0, std::min({block + stride_, slice_.end(block), ranges_[leaf_].blocks}), 0);
}

/// Goes over a place that must not be read, where it stands before one; else ends the read before the next.
bool BlockSource::hops_over_spot(RowKey& end) {
  const RowKey leaf = core::row_key(ranges_[leaf_].number, 0, 0);
  const RowKey here = core::offset_of(at_) == 0 ? at_ : core::row_key(0, core::block_of(at_), 0);
  if (spots_.count(leaf | here) != 0 || spots_.count(leaf | at_) != 0) {
    at_ = spots_.count(leaf | here) != 0 ? core::row_key(0, core::block_of(at_) + 1, 0) : at_ + 1;
    skip_to_slice();
    return true;
  }
  const auto next = spots_.upper_bound(leaf | at_);
  if (next != spots_.end() && core::leaf_of(*next) == ranges_[leaf_].number)
    end = std::min(end, *next & in_leaf);
  return false;
}

bool BlockSource::narrow() {
  // A block is halved by places; the first, which no row has, fails where the block itself cannot be read.
  constexpr std::uint32_t first_part = 256;
  if (rows_ == 1)
    return false;
  if (stride_ > 1)
    stride_ /= 2;
  else
    rows_ = rows_ == 0 ? first_part : rows_ / 2;
  return true;
}

RowKey BlockSource::spot() { return core::row_key(ranges_[leaf_].number, 0, 0) | at_; }

void BlockSource::skip() {
  spots_.insert(spot());
  RowKey end = 0;
  (void)hops_over_spot(end);
}

bool ListSource::narrow() {
  constexpr std::size_t first_part = 1024;
  if (most_ == 1)
    return false;
  most_ = std::min(most_ / 2, first_part);
  return true;
}

bool BlockSource::read_keys(const Range& range, RowKey end, std::size_t most, std::vector<Victim>& victims) {
  KeyScan scan(range.leaf.oid, range.number, column_, type_);
  const bool is_done = scan.read(at_, end, chains_->keys(), most, victims);
  scan.close();
  return is_done;
}

bool BlockSource::read_statement(const Range& range, RowKey end, std::size_t most, std::vector<Victim>& victims) {
  rule_.target = range.leaf;
  const std::size_t before = victims.size();
  PlaceSink sink(leaves_, victims, written_);
  boundary::stream(core::victims_between_select(rule_), {Arg::time(cutoff_), place(at_), place(end)}, sink);
  if (victims.size() - before <= most)
    return true;
  const auto first = victims.begin() + static_cast<std::ptrdiff_t>(before);
  std::sort(first, victims.end(), [](const Victim& a, const Victim& b) { return a.key < b.key; });
  victims.resize(before + most);
  return false;
}

void BlockSource::go_back(std::uint64_t position) {
  leaf_ = position >> 48;
  at_ = position & in_leaf;
}

void BlockSource::keep_leaves(const std::vector<core::Relation>& leaves) {
  for (Range& range : ranges_) {
    const auto present = std::find_if(leaves.begin(), leaves.end(),
                                      [&](const core::Relation& leaf) { return leaf.oid == range.leaf.oid; });
    if (present != leaves.end())
      range.leaf = *present;
    else
      range.blocks = 0;
  }
  skip_to_slice();
}

double BlockSource::share() const {
  std::uint64_t behind = core::block_of(at_);
  for (std::size_t i = 0; i < leaf_; ++i)
    behind += ranges_[i].blocks;
  return blocks_ == 0 ? 1 : static_cast<double>(behind) / static_cast<double>(blocks_);
}

void ListSource::keep_leaves(const std::vector<core::Relation>& leaves) {
  for (std::size_t leaf = 0; leaf < files_.size(); ++leaf) {
    const Oid oid = leaves_.oid(static_cast<std::uint16_t>(leaf));
    if (std::none_of(leaves.begin(), leaves.end(), [&](const core::Relation& r) { return r.oid == oid; }))
      files_[leaf] = InvalidOid;
  }
}

ListSource::ListSource(Spool& spool, const core::Leaves& leaves) : spool_(spool), leaves_(leaves) {
  for (std::size_t leaf = 0; leaf < leaves.size(); ++leaf)
    files_.push_back(file_of(leaves.oid(static_cast<std::uint16_t>(leaf))));
}

void ListSource::read(std::size_t most, std::vector<Victim>& victims) {
  constexpr std::size_t most_at_once = 4096; // between two looks at the clock
  const std::vector<Candidate> candidates = spool_.read(next_, std::min({most, most_, most_at_once}));
  std::vector<RowKey> rows;
  std::vector<std::uint32_t> xmins;
  for (const Candidate& candidate : candidates) {
    rows.push_back(candidate.row);
    xmins.push_back(candidate.xmin);
  }
  const std::vector<core::Fate> fates = look_at_rows(rows, &xmins, leaves_);
  std::size_t leaf = files_.size();
  bool is_same = false;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (core::leaf_of(candidates[i].row) != leaf) {
      leaf = core::leaf_of(candidates[i].row);
      is_same = OidIsValid(files_[leaf]) && file_of(leaves_.oid(static_cast<std::uint16_t>(leaf))) == files_[leaf];
    }
    // The places of a table that was rewritten meanwhile mean nothing; its rows are the next run's.
    victims.push_back({rows[i], candidates[i].chain, is_same ? fates[i] : core::Fate::gone});
  }
  next_ += candidates.size();
  most_ = most_ > SIZE_MAX / 2 ? SIZE_MAX : most_ * 2;
}

double ListSource::share() const {
  return spool_.size() == 0 ? 1 : static_cast<double>(next_) / static_cast<double>(spool_.size());
}

} // namespace pg_retention::server
