#pragma once
#include <cstdlib>

/// The server's headers, for the rooms above: nothing else in the project includes one. What differs between the
/// server's versions stands at the end, under one name for all; no other file asks for PG_VERSION_NUM.
extern "C" {
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/tablespace.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "executor/instrument.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/params.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "optimizer/optimizer.h"
#include "pgtime.h"
#include "replication/syncrep.h"
#include "storage/buffile.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/dest.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"
}
#undef _
#undef gettext
#undef ngettext
#undef dgettext

namespace pg_retention::boundary {

#if PG_VERSION_NUM >= 180000
/// SQL over `pg_constraint AS c`: whether the server keeps a key, and whether it is one with PERIOD.
inline constexpr const char *key_is_enforced = "c.conenforced", *key_is_temporal = "c.conperiod";
#else
inline constexpr const char *key_is_enforced = "true", *key_is_temporal = "false";
#endif

/// Whether an UPDATE returns rows.
inline bool has_returning(const UpdateStmt* update) {
#if PG_VERSION_NUM >= 180000
  return update->returningClause != nullptr;
#else
  return update->returningList != NIL;
#endif
}

/// Whether VACUUM may call visible to all what a snapshot that stands does not see.
inline bool may_outrun_snapshots() {
#if PG_VERSION_NUM >= 170000
  return false;
#else
  return OldSnapshotThresholdActive();
#endif
}

/// Looks at the parts of an expression, or of a query, until `look` says true. Runs inside server().
inline bool look_below(Node* node, bool (*look)(Node*, void*), void* context) {
  Query* const query = IsA(node, Query) ? castNode(Query, node) : nullptr;
#if PG_VERSION_NUM >= 160000
  return query != nullptr ? query_tree_walker(query, look, context, 0) : expression_tree_walker(node, look, context);
#else
  // Declared as before C had prototypes, and called as what it is.
  auto* const unsaid = reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(look));
  return query != nullptr ? query_tree_walker(query, unsaid, context, 0)
                          : expression_tree_walker(node, unsaid, context);
#endif
}

/// Whether rows of this shape have columns that are computed when they are read.
inline bool is_computed_when_read(TupleDesc shape) {
#if PG_VERSION_NUM >= 180000
  return shape->constr != nullptr && shape->constr->has_generated_virtual;
#else
  (void)shape;
  return false;
#endif
}

/// Whether a role may name what is in a schema. Runs inside server().
inline bool may_use_schema(Oid schema, Oid role) {
#if PG_VERSION_NUM >= 160000
  return object_aclcheck(NamespaceRelationId, schema, role, ACL_USAGE) == ACLCHECK_OK;
#else
  return pg_namespace_aclcheck(schema, role, ACL_USAGE) == ACLCHECK_OK;
#endif
}

/// Whether a statement that names a row by its place leaves alone a version that somebody wrote while it waited: minor
/// versions before these were not seen to do so. Runs inside server().
inline bool rechecks_places_now() {
  const int version = std::atoi(GetConfigOption("server_version_num", false, false));
  return version >= 180006 || (version < 180000 && version >= 170011) || (version < 160000 && version >= 150020);
}

} // namespace pg_retention::boundary
