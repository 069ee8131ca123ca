#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// Names and literals as SQL text. Always quoted: no list of reserved words can go stale.
namespace pg_retention::core {

/// `name` as a quoted identifier, embedded quotes doubled.
[[nodiscard]] std::string quote_identifier(std::string_view name);

/// `name` between double quotes, for messages.
[[nodiscard]] inline std::string quote(std::string_view name) { return quote_identifier(name); }

/// `text` as a string literal that means the same under either setting of standard_conforming_strings.
[[nodiscard]] std::string quote_literal(std::string_view text);

/// A table by its identity and its present name.
struct Relation {
  std::uint32_t oid = 0;
  std::string schema, name;
  char kind = 'r'; ///< pg_class.relkind

  /// `"schema"."name"`, for statements.
  [[nodiscard]] std::string sql() const { return quote_identifier(schema) + "." + quote_identifier(name); }
  /// The relation that a foreign key means: a plain table without its inheritance children.
  [[nodiscard]] std::string sql_only() const { return (kind == 'r' ? "ONLY " : "") + sql(); }
  /// `schema.name`, for people and for keys of dictionaries.
  [[nodiscard]] std::string label() const { return schema + "." + name; }
};

/// Items with a separator between them.
[[nodiscard]] std::string join(const std::vector<std::string>& items, std::string_view separator);

} // namespace pg_retention::core
