#pragma once
#include "extension/boundary/spi.hpp"
#include "extension/core/hold.hpp"

#include <optional>
#include <string>
#include <vector>

/// Holds in their table. Every function here acts as the keeper of the store; who may call is decided above.
namespace pg_retention::server::hold_store {

/// A hold as it is placed.
struct Placed {
  core::Relation relation;
  boundary::Text key;       ///< JSON object of the key's columns, values as text
  boundary::Text condition; ///< written out
  bool as_table_owner;      ///< judged with the rights of the table's owner, not of the hold's
  std::string zone, reason;
  boundary::Text until;
};

/// Writes a hold of the caller's and returns its id.
[[nodiscard]] std::int64_t insert(const Placed& hold);

/// What is known of a hold: its owner (InvalidOid where that role is gone), its name, and when it was released.
struct Known {
  Oid owner;
  std::string owner_name;
  boundary::Text released_at;
};
/// nullopt where there is none of that id.
[[nodiscard]] std::optional<Known> find(std::int64_t id);

/// Releases a hold that stands; false where somebody was faster.
[[nodiscard]] bool release(std::int64_t id, const std::string& reason);

/// The holds that stand at `clock`, under the active snapshot. A hold belongs to its table's oid where it was placed,
/// and to the table of its name where that oid is gone or this is a copy; it is left out where the table was dropped.
/// Throws Failure 55H01 for one that came with a copy and whose table is not found.
[[nodiscard]] std::vector<core::LegalHold> standing(TimestampTz clock);

/// A table, and one that takes rows of it.
struct Archive {
  core::Relation table, archive;
};
/// Every archive that a policy has or had, as far as both tables are there.
[[nodiscard]] std::vector<Archive> archives();

/// SQL that is true for rows of `relation` with this key. Throws Failure 42703 for a column that is not there.
[[nodiscard]] std::string key_condition(const core::Relation& relation, const std::vector<std::string>& columns,
                                        const std::vector<std::string>& values);

} // namespace pg_retention::server::hold_store
