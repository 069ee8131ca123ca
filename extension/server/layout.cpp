#include "extension/server/layout.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/json.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/erase.hpp"
#include "extension/server/store.hpp"

#include <algorithm>

namespace pg_retention::server {
namespace {

using boundary::Arg;
using boundary::Row;
using boundary::Text;

bool is_same_or_part(const core::Relation& table, const core::Relation& whole) {
  return table.oid == whole.oid || (whole.oid != InvalidOid && catalog::inherits_from(table.oid, whole.oid));
}

Archived archived(const core::Relation& table, const core::Relation& archive) {
  Archived out{table, archive, {}, {}};
  for (const catalog::Column& column : catalog::columns(table.oid)) {
    const auto kept = catalog::column(archive, column.name);
    if (kept && !kept->is_generated)
      out.columns.push_back(column.name);
  }
  return out;
}

std::string hangs_as_json(const Archived& table) {
  std::vector<std::string> items;
  for (const Archived::Hang& hang : table.hangs)
    items.push_back(core::JsonObject()
                        .set("parent", static_cast<std::int64_t>(hang.parent))
                        .set("condition", hang.condition)
                        .set("key", hang.is_key)
                        .text());
  return "[" + core::join(items, ", ") + "]";
}

bool is_same(const Archived& a, const Archived& b) {
  return a.table.oid == b.table.oid && a.table.label() == b.table.label() && a.archive.oid == b.archive.oid &&
         (a.archive.oid == InvalidOid || a.archive.label() == b.archive.label()) && a.columns == b.columns &&
         hangs_as_json(a) == hangs_as_json(b);
}

bool is_same(const Layout& a, const Layout& b) {
  return a.owner == b.owner && std::equal(a.tables.begin(), a.tables.end(), b.tables.begin(), b.tables.end(),
                                          [](const Archived& x, const Archived& y) { return is_same(x, y); });
}

/// The table of an earlier day: by its oid where that still means it, else by its name. One of that name that is not
/// the owner's may be a stranger's, whose triggers must not see the rows.
core::Relation find_again(const Text& oid, const std::string& label, bool is_home, Oid owner) {
  core::Relation none;
  none.name = label;
  if (!oid)
    return none;
  const auto same = catalog::find(static_cast<Oid>(std::stoul(*oid)));
  if (same && (is_home || same->label() == label))
    return *same;
  const auto found = boundary::single(
      "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
      "WHERE pg_catalog.concat(n.nspname, '.', c.relname) = $1 AND c.relkind IN ('r', 'p') AND c.relowner = $2",
      {Arg::of(label), Arg::oid(owner)});
  return found ? catalog::relation(static_cast<Oid>(std::stoul(*found)), label) : none;
}

std::vector<Archived::Hang> hangs_of(const std::string& json) {
  std::vector<Archived::Hang> hangs;
  for (const Row& row : boundary::query("SELECT e->>'parent', e->>'condition', e->>'key' "
                                        "FROM pg_catalog.jsonb_array_elements($1::pg_catalog.jsonb) AS e",
                                        {Arg::of(json)}))
    hangs.push_back({std::stoul(*row[0]), *row[1], row[2] == "true"});
  return hangs;
}

} // namespace

std::size_t Layout::archived() const {
  return static_cast<std::size_t>(std::count_if(tables.begin(), tables.end(), [](const Archived& table) {
    return table.archive.oid != InvalidOid || !table.columns.empty();
  }));
}

std::size_t place_of(const Layout& layout, const core::Relation& table) {
  std::size_t place = 0;
  while (place < layout.tables.size() &&
         (layout.tables[place].columns.empty() || !is_same_or_part(table, layout.tables[place].table)))
    ++place;
  return place;
}

Layout layout_of(const std::string& policy, const Resolved& resolved) {
  Layout layout{policy, resolved.owner, {archived(resolved.rule.target, resolved.archive)}};
  for (const Edge& edge : resolved.edges)
    if (edge.action == EdgeAction::remove && place_of(layout, edge.bond.child) == layout.tables.size())
      layout.tables.push_back(archived(edge.bond.child, archive_of(edge.bond.child)));
  for (const Edge& edge : resolved.edges) {
    if (edge.action != EdgeAction::remove)
      continue;
    // A table without its archive has no place: the run itself will tell that it is missing.
    const std::size_t parent = place_of(layout, edge.bond.parent), child = place_of(layout, edge.bond.child);
    if (parent < layout.tables.size() && child < layout.tables.size())
      layout.tables[child].hangs.push_back({parent, edge.bond.condition, edge.bond.is_key});
  }
  for (const Edge& edge : resolved.edges)
    if (edge.action == EdgeAction::set_null || edge.action == EdgeAction::clear)
      layout.tables.push_back({edge.bond.child, {}, {}, {}});
  return layout;
}

void note_layout(const Layout& layout, std::int64_t run) {
  const std::string owner = role_name(layout.owner);
  const Authority before = act_as_keeper();
  const bool has_table = store::has_column("archive", "archive");
  const auto known = has_table ? layout_at(layout.policy, run) : std::nullopt;
  int position = 0;
  for (const Archived& table : layout.tables) {
    // The tables of 0.1.0, which an updated library may meet, have no place for it.
    if (!has_table || (known && is_same(*known, layout)))
      break;
    const bool has_archive = table.archive.oid != InvalidOid;
    const std::string name = table.table.label(), archive = table.archive.label(),
                      columns = core::array_text(table.columns), hangs = hangs_as_json(table);
    boundary::execute("INSERT INTO retention.archive VALUES ($1, $2, $3, $4::pg_catalog.regclass, $5, "
                      "$6::pg_catalog.regclass, $7, $8::pg_catalog.text[], $9::pg_catalog.jsonb, $10, $11, " +
                          store::here() + ") ON CONFLICT DO NOTHING",
                      {Arg::of(layout.policy), Arg::of(run), Arg::of(static_cast<std::int32_t>(position++)),
                       Arg::oid(table.table.oid), Arg::of(name),
                       has_archive ? Arg::oid(table.archive.oid) : Arg::null(OIDOID),
                       has_archive ? Arg::of(archive) : Arg::null(TEXTOID), Arg::of(columns), Arg::of(hangs),
                       Arg::oid(layout.owner), Arg::of(owner)});
  }
  give_back(before);
}

std::optional<Layout> layout_at(const std::string& policy, std::int64_t run) {
  const Authority before = act_as_keeper();
  Layout layout;
  layout.policy = policy;
  for (const Row& row : boundary::query(
           "SELECT a.relation::pg_catalog.oid, a.relation_name, a.archive::pg_catalog.oid, a.archive_name, a.columns, "
           "a.bonds, (a.system_identifier, a.database) = (" +
               store::here() +
               "), a.owner, (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = a.owner_name) "
               "FROM retention.archive a WHERE a.policy = $1 AND a.since = (SELECT pg_catalog.max(l.since) "
               "FROM retention.archive l WHERE l.policy = $1 AND l.since <= $2) ORDER BY a.position",
           {Arg::of(policy), Arg::of(run)})) {
    const bool is_home = row[6] == "t";
    const Text owner = is_home ? row[7] : row[8];
    layout.owner = owner ? static_cast<Oid>(std::stoul(*owner)) : InvalidOid;
    layout.tables.push_back({find_again(row[0], *row[1], is_home, layout.owner),
                             find_again(row[2], row[3].value_or(""), is_home, layout.owner), core::array_items(*row[4]),
                             hangs_of(*row[5])});
  }
  give_back(before);
  return layout.tables.empty() ? std::nullopt : std::optional(layout);
}

std::vector<std::string> archiving_policies() {
  std::vector<std::string> names;
  const Authority before = act_as_keeper();
  for (const Row& row : boundary::query("SELECT DISTINCT policy FROM retention.archive ORDER BY policy"))
    names.push_back(*row[0]);
  give_back(before);
  return names;
}

} // namespace pg_retention::server
