#pragma once
#include "extension/server/family.hpp"
#include "extension/server/select.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

/// The hands that change rows. They take victims that are still `goes` and leave the truth in their fates.
namespace pg_retention::server {

/// What a change did.
struct Erased {
  std::uint64_t affected = 0;                      ///< rows of the target
  std::map<std::string, std::uint64_t> dependents; ///< rows by the label of their edge
  std::vector<std::string> keys;                   ///< up to 1,000 keys of changed rows, where asked for
};

/// Why the direct hand may not be used for this rule; empty where it may. The conditions are in doc/internals.md.
[[nodiscard]] std::string why_not_direct(const Resolved& resolved, const Selection& selection);

/// Removes the victims through the table access method. Rows that somebody holds or changed stay.
[[nodiscard]] Erased erase_direct(Selection& selection);

/// Removes or updates the victims, locked before, with SQL; with `key`, keeps keys of changed rows.
[[nodiscard]] Erased erase_by_sql(const Resolved& resolved, Selection& selection, const std::string& key,
                                  std::int64_t run_id);

/// Removes (or updates) the victims together with everything that goes with them; both locked before. One statement:
/// keys between them are checked when all are gone.
[[nodiscard]] Erased erase_families(const Resolved& resolved, const FamilyTree& tree, const Selection& selection,
                                    std::int64_t run_id);

/// Counts of what goes with the victims, by label; what the schema clears included.
[[nodiscard]] std::map<std::string, std::uint64_t> count_dependents(const Resolved& resolved, const FamilyTree& tree);

/// The name of the archive of a dependent's table: in the schema of the target's archive, the table's own name and
/// `_archive`, within 63 bytes.
[[nodiscard]] core::Relation archive_of(const core::Relation& target_archive, const core::Relation& table);

} // namespace pg_retention::server
