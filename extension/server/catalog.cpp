#include "extension/server/catalog.hpp"

#include "extension/core/failure.hpp"

namespace pg_retention::server::catalog {
namespace {

using boundary::Arg;
using boundary::Row;
using boundary::server;
using core::Failure;

/// A name of the server's, copied; empty for nullptr.
std::string text(const char* name) { return name != nullptr ? name : ""; }

/// The short name of a type that holds time, the server's name for any other.
std::string type_name(Oid type) {
  switch (type) {
  case TIMESTAMPTZOID:
    return "timestamptz";
  case TIMESTAMPOID:
    return "timestamp";
  case DATEOID:
    return "date";
  case INT4OID:
    return "int4";
  case INT8OID:
    return "int8";
  case UUIDOID:
    return "uuid";
  default:
    return text(server([&] { return static_cast<const char*>(format_type_be(type)); }));
  }
}

[[noreturn]] void refuse(const core::Relation& relation, const std::string& what, const std::string& hint) {
  throw Failure(core::sqlstate::feature_not_supported, relation.label() + " is " + what,
                "Its rows cannot be found and removed safely by their physical place.", hint);
}

/// Whether a table of a distributed engine's own catalog lists the relation.
bool listed(const char* catalog_schema, const char* catalog_table, const std::string& lookup,
            const core::Relation& relation) {
  const Oid table = server([&] {
    const Oid schema = get_namespace_oid(catalog_schema, true);
    return OidIsValid(schema) ? get_relname_relid(catalog_table, schema) : InvalidOid;
  });
  if (!OidIsValid(table))
    return false;
  return boundary::single(lookup, {Arg::oid(relation.oid), Arg::of(relation.schema), Arg::of(relation.name)})
      .has_value();
}

core::ForeignKey foreign_key(const Row& row) {
  core::ForeignKey key;
  key.name = *row[0];
  key.child = {static_cast<Oid>(std::stoul(*row[1])), *row[2], *row[3], row[4]->front()};
  key.parent = {static_cast<Oid>(std::stoul(*row[5])), *row[6], *row[7], row[8]->front()};
  key.child_columns = core::array_items(*row[9]);
  key.parent_columns = core::array_items(*row[10]);
  key.operators = core::array_items(*row[11]);
  key.collations = core::array_items(*row[12]);
  key.on_delete = static_cast<core::OnDelete>(row[13]->front());
  key.is_temporal = row[14] == "t";
  return key;
}

} // namespace

std::optional<core::Relation> find(Oid oid) {
  struct Found {
    const char* schema;
    const char* name;
    char kind;
  };
  const Found found = server([&]() -> Found {
    const char* name = get_rel_name(oid);
    if (name == nullptr)
      return {nullptr, nullptr, 0};
    return {get_namespace_name(get_rel_namespace(oid)), name, get_rel_relkind(oid)};
  });
  if (found.name == nullptr || found.schema == nullptr)
    return std::nullopt;
  return core::Relation{oid, found.schema, found.name, found.kind};
}

core::Relation relation(Oid oid, const std::string& last_name) {
  if (auto found = find(oid))
    return *found;
  throw Failure(core::sqlstate::undefined_table, "table " + last_name + " no longer exists", "",
                "Point the policy at another table with retention.alter_policy, or remove it with "
                "retention.remove_policy.");
}

Oid on_search_path(const std::string& name) {
  return server([&] { return RelnameGetRelid(name.c_str()); });
}

void require_supported(const core::Relation& relation) {
  switch (relation.kind) {
  case 'r':
  case 'p':
    break;
  case 'v':
    refuse(relation, "a view", "Make the policy on the table that the view reads.");
  case 'm':
    refuse(relation, "a materialized view", "Make the policy on the tables it is made from and refresh it.");
  case 'f':
    refuse(relation, "a foreign table", "Install the extension where the table lives and make the policy there.");
  default:
    throw Failure(core::sqlstate::wrong_object_type, relation.label() + " is not a table");
  }
  if (relation.oid < FirstNormalObjectId || relation.schema == "pg_catalog" || relation.schema == "information_schema")
    refuse(relation, "a system catalog", "System catalogs are kept by the server itself.");
  const bool is_foreign_temp = server([&] { return isOtherTempNamespace(get_rel_namespace(relation.oid)); });
  if (is_foreign_temp)
    refuse(relation, "a temporary table of another session", "Only that session can reach it.");
  for (const core::Relation& leaf : leaves(relation))
    if (leaf.kind == 'f')
      refuse(relation, "a table with the foreign table " + leaf.label() + " as a part",
             "Detach it, or make the policy on the parts that live here.");
  if (listed("pg_catalog", "pg_dist_partition", "SELECT 1 FROM pg_catalog.pg_dist_partition WHERE logicalrelid = $1",
             relation))
    refuse(relation, "a distributed table of Citus", "Make the policy on the shards' own nodes.");
  if (listed("_timescaledb_catalog", "hypertable",
             "SELECT 1 FROM _timescaledb_catalog.hypertable WHERE schema_name = $2 AND table_name = $3", relation))
    refuse(relation, "a hypertable of TimescaleDB", "Use add_retention_policy of TimescaleDB, which drops its chunks.");
}

std::optional<ColumnType> column(const core::Relation& relation, std::string_view name) {
  const std::string wanted(name);
  struct Found {
    Oid type, base;
    bool is_generated;
    const char* name;
  };
  const Found found = server([&]() -> Found {
    const AttrNumber number = get_attnum(relation.oid, wanted.c_str());
    if (number <= 0)
      return {InvalidOid, InvalidOid, false, nullptr};
    Oid type = InvalidOid, collation = InvalidOid;
    int32 modifier = -1;
    get_atttypetypmodcoll(relation.oid, number, &type, &modifier, &collation);
    return {type, getBaseType(type), get_attgenerated(relation.oid, number) != '\0',
            format_type_with_typemod(type, modifier)};
  });
  if (!OidIsValid(found.type))
    return std::nullopt;
  return ColumnType{found.type, found.base, type_name(found.base), found.is_generated, text(found.name)};
}

ColumnType require_column(const core::Relation& relation, std::string_view name) {
  if (auto found = column(relation, name))
    return *found;
  throw Failure(core::sqlstate::undefined_column,
                "column " + core::quote(name) + " of " + relation.label() + " does not exist");
}

bool is_indexed(const core::Relation& relation, const std::string& column) {
  return boundary::single("SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = "
                          "i.indrelid AND a.attnum = ANY (i.indkey) "
                          "WHERE i.indrelid = $1 AND i.indisvalid AND a.attname = $2::pg_catalog.name LIMIT 1",
                          {Arg::oid(relation.oid), Arg::of(column)})
      .has_value();
}

bool is_nullable(const core::Relation& relation, const std::string& column) {
  return boundary::single(
             "SELECT 1 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid "
             "WHERE a.attrelid = $1 AND a.attname = $2::pg_catalog.name AND NOT a.attnotnull AND NOT t.typnotnull",
             {Arg::oid(relation.oid), Arg::of(column)})
      .has_value();
}

std::vector<core::Relation> leaves(const core::Relation& relation) {
  List* const found = server([&] { return find_all_inheritors(relation.oid, AccessShareLock, nullptr); });
  std::vector<core::Relation> tables;
  for (int i = 0; i < list_length(found); ++i) {
    const core::Relation table = catalog::relation(list_nth_oid(found, i), relation.label());
    // Another session's temporary heir is out of reach, for us as for any statement.
    const bool is_theirs = server([&] { return isOtherTempNamespace(get_rel_namespace(table.oid)); });
    if (table.kind != RELKIND_PARTITIONED_TABLE && !is_theirs)
      tables.push_back(table);
  }
  return tables;
}

std::vector<Column> columns(Oid relation) {
  std::vector<Column> columns;
  for (const Row& row :
       boundary::query("SELECT attname, pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute "
                       "WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                       {Arg::oid(relation)}))
    columns.push_back({*row[0], *row[1]});
  return columns;
}

bool has_triggers(const core::Relation& relation) {
  return boundary::single("WITH RECURSIVE " + std::string(below) +
                              " SELECT 1 FROM pg_catalog.pg_trigger t JOIN below ON t.tgrelid = below.oid "
                              "WHERE NOT t.tgisinternal LIMIT 1",
                          {Arg::oid(relation.oid)})
      .has_value();
}

bool sets_off_changes(const core::Relation& relation) {
  return has_triggers(relation) ||
         boundary::single(
             "WITH RECURSIVE " + std::string(below) + ", " + below_or_above +
                 " SELECT 1 FROM pg_catalog.pg_rewrite r JOIN tree ON r.ev_class = tree.oid UNION ALL "
                 "SELECT 1 FROM pg_catalog.pg_constraint c JOIN tree ON c.conrelid = tree.oid WHERE c.contype = "
                 "'f' AND c.confrelid IN (SELECT oid FROM tree) AND c.confupdtype IN ('c', 'n', 'd') LIMIT 1",
             {Arg::oid(relation.oid)})
             .has_value();
}

std::string shape(Oid relation) {
  return boundary::single("SELECT pg_catalog.string_agg(pg_catalog.concat_ws(':', attrelid, attnum, attname, atttypid, "
                          "atttypmod, attcollation), ',' ORDER BY attnum) FROM pg_catalog.pg_attribute "
                          "WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped",
                          {Arg::oid(relation)})
      .value_or("");
}

core::TimeColumn time_column(const core::Relation& relation, const std::string& column, core::TimeUnit unit,
                             const std::string& zone) {
  core::TimeColumn time;
  time.column = column;
  time.kind = core::time_kind(require_column(relation, column).base_name, unit, column);
  time.unit = unit;
  time.zone = zone;
  return time;
}

std::vector<core::ForeignKey> foreign_keys() {
  // A partition's copy of its parent's key has conparentid set and says nothing new. The ON DELETE of a key that is not
  // enforced never happens.
  static const std::string sql = R"(
    SELECT c.conname, c.conrelid, cn.nspname, cr.relname, cr.relkind, c.confrelid, pn.nspname, pr.relname, pr.relkind,
           (SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.n) FROM pg_catalog.unnest(c.conkey) WITH ORDINALITY k (no, n)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.no),
           (SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.n) FROM pg_catalog.unnest(c.confkey) WITH ORDINALITY k (no, n)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.no),
           (SELECT pg_catalog.array_agg(pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname) ORDER BY k.n)
              FROM pg_catalog.unnest(c.conpfeqop) WITH ORDINALITY k (no, n)
              JOIN pg_catalog.pg_operator o ON o.oid = k.no JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace),
           (SELECT pg_catalog.array_agg(CASE WHEN a.attcollation <> p.attcollation AND l.oid IS NOT NULL
                                             THEN pg_catalog.format('%I.%I', n.nspname, l.collname) ELSE '' END ORDER BY k.n)
              FROM ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey)) WITH ORDINALITY k (child, parent, n)
              JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.child
              JOIN pg_catalog.pg_attribute p ON p.attrelid = c.confrelid AND p.attnum = k.parent
              LEFT JOIN pg_catalog.pg_collation l ON l.oid = p.attcollation LEFT JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace),
           CASE WHEN )" + std::string(boundary::key_is_enforced) +
                                 R"( THEN c.confdeltype ELSE 'a' END, )" + boundary::key_is_temporal + R"(
      FROM pg_catalog.pg_constraint c
      JOIN pg_catalog.pg_class cr ON cr.oid = c.conrelid JOIN pg_catalog.pg_namespace cn ON cn.oid = cr.relnamespace
      JOIN pg_catalog.pg_class pr ON pr.oid = c.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = pr.relnamespace
     WHERE c.contype = 'f' AND c.conparentid = 0
     ORDER BY cn.nspname, cr.relname, c.conname)";
  std::vector<core::ForeignKey> keys;
  for (const Row& row : boundary::query(sql))
    keys.push_back(foreign_key(row));
  return keys;
}

