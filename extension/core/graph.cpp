#include "extension/core/graph.hpp"

#include "extension/core/failure.hpp"

#include <algorithm>
#include <set>
#include <utility>

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

/// Why keys that are there may lead nowhere.
std::string about_temporal_keys(const std::vector<ForeignKey>& keys, std::uint32_t from) {
  for (const ForeignKey& key : keys)
    if (key.is_temporal && key.child.oid == from)
      return "By " + quote(key.name) +
             ", a key with PERIOD, a row may refer to several rows: none of them is its subject.";
  return "";
}

/// The tables from which keys lead to `to`, `to` included: ways through any other lead nowhere.
std::set<std::uint32_t> leading_to(const std::vector<ForeignKey>& keys, std::uint32_t to) {
  std::set<std::uint32_t> found{to};
  for (bool has_grown = true; has_grown;) {
    has_grown = false;
    for (const ForeignKey& key : keys)
      if (found.count(key.parent.oid) != 0 && found.insert(key.child.oid).second)
        has_grown = true;
  }
  return found;
}

/// A search for ways, depth first.
struct Search {
  const std::vector<ForeignKey>& keys;
  std::uint32_t to;
  std::size_t most;
  const std::vector<std::string>& chosen; ///< names of the keys to take, in order; empty: any
  std::set<std::uint32_t> leading;
  Path walked;
  std::vector<Path> found;

  /// Extends `walked` by every key that leaves its end.
  void walk(std::uint32_t at) {
    constexpr std::size_t deepest = 12;
    if (walked.size() == (chosen.empty() ? deepest : chosen.size()))
      return;
    for (const ForeignKey& key : keys) {
      if (found.size() >= most)
        return;
      if (key.child.oid != at || leading.count(key.parent.oid) == 0 || !is_wanted(key) ||
          is_visited(key.parent.oid, at))
        continue;
      walked.push_back(key);
      if (key.parent.oid == to)
        found.push_back(walked);
      else
        walk(key.parent.oid);
      walked.pop_back();
    }
  }

  [[nodiscard]] bool is_wanted(const ForeignKey& key) const {
    return !key.is_temporal && (chosen.empty() || key.name == chosen[walked.size()]);
  }

  [[nodiscard]] bool is_visited(std::uint32_t table, std::uint32_t at) const {
    const auto is_it = [&](const ForeignKey& step) { return step.child.oid == table; };
    return table == at || std::any_of(walked.begin(), walked.end(), is_it);
  }
};

std::vector<Path> search(const std::vector<ForeignKey>& keys, std::uint32_t from, std::uint32_t to, std::size_t most,
                         const std::vector<std::string>& chosen) {
  Search search{keys, to, most, chosen, leading_to(keys, to), {}, {}};
  search.walk(from);
  std::vector<Path>& found = search.found;
  std::stable_sort(found.begin(), found.end(), [](const Path& a, const Path& b) { return a.size() < b.size(); });
  return std::move(found);
}

} // namespace

std::string ForeignKey::condition(std::string_view child_alias, std::string_view parent_alias) const {
  std::vector<std::string> terms;
  for (std::size_t i = 0; i < child_columns.size(); ++i) {
    // Two columns of different collations have none between them, and many equalities want one: the parent's index has
    // made its rows unique by its own.
    const bool has_collation = i < collations.size() && !collations[i].empty();
    terms.push_back(std::string(parent_alias) + "." + quote_identifier(parent_columns[i]) + " " + operators[i] + " " +
                    std::string(child_alias) + "." + quote_identifier(child_columns[i]) +
                    (has_collation ? " COLLATE " + collations[i] : ""));
  }
  return join(terms, " AND ");
}

std::string ForeignKey::label() const { return child.label() + "." + quote_identifier(name) + " -> " + parent.label(); }

std::vector<Path> paths(const std::vector<ForeignKey>& keys, std::uint32_t from, std::uint32_t to, std::size_t most) {
  return search(keys, from, to, most, {});
}

Path the_path(const std::vector<ForeignKey>& keys, const Relation& from, const Relation& to,
              const std::vector<std::string>& chosen) {
  std::vector<Path> found = search(keys, from.oid, to.oid, 16, chosen);
  if (!chosen.empty()) {
    for (Path& path : found)
      if (names_of(path) == chosen)
        return path;
    const std::vector<Path> any = search(keys, from.oid, to.oid, 1, {});
    throw Failure(sqlstate::undefined_object,
                  "path {" + join(chosen, ", ") + "} does not lead from " + from.label() + " to " + to.label(),
                  any.empty() ? "No foreign keys lead there." : "One that does: " + describe(any.front()) + ".",
                  "A path names the foreign key constraints in order, from target to subject.");
  }
  if (found.empty())
    throw Failure(sqlstate::undefined_object, "no foreign keys lead from " + from.label() + " to " + to.label(),
                  about_temporal_keys(keys, from.oid), "Add the foreign key, or state the relation in condition.");
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
