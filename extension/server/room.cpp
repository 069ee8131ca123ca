#include "extension/server/room.hpp"

namespace pg_retention::server {
namespace {

using core::Fate;

/// Whether every version on the page that was replaced or removed, or is being so, is one of `ours`. The page is
/// share-locked.
bool is_replaced_by(const Writers& ours, Page page) {
  const OffsetNumber last = PageGetMaxOffsetNumber(page);
  for (OffsetNumber offset = FirstOffsetNumber; offset <= last; ++offset) {
    ItemId const item = PageGetItemId(page, offset);
    if (!ItemIdIsNormal(item))
      continue;
    auto* const tuple = reinterpret_cast<HeapTupleHeader>(PageGetItem(page, item));
    const std::uint16_t mask = tuple->t_infomask;
    if ((mask & HEAP_XMAX_INVALID) != 0 || HEAP_XMAX_IS_LOCKED_ONLY(mask))
      continue;
    if (!ours.has(HeapTupleHeaderGetUpdateXid(tuple)))
      return false;
  }
  return true;
}

/// The same for the victims [first, last) of one leaf. Runs inside server().
void make_room_in_leaf(Oid leaf, const Victim* first, const Victim* last, const Writers& ours) {
  Relation const table = boundary::open_leaf(leaf, RowExclusiveLock);
  BlockNumber done = InvalidBlockNumber;
  for (const Victim* victim = first; victim != last; ++victim) {
    const BlockNumber block = core::block_of(victim->key);
    if (victim->fate != Fate::goes || block == done)
      continue;
    CHECK_FOR_INTERRUPTS();
    done = block;
    Buffer const buffer = ReadBuffer(table, block);
    LockBuffer(buffer, BUFFER_LOCK_SHARE);
    const bool is_ours = is_replaced_by(ours, BufferGetPage(buffer));
    LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
    if (is_ours)
      heap_page_prune_opt(table, buffer);
    ReleaseBuffer(buffer);
  }
  table_close(table, NoLock);
}

} // namespace

void make_room(const Selection& selection, const Writers& ours) {
  const std::vector<Victim>& victims = selection.victims;
  core::for_each_leaf(victims, key_of, [&](std::size_t first, std::size_t last) {
    const Oid leaf = selection.leaves.oid(core::leaf_of(victims[first].key));
    boundary::server([&] { make_room_in_leaf(leaf, &victims[first], victims.data() + last, ours); });
  });
}

} // namespace pg_retention::server
