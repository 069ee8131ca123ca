#pragma once
#include "extension/boundary/spi.hpp"
#include "extension/core/policy.hpp"

#include <optional>
#include <string>
#include <vector>

/// Policies in their tables. Every function here acts as the keeper of the store; who may call is decided above.
namespace pg_retention::server::store {

/// Whether a table of the schema retention is there and has a column: an updated library may meet the tables of an
/// earlier version.
[[nodiscard]] bool has_column(const char* table, const char* column);

/// A stored policy with its activities and dependents; nullopt where there is none of that name.
[[nodiscard]] std::optional<core::Policy> load(const std::string& name);

/// The fields of a stored policy, as text; nullopt where there is none of that name.
[[nodiscard]] std::optional<core::Fields> load_fields(const std::string& name);

/// Throws Failure 42704 for a name that no policy has.
[[noreturn]] void no_such_policy(const std::string& name);

/// Writes a new policy; `fields` are columns of retention.policy as text. Throws Failure 42710 for a name in use.
void insert(const core::Fields& fields, const std::vector<core::Activity>& activities,
            const std::vector<core::Dependent>& dependents);

/// Sets the given columns of a stored policy and raises its version; `change` says what happened.
void update(const std::string& name, const core::Fields& fields, const std::string& change);

/// Puts these in the place of a policy's activities and dependents; part of a change that update() records.
void replace_children(const std::string& name, const std::vector<core::Activity>& activities,
                      const std::vector<core::Dependent>& dependents);

/// Deletes a policy; its changes and runs stay.
void remove(const std::string& name);

/// Puts a policy to rest, or wakes it here: in this cluster and this database, as a policy of `owner`.
void pause(const std::string& name);
void resume(const std::string& name, Oid owner);

/// This cluster and database, as SQL for the columns system_identifier and database.
[[nodiscard]] std::string here();

/// Whether the policy was made or resumed in this very database, and not brought by a copy.
[[nodiscard]] bool is_at_home(const std::string& name);

/// The names of all stored policies.
[[nodiscard]] std::vector<std::string> names();

/// Names of the policies that are not paused, in the order of a daily run: run_order, then the one whose last run is
/// longest ago.
[[nodiscard]] std::vector<std::string> names_in_order();

} // namespace pg_retention::server::store