namespace {

/// The columns of the first of a table's indexes that satisfies `term`, SQL over `pg_index AS i`.
std::vector<std::string> columns_of_index(Oid relation, const std::string& term) {
  const auto found = boundary::single(R"(
    SELECT (SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.n) FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k (no, n)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.no WHERE k.n <= i.indnkeyatts)
      FROM pg_catalog.pg_index i WHERE i.indrelid = $1 AND )" +
                                          term + " ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1",
                                      {Arg::oid(relation)}, boundary::View::as_pushed);
  return found ? core::array_items(*found) : std::vector<std::string>{};
}

} // namespace

std::vector<std::string> key_columns(Oid relation) {
  return columns_of_index(relation, R"(i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.unnest(i.indkey::int2[]) k (no)
                        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.no WHERE NOT a.attnotnull))");
}

std::vector<std::string> primary_key(Oid relation) { return columns_of_index(relation, "i.indisprimary"); }

bool inherits_from(Oid leaf, Oid root) {
  return leaf != root && server([&] { return typeInheritsFrom(get_rel_type_id(leaf), get_rel_type_id(root)); });
}

bool share_rows(Oid a, Oid b) { return a == b || inherits_from(a, b) || inherits_from(b, a); }

namespace {

bool is_partition(Oid relation) {
  return server([&] { return get_rel_relispartition(relation); });
}

} // namespace

