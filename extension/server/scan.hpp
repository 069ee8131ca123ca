#pragma once
#include "extension/server/select.hpp"

#include <string>

/// Reading a leaf of the target in physical order, for the rows whose key is in a set in memory.
namespace pg_retention::server {

/// Whether values of a type fit the set: integers of any width.
[[nodiscard]] bool is_integer(Oid type);

/// An integer of any width, as a key of the set.
[[nodiscard]] std::uint64_t integer_key(Datum value, Oid type);

/// A scan of one leaf under the active snapshot, range by range; open until it is closed or the transaction ends.
class KeyScan {
public:
  /// `number` is the leaf's among the run's leaves, `column` the one with the key, of type `type`.
  KeyScan(Oid leaf, std::uint16_t number, const std::string& column, Oid type);

  /// Appends the rows of [first, end) whose key is in `keys`, up to `most`, with its number as their chain. Returns
  /// true where the range is read to its end.
  bool read(core::RowKey first, core::RowKey end, const core::KeyIndex& keys, std::size_t most,
            std::vector<Victim>& victims);

  void close();

private:
  Relation table_;
  TableScanDesc scan_ = nullptr;
  TupleTableSlot* slot_;
  AttrNumber column_;
  std::uint16_t number_;
  Oid type_;
};

/// How many blocks a leaf has now; 0 where there is no such table.
[[nodiscard]] BlockNumber blocks_of(Oid leaf);

/// A place as a parameter of type tid.
[[nodiscard]] boundary::Arg place(core::RowKey row);

} // namespace pg_retention::server
