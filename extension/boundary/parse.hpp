#pragma once
#include "extension/boundary/postgres.hpp"

#include <optional>
#include <string>
#include <vector>

/// SQL that users give as part of a definition, held to be what it says it is by the server's own parser.
namespace pg_retention::boundary {

/// Throws Failure 42601 unless `text` is one SQL expression and nothing else; `what` names it in the message.
void require_expression(const std::string& text, const std::string& what);

/// Throws Failure 42601 unless `text` is a list of assignments, as after SET in UPDATE, and nothing else.
void require_assignments(const std::string& text, const std::string& what);

/// The expression with every name in it resolved now, by the session's search_path, and written out: what it means no
/// longer depends on anybody's search_path. `from` is the FROM list that it may refer to. Server errors tell what is
/// wrong.
[[nodiscard]] std::string qualified_expression(const std::string& text, const std::string& from);

/// The same for assignments to the columns of `schema`.`name`, which they may call target.
[[nodiscard]] std::string qualified_assignments(const std::string& text, const std::string& schema,
                                                const std::string& name);

/// Whether what a SELECT gives follows from the rows of its FROM list alone: it holds no sub-query, and calls nothing
/// whose answer may change.
[[nodiscard]] bool follows_from_rows(const std::string& select);

/// Whether a SELECT looks at whole rows anywhere, sub-queries included: what it says of them depends on their type.
[[nodiscard]] bool looks_at_whole_rows(const std::string& select);

/// The columns that an UPDATE sets, where each value follows from columns of the row by themselves; nothing where one
/// is a DEFAULT, looks at the whole row, or holds a sub-query.
[[nodiscard]] std::optional<std::vector<std::string>> columns_set_from_row(const std::string& update);

/// SQL that is true where `column` (SQL of this type) equals a value, by the type's own equality, whatever operators
/// lie on anybody's search_path. Throws Failure 42883 for a type that has none.
[[nodiscard]] std::string equals(const std::string& column, const std::string& value, Oid type);

/// A value of a type, read as the session writes it, and written so that everybody reads the same.
[[nodiscard]] std::string written_value(const std::string& value, Oid type);

} // namespace pg_retention::boundary
