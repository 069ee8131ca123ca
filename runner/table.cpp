#include "table.hpp"

#include "message.hpp"

#include <algorithm>

namespace pg_retention::runner {
namespace {

std::size_t characters(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

std::string line_of(const std::vector<std::string>& row, const std::vector<std::size_t>& widths) {
  std::string line;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const std::string space(widths[i] - characters(row[i]), ' ');
    line += (i == 0 ? " " : " | ") + (is_number(row[i]) ? space + row[i] : row[i] + space);
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

std::string rule_of(const std::vector<std::size_t>& widths) {
  std::string line;
  for (std::size_t i = 0; i < widths.size(); ++i)
    line += (i == 0 ? "" : "+") + std::string(widths[i] + 2, '-');
  return line;
}

} // namespace

void Table::add(std::vector<std::string> cells) {
  for (std::string& cell : cells)
    cell = one_line(cell);
  rows_.push_back(std::move(cells));
}

std::vector<std::string> Table::lines() const {
  std::vector<std::size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], characters(row[i]));
  std::vector<std::string> lines;
  for (const auto& row : rows_) {
    lines.push_back(line_of(row, widths));
    if (lines.size() == 1)
      lines.push_back(rule_of(widths));
  }
  return lines;
}

} // namespace pg_retention::runner
