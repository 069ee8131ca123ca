#include "extension/server/arrivals.hpp"

#include "extension/server/catalog.hpp"
#include "extension/server/settings.hpp"
#include "extension/server/versions.hpp"

#include <algorithm>

namespace pg_retention::server {
namespace {

using boundary::server;
using core::RowKey;

/// Blocks of the table that one page of its visibility map tells of: two bits each.
constexpr BlockNumber blocks_a_map_page = (BLCKSZ - MAXALIGN(SizeOfPageHeaderData)) * 4;
/// So many bits of the map are looked at in the time that one page takes.
constexpr std::size_t bits_a_page = 32;
/// Pages whose stamps are remembered at most, by table; and so often may it turn out that this does not do.
constexpr std::size_t most_pages = 65536;
constexpr int most_failures = 3;

/// What a page of the map says of the blocks from `first` on, and its stamp; 0 where there is no such page.
struct MapPage {
  char is_still[blocks_a_map_page];
  XLogRecPtr stamp;
};

/// Runs inside server().
void read_map_page(Relation table, BlockNumber first, BlockNumber end, MapPage& page) {
  Buffer map = InvalidBuffer;
  page.stamp = InvalidXLogRecPtr;
  (void)visibilitymap_get_status(table, first, &map);
  if (!BufferIsValid(map)) {
    std::fill(page.is_still, page.is_still + (end - first), 0);
    return;
  }
  LockBuffer(map, BUFFER_LOCK_SHARE);
  for (BlockNumber block = first; block < end; ++block)
    page.is_still[block - first] = (visibilitymap_get_status(table, block, &map) & VISIBILITYMAP_ALL_VISIBLE) != 0;
  page.stamp = BufferGetLSNAtomic(map);
  UnlockReleaseBuffer(map);
}

/// What was found on one page of the table.
struct PageRead {
  XLogRecPtr stamp;
  bool is_same;  ///< its stamp is the one known: the rest was not looked at
  bool is_still; ///< by the map
  int count;
  OffsetNumber offsets[MaxHeapTuplesPerPage];
};

/// Reads a page for rows of transactions from `since` on. Runs inside server().
void read_page(Relation table, BlockNumber block, XLogRecPtr known, TransactionId since, PageRead& read) {
  Buffer const buffer = ReadBuffer(table, block);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  Page const page = BufferGetPage(buffer);
  read.stamp = BufferGetLSNAtomic(buffer);
  read.is_same = read.stamp == known && !XLogRecPtrIsInvalid(known);
  read.count = 0;
  const OffsetNumber last = read.is_same ? 0 : PageGetMaxOffsetNumber(page);
  for (OffsetNumber offset = FirstOffsetNumber; offset <= last; ++offset) {
    ItemId const item = PageGetItemId(page, offset);
    if (!ItemIdIsNormal(item))
      continue;
    const TransactionId writer = HeapTupleHeaderGetRawXmin(reinterpret_cast<HeapTupleHeader>(PageGetItem(page, item)));
    if (TransactionIdIsNormal(writer) && TransactionIdFollowsOrEquals(writer, since))
      read.offsets[read.count++] = offset;
  }
  Buffer map = InvalidBuffer;
  // The bit is cleared and set by holders of the page's exclusive lock.
  read.is_still = (visibilitymap_get_status(table, block, &map) & VISIBILITYMAP_ALL_VISIBLE) != 0;
  if (BufferIsValid(map))
    ReleaseBuffer(map);
  UnlockReleaseBuffer(buffer);
}

bool is_logged(Oid oid) {
  return server([&] {
    Relation const table = table_open(oid, AccessShareLock);
    const bool is_logged = RelationNeedsWAL(table);
    table_close(table, NoLock);
    return is_logged;
  });
}

} // namespace

Arrivals::Arrivals(const core::Relation& table, core::Leaves& leaves)
    : table_(table), generation_(boundary::schema_generation()),
      since_(server([] { return GetActiveSnapshot()->xmin; })), shape_(catalog::shape(table.oid)),
      is_known_(!boundary::may_outrun_snapshots()) {
  for (const core::Relation& leaf : catalog::leaves(table)) {
    is_known_ = is_known_ && has_versions(leaf.oid) && is_logged(leaf.oid);
    tables_.push_back({leaf.oid, file_of(leaf.oid), leaves.number(leaf.oid), {}, {}, {}});
  }
  for (std::size_t i = 0; is_known_ && i < tables_.size(); ++i) {
    Relation const open = server([&] { return table_open(tables_[i].oid, AccessShareLock); });
    // What everybody sees by the map was written before any transaction that this snapshot does not see.
    read_map(tables_[i], open, true);
    server([&] { table_close(open, NoLock); });
  }
}

bool Arrivals::is_about(const core::Relation& table) const {
  const std::vector<core::Relation> leaves = catalog::leaves(table);
  return leaves.size() == tables_.size() &&
         std::equal(leaves.begin(), leaves.end(), tables_.begin(),
                    [](const core::Relation& a, const Leaf& b) { return a.oid == b.oid; }) &&
         catalog::shape(table.oid) == shape_;
}

/// Notices what others have done to the schema by now: a partition that has come in the middle of a batch may have rows
/// whose writer is done with its locks on what they refer to.
void Arrivals::follow_schema() {
  server([] { AcceptInvalidationMessages(); });
  const std::uint64_t generation = boundary::schema_generation();
  if (!is_known_ || generation == generation_)
    return;
  is_known_ = is_about(table_);
  generation_ = generation;
}

/// Bytes in use for what grows with what comes.
std::size_t Arrivals::memory() const {
  constexpr std::size_t row = 64, stamp = 48; // with what the containers and the allocator add
  std::size_t bytes = rows_.size() * row;
  for (const Leaf& leaf : tables_)
    bytes += leaf.stamps.size() * stamp;
  return bytes;
}

/// Takes over what the map says. A block was still, and is, while its bit is set on a page of the map that has not been
/// stamped since.
void Arrivals::read_map(Leaf& leaf, Relation table, bool is_first) {
  const BlockNumber blocks = server([&] { return RelationGetNumberOfBlocks(table); });
  leaf.is_still.resize(blocks, is_first);
  leaf.map_stamps.resize((blocks + blocks_a_map_page - 1) / blocks_a_map_page);
  MapPage page;
  for (std::size_t number = 0; number < leaf.map_stamps.size(); ++number) {
    const auto first = static_cast<BlockNumber>(number * blocks_a_map_page);
    const BlockNumber end = std::min(first + blocks_a_map_page, blocks);
    server([&] { read_map_page(table, first, end, page); });
    const bool is_same = is_first || page.stamp == leaf.map_stamps[number];
    for (BlockNumber block = first; block < end; ++block)
      leaf.is_still[block] = is_same && leaf.is_still[block] && page.is_still[block - first] != 0;
    leaf.map_stamps[number] = page.stamp;
  }
}

/// Reads the pages that are not still. They are again where the map says so now, under the stamp that was taken before.
bool Arrivals::read_pages(Leaf& leaf, Relation table, std::size_t& most) {
  PageRead read;
  const std::size_t memory_bound = settings::work_mem() / 8;
  for (BlockNumber block = 0; block < leaf.is_still.size(); ++block) {
    if (leaf.is_still[block])
      continue;
    if (most == 0)
      return false;
    --most;
    std::uint64_t& known = leaf.stamps[block];
    server([&] {
      CHECK_FOR_INTERRUPTS();
      read_page(table, block, known, since_, read);
    });
    if (!read.is_same) {
      rows_.erase(rows_.lower_bound(core::row_key(leaf.number, block, 0)),
                  rows_.upper_bound(core::row_key(leaf.number, block, UINT16_MAX)));
      for (int i = 0; i < read.count; ++i)
        rows_.insert(core::row_key(leaf.number, block, read.offsets[i]));
      known = read.stamp;
    }
    leaf.is_still[block] = read.is_still;
    if (!read.is_same && memory() > memory_bound) {
      is_known_ = false;
      rows_.clear();
      leaf.stamps.clear();
      return false;
    }
  }
  return true;
}

bool Arrivals::look_at(Leaf& leaf, std::size_t& most) {
  if (leaf.is_still.size() / bits_a_page > most)
    return false;
  most -= leaf.is_still.size() / bits_a_page;
  Relation const table = server([&] { return try_table_open(leaf.oid, AccessShareLock); });
  if (table == nullptr)
    return false;
  bool is_told = table->rd_rel->relfilenode == leaf.file;
  if (is_told) {
    read_map(leaf, table, false);
    is_told = read_pages(leaf, table, most);
  }
  server([&] { table_close(table, NoLock); });
  return is_told;
}

bool Arrivals::look(std::size_t most) {
  follow_schema();
  if (!is_known_)
    return false;
  // Counted before, for what raises an error.
  is_known_ = ++failures_ < most_failures;
  most = std::min(most, most_pages);
  const bool is_told = std::all_of(tables_.begin(), tables_.end(), [&](Leaf& leaf) { return look_at(leaf, most); });
  if (is_told) {
    --failures_;
    is_known_ = true;
  }
  return is_told;
}

std::optional<std::vector<RowKey>> arrived(std::vector<Arrivals>& tables, std::size_t most, std::size_t most_rows) {
  std::vector<RowKey> rows;
  bool is_told = true;
  // A page that cannot be read is no fault of the rows that are asked for.
  const auto caught = boundary::attempt([&] {
    for (Arrivals& table : tables) {
      is_told = is_told && table.look(most) && rows.size() + table.rows().size() <= most_rows;
      if (is_told)
        rows.insert(rows.end(), table.rows().begin(), table.rows().end());
    }
  });
  return is_told && !caught ? std::optional(std::move(rows)) : std::nullopt;
}

} // namespace pg_retention::server
