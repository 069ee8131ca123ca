#pragma once
#include "extension/core/identifier.hpp"

#include <cstdint>
#include <string>
#include <vector>

/// Foreign keys as edges between tables, and the ways that lead from one table to another.
namespace pg_retention::core {

/// What the schema does to referring rows when the row they refer to goes.
enum class OnDelete : char { no_action = 'a', restricted = 'r', cascade = 'c', set_null = 'n', set_default = 'd' };

/// A foreign key: rows of `child` refer to rows of `parent`.
struct ForeignKey {
  std::string name;
  Relation child, parent;
  std::vector<std::string> child_columns, parent_columns;
  std::vector<std::string> operators; ///< parent = child, as `OPERATOR(schema.=)`
  /// `schema.name` of the parent's collation where the child's column has another; else empty.
  std::vector<std::string> collations{};
  OnDelete on_delete = OnDelete::no_action;
  bool is_temporal = false; ///< with PERIOD: a row may refer to several rows together

  /// SQL that joins the two under the given aliases.
  [[nodiscard]] std::string condition(std::string_view child_alias, std::string_view parent_alias) const;
  /// For people: `child.constraint -> parent`.
  [[nodiscard]] std::string label() const;
};

using Path = std::vector<ForeignKey>;

/// Every way over foreign keys from `from` up to `to` that visits no table twice, shortest first;
/// at most `most` of them. Temporal keys are no way: they lead to no single subject.
[[nodiscard]] std::vector<Path> paths(const std::vector<ForeignKey>& keys, std::uint32_t from, std::uint32_t to,
                                      std::size_t most = 16);

/// The one path from `from` to `to`: the only one, or the one whose constraint names are `chosen`.
/// Throws Failure: 42704 where there is none, 42P08 (with the list) where there are several.
[[nodiscard]] Path the_path(const std::vector<ForeignKey>& keys, const Relation& from, const Relation& to,
                            const std::vector<std::string>& chosen);

} // namespace pg_retention::core
