#include "extension/server/authority.hpp"

#include "extension/core/identifier.hpp"
#include "extension/server/settings.hpp"

namespace pg_retention::server {
namespace {

using boundary::server;
using core::Failure;

void set(const char* name, const char* value) {
  set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/// The shorter of the session's own lock_timeout and ours, 0 meaning none.
int shorter_timeout(int own, int ours) { return ours == 0 || (own > 0 && own < ours) ? own : ours; }

/// Settings by which SQL and values are read and written: a policy means the same whoever calls it.
constexpr const char* fixed_styles[][2] = {{"DateStyle", "ISO, MDY"},
                                           {"IntervalStyle", "postgres"},
                                           {"extra_float_digits", "1"},
                                           {"bytea_output", "hex"},
                                           {"standard_conforming_strings", "on"},
                                           {"array_nulls", "on"},
                                           {"xmlbinary", "base64"},
                                           {"xmloption", "content"},
                                           {"quote_all_identifiers", "off"}};

/// Switches user and opens a level of settings. Runs inside server().
Authority become(Oid role, int extra_flags) {
  Authority before{};
  GetUserIdAndSecContext(&before.user, &before.security_context);
  SetUserIdAndSecContext(role, before.security_context | SECURITY_LOCAL_USERID_CHANGE | extra_flags);
  before.setting_level = NewGUCNestLevel();
  set("search_path", "pg_catalog, pg_temp");
  for (const auto& [name, value] : fixed_styles)
    set(name, value);
  return before;
}

/// The owner of the schema retention. Runs inside server().
Oid keeper() {
  const Oid schema = get_namespace_oid("retention", false);
  HeapTuple const tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
  if (!HeapTupleIsValid(tuple))
    elog(ERROR, "cache lookup failed for schema retention");
  const Oid owner = reinterpret_cast<Form_pg_namespace>(GETSTRUCT(tuple))->nspowner;
  ReleaseSysCache(tuple);
  return owner;
}

std::string no_right(const char* what, const std::string& label) {
  return "permission denied to " + std::string(what) + " " + label;
}

} // namespace

Authority act_as(Oid role, const std::string& zone) {
  constexpr double dearest_jump = 2; // in pages read one after the other
  return server([&] {
    const Authority before = become(role, SECURITY_RESTRICTED_OPERATION);
    set("row_security", "off");
    // What runs once a batch would be compiled once a batch.
    set("jit", "off");
    set("TimeZone", zone.c_str());
    // The way through indexes costs what the victims cost; it must not be left for a table that is read whole in a
    // moment now, and in ten when it has grown.
    if (random_page_cost > dearest_jump * seq_page_cost) {
      char text[32];
      snprintf(text, sizeof text, "%.17g", dearest_jump * seq_page_cost);
      set("random_page_cost", text);
    }
    const int timeout = shorter_timeout(LockTimeout, settings::lock_timeout());
    if (timeout != LockTimeout) {
      char text[32];
      snprintf(text, sizeof text, "%dms", timeout);
      set("lock_timeout", text);
    }
    return before;
  });
}

Authority act_as_keeper() {
  return server([] { return become(keeper(), 0); });
}

int plan_without_whole_tables() {
  return server([] {
    const int level = NewGUCNestLevel();
    set("enable_seqscan", "off");
    return level;
  });
}

void plan_as_before(int level) {
  server([&] { AtEOXact_GUC(true, level); });
}

void give_back(const Authority& before) {
  server([&] {
    AtEOXact_GUC(false, before.setting_level);
    SetUserIdAndSecContext(before.user, before.security_context);
  });
}

Oid caller() {
  return server([] { return GetUserId(); });
}

std::string role_name(Oid role) {
  const char* name = server([&] { return static_cast<const char*>(GetUserNameFromId(role, true)); });
  return name != nullptr ? name : std::to_string(role);
}

void require(Oid role, Oid relation, AclMode mode, const std::string& label) {
  const bool allowed = server([&] { return pg_class_aclcheck(relation, role, mode) == ACLCHECK_OK; });
  if (allowed)
    return;
  const char* what = mode == ACL_DELETE   ? "delete from"
                     : mode == ACL_UPDATE ? "update"
                     : mode == ACL_INSERT ? "insert into"
                                          : "read";
  throw Failure(core::sqlstate::insufficient_privilege, no_right(what, label),
                "A policy runs with the rights of its owner, " + core::quote(role_name(role)) + ".",
                "Grant the right to that role, or make the policy as a role that has it.");
}

void require_row_lock(Oid role, Oid relation, const std::string& label) {
  const bool allowed = server([&] {
    return pg_class_aclcheck(relation, role, ACL_UPDATE) == ACLCHECK_OK ||
           pg_attribute_aclcheck_all(relation, role, ACL_UPDATE, ACLMASK_ANY) == ACLCHECK_OK;
  });
  if (allowed)
    return;
  throw Failure(core::sqlstate::insufficient_privilege, no_right("lock rows of", label),
                "A row that keeps or expires others is locked while they go, which needs UPDATE on one of its columns; "
                "the policy runs as " +
                    core::quote(role_name(role)) + ".",
                "GRANT UPDATE on " + label + " to that role.");
}

void require_membership(Oid owner, const std::string& what) {
  const bool allowed = server([&] { return has_privs_of_role(GetUserId(), owner); });
  if (!allowed)
    throw Failure(core::sqlstate::insufficient_privilege, "must be owner of " + what, "",
                  "It belongs to " + core::quote(role_name(owner)) + ".");
}

} // namespace pg_retention::server
