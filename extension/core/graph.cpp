#include "extension/core/graph.hpp"

#include "extension/core/failure.hpp"

#include <algorithm>

namespace pg_retention::core {
namespace {

std::string describe(const Path& path) {
  std::vector<std::string> names;
  for (const ForeignKey& key : path)
    names.push_back(key.label());
  return join(names, ", ");
}

std::vector<std::string> names_of(const Path& path) {
  std::vector<std::string> names;
  for (const ForeignKey& key : path)
    names.push_back(key.name);
  return names;
}

/// Extends `walked` by every key that leaves its end, depth first.
void walk(const std::vector<ForeignKey>& keys, std::uint32_t at, std::uint32_t to, Path& walked,
          std::vector<Path>& found) {
  constexpr std::size_t deepest = 12;
  if (walked.size() == deepest)
    return;
  for (const ForeignKey& key : keys) {
    if (key.child.oid != at)
      continue;
    const auto visited = [&](const ForeignKey& step) { return step.child.oid == key.parent.oid; };
    if (key.parent.oid == at || std::any_of(walked.begin(), walked.end(), visited))
      continue;
    walked.push_back(key);
    if (key.parent.oid == to)
      found.push_back(walked);
    else
      walk(keys, key.parent.oid, to, walked, found);
    walked.pop_back();
  }
}

} // namespace

std::string ForeignKey::condition(std::string_view child_alias, std::string_view parent_alias) const {
  std::vector<std::string> terms;
  for (std::size_t i = 0; i < child_columns.size(); ++i)
    terms.push_back(std::string(parent_alias) + "." + quote_identifier(parent_columns[i]) + " " + operators[i] + " " +
                    std::string(child_alias) + "." + quote_identifier(child_columns[i]));
  return join(terms, " AND ");
}

std::string ForeignKey::label() const { return child.label() + "." + quote_identifier(name) + " -> " + parent.label(); }

std::vector<Path> paths(const std::vector<ForeignKey>& keys, std::uint32_t from, std::uint32_t to, std::size_t most) {
  std::vector<Path> found;
  Path walked;
  walk(keys, from, to, walked, found);
  std::stable_sort(found.begin(), found.end(), [](const Path& a, const Path& b) { return a.size() < b.size(); });
  if (found.size() > most)
    found.resize(most);
  return found;
}

Path the_path(const std::vector<ForeignKey>& keys, const Relation& from, const Relation& to,
              const std::vector<std::string>& chosen) {
  std::vector<Path> found = paths(keys, from.oid, to.oid, chosen.empty() ? 16 : 1000);
  if (!chosen.empty()) {
    for (Path& path : found)
      if (names_of(path) == chosen)
        return path;
    throw Failure(sqlstate::undefined_object,
                  "path {" + join(chosen, ", ") + "} does not lead from " + from.label() + " to " + to.label(),
                  found.empty() ? "No foreign keys lead there." : "One that does: " + describe(found.front()) + ".",
                  "A path names the foreign key constraints in order, from target to subject.");
  }
  if (found.empty())
    throw Failure(sqlstate::undefined_object, "no foreign keys lead from " + from.label() + " to " + to.label(), "",
                  "Add the foreign key, or state the relation in condition.");
  if (found.size() > 1) {
    std::string detail;
    for (const Path& path : found)
      detail += (detail.empty() ? "" : "; ") + describe(path);
    throw Failure(sqlstate::ambiguous_parameter, "more than one path leads from " + from.label() + " to " + to.label(),
                  detail + ".", "Choose one with path => ARRAY['" + join(names_of(found.front()), "', '") + "'].");
  }
  return found.front();
}

} // namespace pg_retention::core
