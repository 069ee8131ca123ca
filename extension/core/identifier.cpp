#include "extension/core/identifier.hpp"

namespace pg_retention::core {
namespace {

/// `text` between two quotes, with every quote in it doubled.
std::string doubled(std::string_view text, char quote) {
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote)
      out += quote;
    out += c;
  }
  return out + quote;
}

} // namespace

std::string quote_identifier(std::string_view name) { return doubled(name, '"'); }

std::string quote_literal(std::string_view text) {
  if (text.find('\\') == std::string_view::npos)
    return doubled(text, '\'');
  std::string escaped;
  for (const char c : text) {
    if (c == '\\')
      escaped += '\\';
    escaped += c;
  }
  return "E" + doubled(escaped, '\'');
}

std::string join(const std::vector<std::string>& items, std::string_view separator) {
  std::string out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i != 0)
      out += separator;
    out += items[i];
  }
  return out;
}

} // namespace pg_retention::core
