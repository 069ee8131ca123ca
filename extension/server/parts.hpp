#pragma once
#include "extension/boundary/postgres.hpp"
#include "extension/core/identifier.hpp"
#include "extension/core/rows.hpp"

#include <optional>
#include <string>
#include <utility>
#include <vector>

/// Rows that lie in parts of a table: partitions, or heirs. A statement on the table looks for its places in every
/// part. One on the part does not, but passes by what only the table knows, and might mean something else.
namespace pg_retention::server {

/// Whether what `probes` (SELECTs over the table) say of rows of a table is the same where a part is named in its
/// place: they look at no whole row, whose type would be another, and no column is computed by the table that is named.
[[nodiscard]] bool means_the_same_in_parts(const core::Relation& table, const std::vector<std::string>& probes);

/// Some rows, and the table that a statement may read them by.
struct Stretch {
  core::Relation table;
  std::vector<core::RowKey> rows;
};

/// Rows of a table, apart by the part they lie in, as far as one may read them there: where the current user may, and
/// `probes`, what the statement says of them, means the same. The rest is read by the table, which finds the same
/// places of other parts too. Rows keep their order. Without rows, one stretch of none by the table.
[[nodiscard]] std::vector<Stretch> by_part(const core::Relation& table, const std::vector<core::RowKey>& rows,
                                           const core::Leaves& leaves, const std::vector<std::string>& probes);

/// How rows of parts are changed.
class Parts {
public:
  /// Of a table, for a removal or, with a clause, for an update; as the schema is when it is first asked.
  Parts(core::Relation root, std::string set_clause) : root_(std::move(root)), set_clause_(std::move(set_clause)) {}

  /// Whether rows of `leaf` must be changed by a statement on the table (which may be the leaf itself: then not),
  /// because one on the leaf might do something else, or not be allowed to the current user.
  [[nodiscard]] bool must_name_root(const core::Relation& leaf) const;

private:
  core::Relation root_;
  std::string set_clause_;
  mutable std::optional<bool> differs_; ///< whether the statement might do something else on any part

  [[nodiscard]] bool differs() const;
};

} // namespace pg_retention::server
