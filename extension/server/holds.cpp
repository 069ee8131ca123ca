#include "extension/server/holds.hpp"

#include "extension/core/failure.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/hold_store.hpp"
#include "extension/server/parts.hpp"

#include <algorithm>
#include <unordered_map>

namespace pg_retention::server {
namespace {

using boundary::Arg;
using boundary::Row;
using core::Failure;
using core::RowKey;

/// The lock between those who place a hold and those who change rows: of its own kind, as a policy's.
void take_lock(LOCKMODE mode) {
  boundary::server([&] {
    LOCKTAG tag;
    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0x52484f4c, 0, 7);
    (void)LockAcquire(&tag, mode, false, false);
  });
}

/// Runs `body`; an error of it means that nobody can tell what is held. One that another try may not meet keeps its
/// SQLSTATE.
template <class Body>
void or_in_doubt(const std::string& what, const std::string& hint, Body body) {
  boundary::Caught caught;
  try {
    body();
    return;
  } catch (const boundary::ServerError& error) {
    if (boundary::detail::must_pass(error))
      throw;
    caught = boundary::describe(error);
  } catch (const Failure& failure) {
    caught = {failure.sqlstate(), failure.message(), failure.detail(), failure.hint()};
  }
  const bool is_passing = core::sqlstate::is_passing(caught.sqlstate);
  throw Failure(is_passing ? caught.sqlstate.c_str() : core::sqlstate::hold_in_doubt, what + ": " + caught.message,
                "Nothing goes while it is not known what is held." + (caught.detail.empty() ? "" : " " + caught.detail),
                hint);
}

/// Which tables may hold each other's rows, in the whole database.
core::Clans clans() {
  core::Clans clans;
  for (const Row& row :
       boundary::query("SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i JOIN "
                       "pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE c.relkind IN ('r', 'p', 'f')"))
    clans.join(static_cast<Oid>(std::stoul(*row[0])), static_cast<Oid>(std::stoul(*row[1])));
  return clans;
}

} // namespace

void keep_holds_as_they_are() {
  try {
    take_lock(ShareLock);
    return;
  } catch (const boundary::ServerError& error) {
    if (boundary::describe(error).sqlstate != core::sqlstate::lock_not_available)
      throw;
  }
  throw Failure(core::sqlstate::lock_not_available, "another session is placing a hold and has not committed it",
                "Nothing goes before it is known what is held.", "It ends with that session's transaction.");
}

void begin_placing_hold() { take_lock(ExclusiveLock); }

void LegalHolds::read(TimestampTz clock) {
  push_latest_snapshot();
  holds_ = hold_store::standing(clock);
  pop_snapshot();
  if (holds_.empty())
    return;
  clans_ = clans();
  for (const core::ForeignKey& key : catalog::foreign_keys())
    bonds_.push_back(core::bond_of(key));
}

LegalHolds::LegalHolds(const Resolved& resolved, TimestampTz clock) {
  read(clock);
  if (holds_.empty())
    return;
  core::TableSet touched{clans_.of(resolved.rule.target.oid)};
  for (const Edge& edge : resolved.edges) {
    touched.insert(clans_.of(edge.bond.child.oid));
    if (!edge.bond.is_key)
      bonds_.push_back(edge.bond);
  }
  reach_into_archives(touched);
  keep_within_reach(std::move(touched));
}

LegalHolds::LegalHolds(const std::vector<Oid>& tables, TimestampTz clock) {
  read(clock);
  core::TableSet touched;
  for (const Oid table : tables)
    touched.insert(clans_.of(table));
  if (!holds_.empty())
    keep_within_reach(std::move(touched));
}

/// Archived rows are under the holds that stand over the tables they came from, and refer to what they referred to
/// there, or to its archived rows.
void LegalHolds::reach_into_archives(const core::TableSet& touched) {
  std::vector<hold_store::Archive> archives = hold_store::archives();
  if (std::none_of(archives.begin(), archives.end(),
                   [&](const hold_store::Archive& each) { return touched.count(clans_.of(each.archive.oid)) != 0; }))
    return;
  for (std::size_t i = 0, n = holds_.size(); i < n; ++i)
    for (const hold_store::Archive& each : archives)
      if (clans_.of(each.table.oid) == clans_.of(holds_[i].relation.oid)) {
        core::LegalHold hold = holds_[i];
        hold.relation = each.archive;
        if (hold.as_table_owner)
          hold.role = catalog::owner(each.archive.oid);
        holds_.push_back(std::move(hold));
      }
  for (std::size_t i = 0, n = bonds_.size(); i < n; ++i)
    for (const hold_store::Archive& child : archives) {
      if (!bonds_[i].is_key || clans_.of(child.table.oid) != clans_.of(bonds_[i].child.oid))
        continue;
      core::Bond bond = bonds_[i];
      bond.child = child.archive;
      bonds_.push_back(bond);
      for (const hold_store::Archive& parent : archives)
        if (clans_.of(parent.table.oid) == clans_.of(bond.parent.oid))
          bonds_.push_back({bond.child, parent.archive, bond.condition, bond.columns, true});
    }
}

