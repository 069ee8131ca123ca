#include "extension/server/scan.hpp"

#include <algorithm>
#include <array>

namespace pg_retention::server {
namespace {

using boundary::server;
using core::RowKey;

/// Rows found by one stretch of a scan, before they are kept: memory of ours that the server cannot leave behind.
struct Found {
  std::array<Victim, 4096> rows;
  std::size_t count = 0;
  bool is_last = false;
};

ItemPointerData item_pointer(RowKey row) {
  ItemPointerData tid;
  ItemPointerSet(&tid, core::block_of(row), core::offset_of(row));
  return tid;
}

} // namespace

bool is_integer(Oid type) { return type == INT2OID || type == INT4OID || type == INT8OID; }

std::uint64_t integer_key(Datum value, Oid type) {
  const std::int64_t number = type == INT2OID   ? DatumGetInt16(value)
                              : type == INT4OID ? DatumGetInt32(value)
                                                : DatumGetInt64(value);
  return static_cast<std::uint64_t>(number);
}

KeyScan::KeyScan(Oid leaf, std::uint16_t number, const std::string& column, Oid type) : number_(number), type_(type) {
  server([&] {
    table_ = boundary::open_leaf(leaf, AccessShareLock);
    slot_ = table_slot_create(table_, nullptr);
    column_ = get_attnum(leaf, column.c_str());
    if (column_ == InvalidAttrNumber)
      ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN), errmsg("column \"%s\" of relation \"%s\" does not exist",
                                                                column.c_str(), RelationGetRelationName(table_))));
  });
}

bool KeyScan::read(RowKey first, RowKey end, const core::KeyIndex& keys, std::size_t most,
                   std::vector<Victim>& victims) {
  server([&] {
    ItemPointerData low = item_pointer(first);
    // The last place before `end`; an offset of 0 stands before the first row of its block.
    ItemPointerData high = core::offset_of(end) > 0 ? item_pointer(end - 1)
                                                    : item_pointer(core::row_key(0, core::block_of(end) - 1, 0xffff));
    if (scan_ == nullptr)
      scan_ = table_beginscan_tidrange(table_, GetActiveSnapshot(), &low, &high);
    else
      table_rescan_tidrange(scan_, &low, &high);
  });
  Found found;
  do {
    server([&] {
      found.count = 0;
      const std::size_t room = std::min(found.rows.size(), most);
      while (found.count < room) {
        if (!table_scan_getnextslot_tidrange(scan_, ForwardScanDirection, slot_)) {
          found.is_last = true;
          return;
        }
        CHECK_FOR_INTERRUPTS();
        bool is_null = false;
        Datum const value = slot_getattr(slot_, column_, &is_null);
        if (is_null)
          continue;
        const std::uint32_t chain = keys.find(integer_key(value, type_));
        if (chain == core::KeyNumbers::none)
          continue;
        const ItemPointerData& tid = slot_->tts_tid;
        found.rows[found.count++] = {
            core::row_key(number_, ItemPointerGetBlockNumber(&tid), ItemPointerGetOffsetNumber(&tid)), chain,
            core::Fate::goes};
      }
    });
    victims.insert(victims.end(), found.rows.begin(), found.rows.begin() + static_cast<std::ptrdiff_t>(found.count));
    most -= found.count;
  } while (!found.is_last && most > 0);
  return found.is_last;
}

void KeyScan::close() {
  server([&] {
    ExecDropSingleTupleTableSlot(slot_);
    if (scan_ != nullptr)
      table_endscan(scan_);
    table_close(table_, NoLock);
  });
}

BlockNumber blocks_of(Oid leaf) {
  return server([&] {
    Relation const table = try_table_open(leaf, AccessShareLock);
    if (table == nullptr)
      return BlockNumber{0};
    const BlockNumber blocks =
        table->rd_rel->relkind == RELKIND_RELATION ? RelationGetNumberOfBlocks(table) : BlockNumber{0};
    table_close(table, NoLock);
    return blocks;
  });
}

boundary::Arg place(RowKey row) {
  const Datum tid = server([&] {
    auto* copy = static_cast<ItemPointerData*>(palloc(sizeof(ItemPointerData)));
    *copy = item_pointer(row);
    return PointerGetDatum(copy);
  });
  return boundary::Arg::datum(TIDOID, tid);
}

} // namespace pg_retention::server
