#pragma once
#include "extension/core/policy.hpp"
#include "extension/server/presets.hpp"

#include <string>

/// Making and changing policies. A definition is checked whole before anything is stored: relations, columns, path,
/// rights, and the statements it compiles to, by preparing them.
namespace pg_retention::server::define {

/// Stores a preset for the given names; the caller becomes its owner (for a superuser, the owner of its target, so
/// that it never runs with more rights than its table asks for). With `if_not_exists`, a policy of that name stays.
void adopt_preset(const std::string& name, const presets::Names& names, bool if_not_exists);

/// Sets fields of a policy; a preset that is not stored yet is adopted first.
void alter_policy(const std::string& name, const core::Fields& changes);

void remove_policy(const std::string& name, bool if_exists);
void pause_policy(const std::string& name);
void resume_policy(const std::string& name);

} // namespace pg_retention::server::define