/// Leaves out what no row of the touched groups of tables can come under, and the bonds that lead nowhere.
void LegalHolds::keep_within_reach(core::TableSet touched) {
  core::TableSet held;
  touched = core::groups_referred_to(bonds_, clans_, std::move(touched));
  const auto is_out_of_reach = [&](const core::LegalHold& hold) {
    return touched.count(clans_.of(hold.relation.oid)) == 0;
  };
  holds_.erase(std::remove_if(holds_.begin(), holds_.end(), is_out_of_reach), holds_.end());
  for (const core::LegalHold& hold : holds_)
    held.insert(clans_.of(hold.relation.oid));
  held = core::groups_that_refer(bonds_, clans_, std::move(held));
  const auto leads_nowhere = [&](const core::Bond& bond) {
    return held.count(clans_.of(bond.parent.oid)) == 0 || touched.count(clans_.of(bond.child.oid)) == 0;
  };
  bonds_.erase(std::remove_if(bonds_.begin(), bonds_.end(), leads_nowhere), bonds_.end());
}

void LegalHolds::judge(const core::LegalHold& hold, const std::vector<RowKey>& rows, core::Leaves& leaves,
                       core::Ancestry& ancestry) const {
  const std::string id = std::to_string(hold.id);
  or_in_doubt(hold.label() + " cannot be judged",
              "See SELECT * FROM retention.holds WHERE id = " + id +
                  "; place it anew in another form, then SELECT retention.release_hold(" + id + ", '...').",
              [&] {
                if (!OidIsValid(hold.role))
                  throw Failure(core::sqlstate::undefined_object, "the role that placed it no longer exists");
                const Authority before = act_as(hold.role, hold.zone);
                // The statement knows places only: a place of another leaf may have come along.
                core::LegalHold part = hold;
                for (const Stretch& stretch : by_part(hold.relation, rows, leaves, {core::hold_probe(hold)})) {
                  part.relation = stretch.table;
                  for (const RowKey row : select_rows(core::held_rows_select(part), {tid_array(stretch.rows)}, leaves))
                    if (ancestry.has(row))
                      ancestry.hold(row);
                }
                give_back(before);
              });
}

/// Takes in what the rows hang on by one bond; what is new goes to `found`.
void LegalHolds::climb(const core::Bond& bond, const std::vector<RowKey>& rows, core::Leaves& leaves,
                       core::Ancestry& ancestry, std::vector<RowKey>& found) const {
  or_in_doubt("the holds on rows that " + bond.child.label() + " refers to cannot be followed",
              "The policy's owner needs SELECT on " + bond.child.label() + " and " + bond.parent.label() + ".", [&] {
                core::Bond part = bond;
                for (const Stretch& stretch : by_part(bond.child, rows, leaves, core::probes_of(bond))) {
                  part.child = stretch.table;
                  for (const Reference& reference :
                       select_references(core::referred_rows_select(part), {tid_array(stretch.rows)}, leaves)) {
                    if (!ancestry.has(reference.child))
                      continue;
                    if (ancestry.add(reference.parent))
                      found.push_back(reference.parent);
                    ancestry.link(reference.child, reference.parent);
                  }
                }
              });
}

std::unordered_set<RowKey> LegalHolds::held_among(const std::vector<RowKey>& rows, core::Leaves& leaves) const {
  if (holds_.empty() || rows.empty())
    return {};
  core::Ancestry ancestry;
  std::vector<RowKey> open;
  for (const RowKey row : rows)
    if (ancestry.add(row))
      open.push_back(row);
  push_latest_snapshot();
  while (!open.empty()) {
    std::unordered_map<Oid, std::vector<RowKey>> by_clan;
    for (const RowKey row : open)
      by_clan[clans_.of(leaves.oid(core::leaf_of(row)))].push_back(row);
    open.clear();
    for (const auto& [clan, members] : by_clan) {
      for (const core::LegalHold& hold : holds_)
        if (clans_.of(hold.relation.oid) == clan)
          judge(hold, members, leaves, ancestry);
      for (const core::Bond& bond : bonds_)
        if (clans_.of(bond.child.oid) == clan)
          climb(bond, members, leaves, ancestry, open);
    }
  }
  pop_snapshot();
  return ancestry.held_among(rows);
}

void LegalHolds::try_out() const {
  core::Leaves leaves;
  core::Ancestry ancestry;
  std::vector<RowKey> found;
  push_latest_snapshot();
  for (const core::LegalHold& hold : holds_)
    judge(hold, {}, leaves, ancestry);
  for (const core::Bond& bond : bonds_)
    climb(bond, {}, leaves, ancestry, found);
  pop_snapshot();
}

Cleared LegalHolds::clear(Selection& selection) const {
  std::vector<RowKey> rows;
  for (const Victim& victim : selection.victims)
    if (victim.fate == core::Fate::goes)
      rows.push_back(victim.key);
  if (const auto held = held_among(rows, selection.leaves); !held.empty())
    for (Victim& victim : selection.victims)
      if (victim.fate == core::Fate::goes && held.count(victim.key) != 0)
        victim.fate = core::Fate::held;
  return {};
}

} // namespace pg_retention::server
