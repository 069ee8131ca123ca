#pragma once
#include "extension/server/family.hpp"
#include "extension/server/holds.hpp"
#include "extension/server/select.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

/// The hands that change rows. They take victims that are still `goes` and leave the truth in their fates; each wants
/// the proof that holds were asked first: Cleared, or a FamilyTree, which is gathered with them.
namespace pg_retention::server {

/// What a change did.
struct Erased {
  std::uint64_t affected = 0;                      ///< rows of the target
  std::map<std::string, std::uint64_t> dependents; ///< rows by the label of their edge
  std::vector<std::string> keys;                   ///< up to 1,000 keys of changed rows, where asked for
};

/// Removes or updates the victims with SQL; with `key`, keeps keys of changed rows. Victims that were only looked at
/// (Hold::look) may have changed since: Failure 40001, to be undone and tried again.
[[nodiscard]] Erased erase_by_sql(const Cleared&, const Resolved& resolved, Selection& selection, Hold hold,
                                  const std::string& key, std::int64_t run_id);

/// Removes (or updates) the victims together with everything that goes with them; both locked before. One statement:
/// keys between them are checked when all are gone.
[[nodiscard]] Erased erase_families(const Resolved& resolved, const FamilyTree& tree, const Selection& selection,
                                    std::int64_t run_id);

/// Makes the changes of a run to no row at all: what fails then is no row's doing but the statement's (a replica
/// identity that is missing, a statement trigger that objects).
void change_nothing(const Resolved& resolved, core::Leaves& leaves);

/// A row of a family that was kept back would leave it torn: throws Failure 23001.
[[noreturn]] void torn(const core::Relation& relation);

/// Counts of what goes with the victims, by label; what the schema clears included.
[[nodiscard]] std::map<std::string, std::uint64_t> count_dependents(const Resolved& resolved, const FamilyTree& tree);

/// The archive that belongs to a table by its name: in the table's schema, its name and `_archive`, within 63 bytes (a
/// longer name is cut and told apart by a digest). Its oid is 0 where there is none.
[[nodiscard]] core::Relation archive_of(const core::Relation& table);

/// Throws Failure 42501 for an archive, found by its name, that is not the policy owner's: rows must not be handed to a
/// stranger's table and its triggers.
void require_own_archive(const core::Relation& archive, Oid owner);

/// A change that archives the rows of a leaf, for checking it before it is needed. Throws Failure for what is missing.
[[nodiscard]] core::RowChange archiving(const Resolved& resolved, const core::Relation& leaf);

} // namespace pg_retention::server
