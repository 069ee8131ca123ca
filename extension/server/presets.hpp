#pragma once
#include "extension/boundary/spi.hpp"
#include "extension/core/policy.hpp"

#include <optional>
#include <string>
#include <vector>

/// The application rules: policies that are known by name and built from conventional tables, or from named ones.
namespace pg_retention::server::presets {

/// Tables and columns that take the place of the conventional ones; 0 and empty: the convention.
struct Names {
  Oid target = InvalidOid, subject = InvalidOid, activity = InvalidOid, images = InvalidOid, videos = InvalidOid;
  std::string time_column, activity_time_column, activity_condition, condition, set_clause, expire_after, time_zone;
  std::vector<std::string> path;
};

/// Whether a preset has this name.
[[nodiscard]] bool is_preset(const std::string& name);

/// The names of all presets.
[[nodiscard]] std::vector<std::string> all();

/// Builds a preset. Throws Failure 42P01, 42703 or 42704 for what is missing, with the call that adopts the preset for
/// other names as hint; 22023 for a name that the preset has no use for.
[[nodiscard]] core::Policy build(const std::string& name, const Names& names = {});

/// The stored policy of that name, else the preset built from the conventions. Throws Failure 42704 for neither. A
/// preset that is not stored runs as the owner of its target, so only who may do the same by hand may have it built
/// (42501): a member of that owner, or a role with the right to read (`for_run`: to delete, or update) the target's
/// rows.
[[nodiscard]] core::Policy stored_or_built(const std::string& name, bool for_run = false);

/// A preset's definition as fields of the store.
[[nodiscard]] core::Fields fields_of(const core::Policy& policy);

} // namespace pg_retention::server::presets
