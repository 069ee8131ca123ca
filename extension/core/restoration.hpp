#pragma once
#include "extension/core/identifier.hpp"

#include <cstdint>
#include <string>
#include <vector>

/// The statements that put archived rows back. Where they have a parameter, $1 is the run that archived them (bigint).
namespace pg_retention::core {

/// The two columns that an archive has beside those of its table.
inline constexpr const char *archive_run = "retention_run_id", *archive_time = "archived_at";

/// SELECT of tableoid and ctid of a run's rows in an archive.
[[nodiscard]] std::string archived_select(const Relation& archive);

/// The same of those that satisfy `term`, SQL over the archive's columns.
[[nodiscard]] std::string archived_where(const Relation& archive, const std::string& term);

/// SELECT of tableoid and ctid of archived rows and of those of another archive that they hang on by `condition` (SQL
/// over dependent and target).
[[nodiscard]] std::string archived_links(const Relation& child, const Relation& parent, const std::string& condition);

/// SELECT of archived rows that hang on no row: neither of the table `parent` nor, where it has one, of its archive
/// (oid 0: none). Rows with NULL in one of `columns` hang on nothing and are left out.
[[nodiscard]] std::string archived_orphans(const Relation& child, const std::vector<std::string>& columns,
                                           const std::string& condition, const Relation& parent,
                                           const Relation& parent_archive);

/// SELECT of archived rows whose key (columns and the operators that compare them) another row of `table` has.
[[nodiscard]] std::string archived_with_taken_key(const Relation& archive, const Relation& table,
                                                  const std::vector<std::string>& columns,
                                                  const std::vector<std::string>& operators);

/// Rows of one part of an archive, and where they belong.
struct RowReturn {
  Relation part, table;
  std::vector<std::string> columns;
};

/// Moves the row sets $1, $2, ... (tid[] each, one per return) of a run from their archives to their tables at once, so
/// that keys between them, self-references and cycles are checked when all are there. Returns one row: for each the
/// rows taken, then for each the rows put back.
[[nodiscard]] std::string return_statement(const std::vector<RowReturn>& returns, std::int64_t run);

} // namespace pg_retention::core
