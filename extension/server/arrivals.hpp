#pragma once
#include "extension/core/rows.hpp"
#include "extension/server/resolve.hpp"

#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

/// Which rows came to a table since it was read, found without reading what has not changed.
namespace pg_retention::server {

/// A watch over one table. A row that came, or a new version of an old one, is known by the transaction that wrote it;
/// only pages that may have such rows are read. A page is passed over while the visibility map says that everybody sees
/// all of it, and the map's own page has the stamp that it had: setting a bit stamps the map, so that none was cleared
/// and set again. A page that was read is passed over while it has the same stamp.
class Arrivals {
public:
  /// Since the active snapshot, for the rows of `table` and of all its partitions and heirs.
  Arrivals(const core::Relation& table, core::Leaves& leaves);

  /// Looks again, reading at most `most` pages, and never more than 65,536. False where that does not suffice, or
  /// nothing can be known: a table was rewritten or altered, is not logged, or is no heap, or what has come takes an
  /// eighth of retention.work_mem. After three times of it nothing is tried any more. Server errors for a page that
  /// cannot be read.
  [[nodiscard]] bool look(std::size_t most);
  /// The rows that have come, whoever sees them yet; in physical order.
  [[nodiscard]] const std::set<core::RowKey>& rows() const { return rows_; }
  /// Whether the tables are still the same, and have the same columns: one that is added has values in old versions.
  [[nodiscard]] bool is_about(const core::Relation& table) const;

private:
  /// One table with its pages.
  struct Leaf {
    Oid oid, file;
    std::uint16_t number;
    std::vector<bool> is_still;                            ///< by block: as the map has it, nothing came since
    std::vector<std::uint64_t> map_stamps;                 ///< by page of the map
    std::unordered_map<BlockNumber, std::uint64_t> stamps; ///< of blocks that were read
  };
  core::Relation table_;
  std::uint64_t generation_; ///< of the schema in which the table was last compared
  TransactionId since_;      ///< the first transaction whose rows may be new
  std::string shape_;        ///< of the table's columns
  std::vector<Leaf> tables_;
  std::set<core::RowKey> rows_;
  bool is_known_;
  int failures_ = 0; ///< to tell

  void follow_schema();
  [[nodiscard]] std::size_t memory() const;
  [[nodiscard]] bool look_at(Leaf& leaf, std::size_t& most);
  [[nodiscard]] bool read_pages(Leaf& leaf, Relation table, std::size_t& most);
  void read_map(Leaf& leaf, Relation table, bool is_first);
};

/// A page looked at in passing takes so much less time than a look-up by index and what it leads to.
constexpr std::size_t pages_a_look_up = 32;

/// What has come to several tables by now; nullopt where some of them cannot tell within `most` pages, or more has come
/// than `most_rows`.
[[nodiscard]] std::optional<std::vector<core::RowKey>> arrived(std::vector<Arrivals>& tables, std::size_t most,
                                                               std::size_t most_rows);

} // namespace pg_retention::server
