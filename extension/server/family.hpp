#pragma once
#include "extension/core/rows.hpp"
#include "extension/server/holds.hpp"
#include "extension/server/kin.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/select.hpp"
#include "extension/server/verify.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

/// What refers to the victims, at any depth, and which of them may therefore go.
namespace pg_retention::server {

/// The victims (the first `victims` rows) and everything that goes with them, settled.
struct FamilyTree {
  core::Family family;
  std::uint32_t victims = 0;
  bool is_locked = false;              ///< every row of it is locked, not only the victims
  std::vector<std::string> labels;     ///< of edges
  std::vector<std::uint16_t> label_of; ///< by row of the family; victims have none
  /// A row that stays while what it refers to goes: its columns are emptied, by us or by the schema.
  struct Emptied {
    std::uint32_t parent; ///< row of the family
    core::RowKey child;
    std::uint16_t edge; ///< index into Resolved::edges
  };
  std::vector<Emptied> emptied;

  /// Whether an emptied row counts: what it refers to goes, and it does not.
  [[nodiscard]] bool stands(const Emptied& e) const {
    const auto self = family.find(e.child);
    return family.goes(e.parent) && !(self && family.goes(*self));
  }
};

/// Follows the edges from the victims that go, until nothing new comes. With Hold::lock, dependents are locked where
/// they stand; one that cannot be locked keeps its victims. With Hold::look, those that nothing hangs on are only
/// looked at. Victims must be locked before, so that nothing new can refer to them. A row under hold that would go
/// along or be changed keeps its victims; those under hold themselves are not followed. Marks the victims that must
/// stay in `selection`. Of victims that `kin` knows their dependents are not looked up anew.
[[nodiscard]] FamilyTree gather_families(const Resolved& resolved, Selection& selection, Hold hold,
                                         const LegalHolds& holds, Kin* kin = nullptr);

} // namespace pg_retention::server
