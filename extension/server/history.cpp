#include "extension/server/history.hpp"

#include "extension/boundary/spi.hpp"
#include "extension/core/statement.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/run.hpp"
#include "extension/server/store.hpp"

#include <algorithm>

namespace pg_retention::server::history {
namespace {

using boundary::Arg;
using boundary::Row;

/// Whether the preset, which is not stored, would remove anything.
bool is_due() {
  if (!store::has_column("surplus_runs", "id"))
    return false;
  const core::Policy preset = policy({});
  const Authority before = act_as_keeper();
  push_latest_snapshot();
  const Resolved resolved = resolve(preset);
  const auto found = boundary::single("SELECT 1 WHERE EXISTS (SELECT 1" + core::victims_source(resolved.rule) + ")",
                                      {Arg::time(cutoff_before_now(preset.expire_after, zone_of(preset), true))},
                                      boundary::View::as_pushed);
  pop_snapshot();
  give_back(before);
  return found.has_value();
}

} // namespace

core::Policy policy(const std::string& expire_after) {
  core::Policy policy;
  policy.name = policy.preset = policy_name;
  policy.expire_after = expire_after.empty() ? "400 days" : expire_after;
  policy.target = boundary::server([] { return get_relname_relid("run", get_namespace_oid("retention", false)); });
  policy.target_name = catalog::relation(policy.target, "retention.run").label();
  policy.expiry_expression =
      "CASE WHEN target.id IN (SELECT s.id FROM retention.surplus_runs AS s) THEN 'epoch'::pg_catalog.timestamptz "
      "WHEN target.success THEN target.finished "
      "ELSE target.finished + '1 year'::pg_catalog.interval END";
  policy.condition = "target.id NOT IN (SELECT n.id FROM retention.needed_runs AS n) AND (target.action <> 'archive' "
                     "OR target.affected = 0 OR NOT retention.has_archived_rows(target.id))";
  return policy;
}

void put_last(std::vector<std::string>& names) {
  const auto listed = std::find(names.begin(), names.end(), policy_name);
  if (listed != names.end())
    std::rotate(listed, listed + 1, names.end());
  else if (!store::load(policy_name) && is_due())
    names.emplace_back(policy_name);
}

bool has_archived_rows(std::int64_t run) {
  const boundary::Rows archives = as_keeper([&] {
    return boundary::query(
        "SELECT a.archive FROM (SELECT p.archive_to::pg_catalog.oid FROM retention.policy p "
        "JOIN retention.run r ON r.policy = p.name WHERE r.id = $1 UNION "
        "SELECT l.archive::pg_catalog.oid FROM retention.archive l "
        "JOIN retention.run r ON r.policy = l.policy WHERE r.id = $1) AS a (archive) WHERE a.archive IS NOT NULL",
        {Arg::of(run)});
  });
  return std::any_of(archives.begin(), archives.end(), [&](const Row& row) {
    const auto archive = catalog::find(static_cast<Oid>(std::stoul(*row[0])));
    if (!archive)
      return false;
    bool has_rows = true;
    (void)boundary::attempt([&] {
      const Authority owner = act_as(catalog::owner(archive->oid), "UTC");
      has_rows =
          boundary::single("SELECT 1 FROM " + archive->sql() + " WHERE retention_run_id = $1 LIMIT 1", {Arg::of(run)})
              .has_value();
      give_back(owner);
    });
    return has_rows;
  });
}

} // namespace pg_retention::server::history
