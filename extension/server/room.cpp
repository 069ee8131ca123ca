#include "extension/server/room.hpp"

#include "extension/boundary/guard.hpp"

namespace pg_retention::server {

void make_room(Oid leaf, const std::vector<core::RowKey>& rows) {
  boundary::server([&] {
    Relation const table = boundary::open_leaf(leaf, RowExclusiveLock);
    const bool is_heap = table->rd_rel->relam == HEAP_TABLE_AM_OID;
    BlockNumber last = InvalidBlockNumber;
    for (std::size_t at = 0; is_heap && at < rows.size(); ++at) {
      if (core::block_of(rows[at]) == last)
        continue;
      CHECK_FOR_INTERRUPTS();
      last = core::block_of(rows[at]);
      Buffer const buffer = ReadBuffer(table, last);
      heap_page_prune_opt(table, buffer);
      ReleaseBuffer(buffer);
    }
    table_close(table, NoLock);
  });
}

} // namespace pg_retention::server
