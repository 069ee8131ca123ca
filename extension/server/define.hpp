#pragma once
#include "extension/boundary/spi.hpp"
#include "extension/core/policy.hpp"
#include "extension/server/definition.hpp"
#include "extension/server/presets.hpp"

#include <string>
#include <vector>

/// Making and changing policies. A definition is checked whole before anything is stored: relations, columns, path,
/// rights, and the statements it compiles to, by preparing them.
namespace pg_retention::server::define {

/// Stores a new policy. The caller becomes its owner (for a superuser, the owner of its target, so that it never runs
/// with more rights than its table asks for). With `if_not_exists`, a policy of that name stays as it is.
void add(Definition definition, bool if_not_exists);

/// The same for a preset with the given names.
void adopt_preset(const std::string& name, const presets::Names& names, bool if_not_exists);

/// The stored definition; a preset that is not stored yet is adopted first. Throws Failure 42704 for neither.
[[nodiscard]] Definition stored_or_adopted(const std::string& name);

/// Puts a definition in the place of the stored one of its name. For the policy's owner.
void replace(Definition definition, const std::string& change);

/// The same for a definition from outside: what it does not say is what stands where nothing is said.
void replace_fully(Definition definition);

/// Sets fields of a policy, and sets those named in `reset` back to what they are where nothing is said.
void alter_policy(const std::string& name, const core::Fields& changes, const std::vector<std::string>& reset);

void add_activity(const std::string& name, core::Activity activity);
void add_dependent(const std::string& name, core::Dependent dependent);
void remove_policy(const std::string& name, bool if_exists);
void pause_policy(const std::string& name);
void resume_policy(const std::string& name);

} // namespace pg_retention::server::define
