#pragma once
#include "extension/boundary/guard.hpp"
#include "extension/core/policy.hpp"
#include "extension/core/statement.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

/// A policy held against the catalog as it is now.
namespace pg_retention::server {

/// What happens to rows that hang on a row that goes.
enum class EdgeAction {
  remove,   ///< they go with it
  set_null, ///< their referring columns are emptied
  clear,    ///< the schema itself sets their columns to NULL or to the default
  refuse,   ///< they keep it
};

/// A bond to the target, or to something that goes with it.
struct Edge {
  core::Bond bond;
  EdgeAction action;
  std::string label; ///< the key of its count: the referring table's name
};

struct Resolved {
  core::Rule rule;
  std::vector<Edge> edges;
  std::map<std::string, std::string> roles; ///< of a preset's dependents: `images` -> the table's name
  Oid owner;                                ///< the role it runs as
  std::string zone;                         ///< its time zone
  core::Relation archive;                   ///< of action archive: where the target's rows go; oid 0: nowhere
  std::vector<std::string> recorded_key;    ///< columns of the target's key, where runs keep the keys of their rows
};

/// Finds the tables, columns, path and dependents of a policy, and checks that they are supported. Throws Failure
/// for what is missing or ambiguous. `extra_conditions` are AND-ed to the policy's own.
[[nodiscard]] Resolved resolve(const core::Policy& policy, const std::vector<std::string>& extra_conditions = {});

/// The role a policy runs as: its owner, for a preset that is not stored the owner of its target.
[[nodiscard]] Oid runs_as(const core::Policy& policy);

/// The policy's time zone, or the setting.
[[nodiscard]] std::string zone_of(const core::Policy& policy);

/// Throws Failure 42501 where the owner lacks a right that the run needs.
void require_rights(const Resolved& resolved);

} // namespace pg_retention::server
