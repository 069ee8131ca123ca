#pragma once
#include "extension/boundary/guard.hpp"

#include <string>

/// Whose rights the session acts with. Taken on purpose and given back on success; after an error the abort of the
/// (sub)transaction gives them back.
namespace pg_retention::server {

/// What was in force before.
struct Authority {
  Oid user;
  int security_context;
  int setting_level;
};

/// Acts as `role`, in a security-restricted operation, with settings that change the meaning of a statement fixed:
/// search_path to pg_catalog, the styles of dates and intervals, row_security to off (an error rather than hidden
/// rows), TimeZone to `zone`, lock_timeout to retention.lock_timeout where that is shorter.
[[nodiscard]] Authority act_as(Oid role, const std::string& zone);

/// Acts as the owner of the extension's own tables, for the store and the run log.
[[nodiscard]] Authority act_as_keeper();

/// Gives back what act_as took.
void give_back(const Authority& before);

/// Has statements planned to reach rows by their places or through indexes, never by a whole table where there is
/// another way, until plan_as_before(); an error on the way puts it back.
[[nodiscard]] int plan_without_whole_tables();
void plan_as_before(int level);

/// Does something that gives a value as the keeper.
template <class Body>
auto as_keeper(Body body) {
  const Authority before = act_as_keeper();
  auto result = body();
  give_back(before);
  return result;
}

/// The caller's role, and its name.
[[nodiscard]] Oid caller();
[[nodiscard]] std::string role_name(Oid role);

/// Throws Failure 42501 unless `role` may change `relation`'s rows in the given way (ACL_DELETE, ACL_UPDATE,
/// ACL_INSERT, ACL_SELECT) and, for `lock`, lock them.
void require(Oid role, Oid relation, AclMode mode, const std::string& label);
void require_row_lock(Oid role, Oid relation, const std::string& label);

/// Throws Failure 42501 unless the current user has the rights of `owner`.
void require_membership(Oid owner, const std::string& what);

} // namespace pg_retention::server
