// Tables for people.
#pragma once

#include <string>
#include <vector>

namespace pg_retention::runner {

/// Columns as wide as they need to be, in characters; numbers stand right.
class Table {
public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }

  /// Adds one row; it has as many cells as the header.
  void add(std::vector<std::string> cells);
  /// The lines of the header, a rule and the rows.
  [[nodiscard]] std::vector<std::string> lines() const;

private:
  std::vector<std::vector<std::string>> rows_;
};

} // namespace pg_retention::runner
