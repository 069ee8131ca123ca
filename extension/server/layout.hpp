#pragma once
#include "extension/server/resolve.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// Where the rows that a policy archives go, and how they hang together: kept beside the runs, so that what was
/// archived can be put back after the policy has changed or is gone.
namespace pg_retention::server {

/// One table whose rows a run archives; without an archive, one whose rows stay and are emptied of their keys.
struct Archived {
  core::Relation table, archive;
  std::vector<std::string> columns; ///< of the table, as far as the archive has them
  /// How its rows hang on those of another table of the layout.
  struct Hang {
    std::size_t parent;    ///< its place in the layout
    std::string condition; ///< SQL over dependent and target
    bool is_key;
  };
  std::vector<Hang> hangs;
};

struct Layout {
  std::string policy;
  Oid owner = InvalidOid;
  std::vector<Archived> tables; ///< the target first; those without an archive last

  /// Those that have an archive.
  [[nodiscard]] std::size_t archived() const;
};

/// The layout of a policy as it is now; only of those that archive.
[[nodiscard]] Layout layout_of(const std::string& policy, const Resolved& resolved);

/// Where in a layout a table, or a part of it, stands; the layout's size for none.
[[nodiscard]] std::size_t place_of(const Layout& layout, const core::Relation& table);

/// Notes that a run archived so, unless those before it did the same.
void note_layout(const Layout& layout, std::int64_t run);

/// How a run of a policy archived; nullopt where that was not noted. The tables are found by what they are, in a copy
/// of their database by their names; oid 0 for those that are gone.
[[nodiscard]] std::optional<Layout> layout_at(const std::string& policy, std::int64_t run);

/// The names of all policies whose archiving was noted.
[[nodiscard]] std::vector<std::string> archiving_policies();

} // namespace pg_retention::server
