#include "extension/server/versions.hpp"

#include "extension/server/verify.hpp"

#include <algorithm>

namespace pg_retention::server {
namespace {

using boundary::server;
using core::Fate;
using core::RowKey;

/// What the header of a tuple says of who is changing or holding its row.
Fate fate_by_header(HeapTupleHeader tuple) {
  const std::uint16_t mask = tuple->t_infomask;
  if ((mask & HEAP_XMAX_INVALID) != 0)
    return Fate::goes;
  const TransactionId xmax = HeapTupleHeaderGetRawXmax(tuple);
  if (HEAP_XMAX_IS_LOCKED_ONLY(mask)) {
    // Readers' locks conflict with no promise of ours; one FOR UPDATE does, while its holder lives.
    const bool is_shared = (mask & HEAP_XMAX_EXCL_LOCK) == 0 || HEAP_XMAX_IS_SHR_LOCKED(mask);
    if (is_shared || HEAP_LOCKED_UPGRADED(mask))
      return Fate::goes;
    const bool is_held = (mask & HEAP_XMAX_IS_MULTI) != 0
                             ? MultiXactIdIsRunning(xmax, true)
                             : !TransactionIdIsCurrentTransactionId(xmax) && TransactionIdIsInProgress(xmax);
    return is_held ? Fate::locked : Fate::goes;
  }
  if ((mask & HEAP_XMAX_COMMITTED) != 0)
    return Fate::changed;
  const TransactionId changer = HeapTupleHeaderGetUpdateXid(tuple);
  if (TransactionIdIsCurrentTransactionId(changer))
    return Fate::changed;
  if (TransactionIdIsInProgress(changer))
    return Fate::locked;
  return TransactionIdDidCommit(changer) ? Fate::changed : Fate::goes;
}

/// What became of the version at `row` of a page that is share-locked; `xmin` 0 stands for any. Of one that was
/// updated, `row` then has the place of the next version.
Fate fate_on(Page page, RowKey& row, TransactionId xmin) {
  const OffsetNumber offset = core::offset_of(row);
  if (offset > PageGetMaxOffsetNumber(page))
    return Fate::gone;
  ItemId const item = PageGetItemId(page, offset);
  if (ItemIdIsRedirected(item)) {
    // The first version of a row that was updated on its page, pruned away since.
    row = core::row_key(core::leaf_of(row), core::block_of(row), ItemIdGetRedirect(item));
    return Fate::changed;
  }
  if (!ItemIdIsNormal(item))
    return Fate::gone;
  auto* const tuple = reinterpret_cast<HeapTupleHeader>(PageGetItem(page, item));
  if (TransactionIdIsValid(xmin) && HeapTupleHeaderGetRawXmin(tuple) != xmin)
    return Fate::gone;
  const Fate fate = fate_by_header(tuple);
  if (fate == Fate::changed) {
    const ItemPointerData& next = tuple->t_ctid;
    if (ItemPointerGetBlockNumberNoCheck(&next) == core::block_of(row) &&
        ItemPointerGetOffsetNumberNoCheck(&next) == offset)
      return Fate::gone;
    row = next_version(row, next);
  }
  return fate;
}

/// A page of a table that has so many `blocks`, pinned and share-locked while it is looked at; InvalidBuffer where the
/// table has become shorter.
Buffer open_page(Relation table, BlockNumber blocks, BlockNumber block) {
  if (block >= blocks)
    return InvalidBuffer;
  Buffer const buffer = ReadBuffer(table, block);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  return buffer;
}

/// Looks at the rows [first, last) of one leaf. Runs inside server().
void look_in_leaf(Oid leaf, RowKey* first, RowKey* last, const std::uint32_t* xmins, Fate* fates) {
  Relation const table = try_table_open(leaf, AccessShareLock);
  if (table == nullptr) {
    std::fill(fates, fates + (last - first), Fate::gone);
    return;
  }
  // It cannot become shorter while it is open.
  const BlockNumber blocks = RelationGetNumberOfBlocks(table);
  Buffer buffer = InvalidBuffer;
  BlockNumber open = InvalidBlockNumber;
  for (RowKey* row = first; row != last; ++row) {
    if (core::block_of(*row) != open) {
      if (BufferIsValid(buffer))
        UnlockReleaseBuffer(buffer);
      CHECK_FOR_INTERRUPTS();
      open = core::block_of(*row);
      buffer = open_page(table, blocks, open);
    }
    const std::size_t at = row - first;
    fates[at] = BufferIsValid(buffer)
                    ? fate_on(BufferGetPage(buffer), *row, xmins != nullptr ? xmins[at] : InvalidTransactionId)
                    : Fate::gone;
  }
  if (BufferIsValid(buffer))
    UnlockReleaseBuffer(buffer);
  table_close(table, NoLock);
}

/// No row of a page is trusted any more.
void distrust(core::Step& step, std::uint32_t number) {
  std::fill(step.is_as_judged.begin() + step.pages[number].first, step.is_as_judged.begin() + step.end_of(number),
            std::uint8_t{0});
}

/// Looks at one watched page, where its stamp is another than last time. True where no row on it lost its trust.
/// Runs inside server().
bool look_at_page(Relation table, BlockNumber blocks, core::Step& step, std::uint32_t number) {
  core::WatchedPage& page = step.pages[number];
  const std::uint32_t end = step.end_of(number);
  Buffer const buffer = open_page(table, blocks, core::block_of(page.key));
  if (!BufferIsValid(buffer)) {
    distrust(step, number);
    return false;
  }
  // Every logged change leaves its log position on the page. A page without one, or of a table that is not logged, is
  // read each time.
  const XLogRecPtr stamp = RelationNeedsWAL(table) ? BufferGetLSNAtomic(buffer) : InvalidXLogRecPtr;
  bool holds = true;
  if (stamp != page.stamp || XLogRecPtrIsInvalid(stamp))
    for (std::uint32_t row = page.first; row < end; ++row) {
      RowKey place = step.rows[row];
      if (step.is_as_judged[row] == 0 || fate_on(BufferGetPage(buffer), place, step.xmins[row]) == Fate::goes)
        continue;
      step.is_as_judged[row] = 0;
      holds = false;
    }
  page.stamp = stamp;
  UnlockReleaseBuffer(buffer);
  return holds;
}

} // namespace

bool has_versions(Oid oid) {
  return server([&] {
    Relation const table = table_open(oid, AccessShareLock);
    const bool is_heap = table->rd_rel->relam == HEAP_TABLE_AM_OID;
    table_close(table, NoLock);
    return is_heap;
  });
}

bool have_versions(const std::vector<RowKey>& rows, const core::Leaves& leaves) {
  std::vector<bool> is_tested(leaves.size());
  return std::all_of(rows.begin(), rows.end(), [&](RowKey row) {
    const std::uint16_t leaf = core::leaf_of(row);
    if (is_tested[leaf])
      return true;
    is_tested[leaf] = true;
    return has_versions(leaves.oid(leaf));
  });
}

std::vector<Fate> look_at_rows(std::vector<RowKey>& rows, const std::vector<std::uint32_t>* xmins,
                               const core::Leaves& leaves) {
  std::vector<Fate> fates(rows.size(), Fate::goes);
  core::for_each_leaf(rows, core::itself, [&](std::size_t first, std::size_t last) {
    const Oid leaf = leaves.oid(core::leaf_of(rows[first]));
    const std::uint32_t* writers = xmins != nullptr ? xmins->data() + first : nullptr;
    server([&] { look_in_leaf(leaf, &rows[first], rows.data() + last, writers, &fates[first]); });
  });
  return fates;
}

void follow_versions(std::vector<RowKey>& rows, const core::Leaves& leaves) {
  constexpr int longest = 64; // updates of one row since it was last looked at
  if (!have_versions(rows, leaves))
    return;
  push_latest_snapshot();
  for (int hop = 0; hop < longest; ++hop) {
    const std::vector<RowKey> before = rows;
    (void)look_at_rows(rows, nullptr, leaves);
    if (rows == before)
      break;
  }
  pop_snapshot();
}

void look_at_victims(Selection& selection) {
  std::vector<RowKey> rows;
  for (const Victim& victim : selection.victims)
    if (victim.fate == Fate::goes)
      rows.push_back(victim.key);
  const std::vector<Fate> fates = look_at_rows(rows, nullptr, selection.leaves);
  std::size_t at = 0;
  for (Victim& victim : selection.victims)
    if (victim.fate == Fate::goes) {
      victim.key = rows[at];
      victim.fate = fates[at++];
    }
}

Oid file_of(Oid leaf) {
  return server([&] {
    Relation const table = try_table_open(leaf, AccessShareLock);
    if (table == nullptr)
      return InvalidOid;
    const Oid file = table->rd_rel->relfilenode;
    table_close(table, NoLock);
    return file;
  });
}

Watch::Watch(core::Chains& chains, const core::Leaves& leaves)
    : chains_(chains), leaves_(leaves), relied_(chains.size()), files_(leaves.size()) {
  for (std::size_t leaf = 0; leaf < leaves.size(); ++leaf)
    files_[leaf] = file_of(leaves.oid(static_cast<std::uint16_t>(leaf)));
}

void Watch::begin_batch(bool leaves_them_alone) {
  looked_ = 0;
  is_known_ = leaves_them_alone && is_undisturbed();
  if (leaves_them_alone)
    alone_.begin();
  if (is_whole_)
    return;
  ++epoch_;
  std::size_t all = 0;
  for (std::uint32_t number = 0; number < chains_.width(); ++number)
    all += chains_.step(number).pages.size();
  is_whole_ = pages_.size() * 2 > all;
  pages_.clear();
  for (std::uint32_t number = 0; is_whole_ && number < chains_.width(); ++number)
    for (std::uint32_t page = 0; page < chains_.step(number).pages.size(); ++page)
      pages_.push_back({number, page});
}

void Watch::note_pages(std::uint32_t chain) {
  for (std::uint32_t number = 0; number < chains_.width(); ++number) {
    core::Step& step = chains_.step(number);
    const std::uint32_t page = step.page_of[chains_.row_of(chain, number)];
    if (step.pages[page].epoch == epoch_)
      continue;
    step.pages[page].epoch = epoch_;
    pages_.push_back({number, page});
  }
}

bool Watch::look(std::size_t first) {
  const bool is_of_all = is_whole_ && first == 0;
  const auto in_order = [&](const PageOf& a, const PageOf& b) {
    return a.step != b.step ? a.step < b.step : a.page < b.page;
  };
  if (!is_whole_)
    std::sort(pages_.begin() + static_cast<std::ptrdiff_t>(first), pages_.end(), in_order);
  bool holds = true;
  while (first < pages_.size()) {
    const std::uint32_t number = pages_[first].step;
    core::Step& step = chains_.step(number);
    const std::uint16_t leaf = core::leaf_of(step.pages[pages_[first].page].key);
    holds &= server([&] {
      Relation const table = try_table_open(leaves_.oid(leaf), AccessShareLock);
      // A table that was rewritten has its rows elsewhere: nothing known of it means anything.
      const bool is_same = table != nullptr && table->rd_rel->relfilenode == files_[leaf];
      const BlockNumber blocks = is_same ? RelationGetNumberOfBlocks(table) : 0;
      bool all_hold = is_same;
      for (; first < pages_.size() && pages_[first].step == number &&
             core::leaf_of(step.pages[pages_[first].page].key) == leaf;
           ++first) {
        CHECK_FOR_INTERRUPTS();
        if (is_same)
          all_hold &= look_at_page(table, blocks, step, pages_[first].page);
        else
          distrust(step, pages_[first].page);
      }
      if (table != nullptr)
        table_close(table, NoLock);
      return all_hold;
    });
  }
  is_known_ = is_of_all && alone_.still();
  return holds;
}

bool Watch::look_at_new() {
  if (looked_ < pages_.size() && !is_undisturbed())
    has_lost_ |= !look(looked_);
  looked_ = pages_.size();
  return !has_lost_;
}

bool Watch::holds() {
  if (is_undisturbed())
    return true;
  const bool holds = look(0);
  has_lost_ |= !holds;
  return holds;
}

} // namespace pg_retention::server
