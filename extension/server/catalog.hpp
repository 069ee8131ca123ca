#pragma once
#include "extension/boundary/spi.hpp"
#include "extension/core/cutoff.hpp"
#include "extension/core/graph.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What the server's catalogs say about tables, columns and keys.
namespace pg_retention::server::catalog {

/// The table with this oid; nullopt where it is gone.
[[nodiscard]] std::optional<core::Relation> find(Oid oid);

/// The same, and an error where it is gone: `last_name` is how it was known.
[[nodiscard]] core::Relation relation(Oid oid, const std::string& last_name);

/// The table that an unqualified name means on the session's search_path; InvalidOid for none.
[[nodiscard]] Oid on_search_path(const std::string& name);

/// Throws Failure 0A000 (42809 for what is no table) for relations whose rows this engine cannot treat rightly:
/// views, foreign tables, system catalogs, other sessions' temporary tables, tables of distributed engines.
void require_supported(const core::Relation& relation);

/// The type of a column, domains resolved; nullopt where there is no such column.
struct ColumnType {
  Oid type, base;
  std::string base_name; ///< short name of the base type
  bool is_generated;
  std::string declared; ///< the type as declared, with its modifier
};
[[nodiscard]] std::optional<ColumnType> column(const core::Relation& relation, std::string_view name);

/// The same, and Failure 42703 where there is no such column.
[[nodiscard]] ColumnType require_column(const core::Relation& relation, std::string_view name);

/// Whether some index has the column.
[[nodiscard]] bool is_indexed(const core::Relation& relation, const std::string& column);

/// Whether a column may be NULL.
[[nodiscard]] bool is_nullable(const core::Relation& relation, const std::string& column);

/// The columns of a table, in order, with their types.
struct Column {
  std::string name, type;
};
[[nodiscard]] std::vector<Column> columns(Oid relation);

/// The columns of a table with their types and collations, as one text: another once they were altered.
[[nodiscard]] std::string shape(Oid relation);

/// The tables that hold a table's rows: itself, its partitions, its inheritance children, at any depth.
[[nodiscard]] std::vector<core::Relation> leaves(const core::Relation& relation);

/// A time column as its table has it.
[[nodiscard]] core::TimeColumn time_column(const core::Relation& relation, const std::string& column,
                                           core::TimeUnit unit, const std::string& zone);

/// Every foreign key of the database, once each (those of partitions by their parent's).
[[nodiscard]] std::vector<core::ForeignKey> foreign_keys();

/// The names of the primary key's columns, or of the first unique key's without NULLs; empty where there is none.
[[nodiscard]] std::vector<std::string> key_columns(Oid relation);

/// The names of the primary key's columns; empty where there is none.
[[nodiscard]] std::vector<std::string> primary_key(Oid relation);

/// What of a leaf's rows the current user reads by their own table, as SQL to be followed by a condition: the leaf
/// itself, or, where only the root of its partitions is open to that user, the root's rows of that leaf.
[[nodiscard]] std::string rows_of_leaf(const core::Relation& leaf, const std::string& alias,
                                       const std::string& before_condition);

/// Whether the current user has these rights on a table by itself, may name it, and sees all of its rows.
[[nodiscard]] bool is_open(Oid relation, AclMode mode);

/// Whether `leaf` is a partition, or an inheritance child, of `root`, at any depth.
[[nodiscard]] bool inherits_from(Oid leaf, Oid root);

/// Whether a row of one table may be a row of the other: they are the same, or one inherits from the other.
[[nodiscard]] bool share_rows(Oid a, Oid b);

/// The table itself, the partitioned tables it is part of, and all that inherits from it: a key that refers to one of
/// them may refer to rows of the table.
[[nodiscard]] std::vector<Oid> relatives(Oid relation);

/// The partitioned tables that a partition is part of.
[[nodiscard]] std::vector<Oid> partition_ancestors(Oid relation);

/// The partitioned table at the top, for a partition; the table itself for any other.
[[nodiscard]] core::Relation root_of(const core::Relation& relation);

/// Queries of a WITH RECURSIVE: `below`, the table $1 and all that inherits from it, partitions included; and `tree`,
/// these and the partitioned tables that it is part of.
inline constexpr const char *below = "below (oid) AS (SELECT $1 UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i "
                                     "JOIN below ON i.inhparent = below.oid)",
                            *below_or_above = "tree AS (SELECT oid FROM below UNION SELECT relid FROM "
                                              "pg_catalog.pg_partition_ancestors($1))";

/// Whether a table, or a part of it, has triggers of its users.
[[nodiscard]] bool has_triggers(const core::Relation& relation);

/// Whether an UPDATE of a table may set off changes of other rows of the table: by triggers of users, by rules, by a
/// key that refers to the table itself and follows it.
[[nodiscard]] bool sets_off_changes(const core::Relation& relation);

/// Whether a table has statement triggers or rules of its own, which a statement on one of its parts would pass by.
[[nodiscard]] bool watches_statements(const core::Relation& relation);

[[nodiscard]] Oid owner(Oid relation);

/// The quoted name of the schema that holds the application functions.
[[nodiscard]] std::string extension_schema();

} // namespace pg_retention::server::catalog