std::vector<Oid> partition_ancestors(Oid relation) {
  std::vector<Oid> found;
  if (!is_partition(relation))
    return found;
  for (const Row& row : boundary::query(
           "SELECT a.relid::pg_catalog.oid FROM pg_catalog.pg_partition_ancestors($1) a WHERE a.relid <> $1",
           {Arg::oid(relation)}))
    found.push_back(static_cast<Oid>(std::stoul(*row[0])));
  return found;
}

std::vector<Oid> relatives(Oid relation) {
  std::vector<Oid> found = partition_ancestors(relation);
  for (const Row& row :
       boundary::query("WITH RECURSIVE heirs (oid) AS (SELECT $1 UNION SELECT i.inhrelid FROM heirs h JOIN "
                       "pg_catalog.pg_inherits i ON i.inhparent = h.oid) SELECT oid FROM heirs",
                       {Arg::oid(relation)}))
    found.push_back(static_cast<Oid>(std::stoul(*row[0])));
  return found;
}

core::Relation root_of(const core::Relation& relation) {
  if (!is_partition(relation.oid))
    return relation;
  const auto root =
      boundary::single("SELECT pg_catalog.pg_partition_root($1)::pg_catalog.oid", {Arg::oid(relation.oid)});
  return root ? catalog::relation(static_cast<Oid>(std::stoul(*root)), relation.label()) : relation;
}

