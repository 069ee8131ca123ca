#pragma once
#include "extension/core/policy.hpp"

#include <vector>

/// A policy's definition on its way into the store: checked, its names resolved, its archives made.
namespace pg_retention::server::define {

/// A definition: the fields as they are stored, and the lists that go with them.
struct Definition {
  core::Fields fields;
  std::vector<core::Activity> activities;
  std::vector<core::Dependent> dependents;

  /// As a policy; throws Failure 22023 for fields that cannot be.
  [[nodiscard]] core::Policy policy() const;
};

/// Checks the texts, resolves every name in the policy's own SQL as the caller means it, and writes them out.
void write_out(Definition& definition);

/// Everything that can be known before the first run. Changes nothing.
void check(const core::Policy& policy);

/// Makes the archives of the target and of every table that goes with it, where they are missing, as the policy's
/// owner.
void make_archives(Definition& definition);

} // namespace pg_retention::server::define