bool is_open(Oid relation, AclMode mode) {
  return server([&] {
    return pg_class_aclmask(relation, GetUserId(), mode, ACLMASK_ALL) == mode &&
           boundary::may_use_schema(get_rel_namespace(relation), GetUserId()) &&
           check_enable_rls(relation, InvalidOid, true) != RLS_ENABLED;
  });
}

std::string rows_of_leaf(const core::Relation& leaf, const std::string& alias, const std::string& before_condition) {
  const core::Relation root = is_open(leaf.oid, ACL_SELECT) ? leaf : root_of(leaf);
  if (root.oid == leaf.oid)
    return "ONLY " + leaf.sql() + " AS " + alias + " " + before_condition + " ";
  return root.sql() + " AS " + alias + " " + before_condition + " " + alias +
         ".tableoid = " + std::to_string(leaf.oid) + " AND ";
}

bool watches_statements(const core::Relation& relation) {
  return boundary::single(
             "SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid = $1 AND (c.relhasrules OR EXISTS (SELECT 1 FROM "
             "pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND t.tgtype & 1 = 0 AND t.tgenabled <> 'D'))",
             {Arg::oid(relation.oid)})
      .has_value();
}

Oid owner(Oid relation) {
  return server([&] {
    HeapTuple const tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
    if (!HeapTupleIsValid(tuple))
      elog(ERROR, "cache lookup failed for relation %u", relation);
    const Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
    ReleaseSysCache(tuple);
    return owner;
  });
}

std::string extension_schema() {
  const auto name =
      boundary::single("SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON "
                       "n.oid = e.extnamespace WHERE e.extname = 'pg_retention'");
  return core::quote_identifier(name.value_or("public"));
}

} // namespace pg_retention::server::catalog
