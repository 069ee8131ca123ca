#include "extension/core/hold.hpp"

namespace pg_retention::core {

std::string hold_probe(const LegalHold& hold) {
  return "SELECT (" + hold.condition + "\n) FROM " + hold.relation.sql() + " AS target";
}

std::string held_rows_select(const LegalHold& hold) {
  return "SELECT target.tableoid, target.ctid FROM " + hold.relation.sql() +
         " AS target WHERE target.ctid = ANY ($1) AND (" + hold.condition + "\n)";
}

std::string referred_rows_select(const Bond& bond) {
  return "SELECT dependent.tableoid, dependent.ctid, target.tableoid, target.ctid FROM " + bond.child.sql() +
         " AS dependent JOIN " + (bond.is_key ? bond.parent.sql_only() : bond.parent.sql()) + " AS target ON (" +
         bond.condition + "\n) WHERE dependent.ctid = ANY ($1)";
}

std::uint32_t Clans::of(std::uint32_t table) const {
  for (auto found = next_.find(table); found != next_.end(); found = next_.find(table))
    table = found->second;
  return table;
}

void Clans::join(std::uint32_t heir, std::uint32_t table) {
  heir = of(heir);
  table = of(table);
  if (heir != table)
    next_[heir] = table;
}

namespace {

/// Follows bonds from group to group until nothing new comes; `step` says from which group to which one leads.
template <class Step>
TableSet follow(const std::vector<Bond>& bonds, TableSet groups, Step step) {
  for (std::size_t before = 0; before != groups.size();) {
    before = groups.size();
    for (const Bond& bond : bonds)
      if (const auto [from, to] = step(bond); groups.count(from) != 0)
        groups.insert(to);
  }
  return groups;
}

} // namespace

TableSet groups_that_refer(const std::vector<Bond>& bonds, const Clans& clans, TableSet groups) {
  return follow(bonds, std::move(groups),
                [&](const Bond& bond) { return std::pair(clans.of(bond.parent.oid), clans.of(bond.child.oid)); });
}

TableSet groups_referred_to(const std::vector<Bond>& bonds, const Clans& clans, TableSet groups) {
  return follow(bonds, std::move(groups),
                [&](const Bond& bond) { return std::pair(clans.of(bond.child.oid), clans.of(bond.parent.oid)); });
}

std::unordered_set<RowKey> Ancestry::held_among(const std::vector<RowKey>& rows) const {
  std::vector<bool> is_held(numbers_.size());
  std::vector<std::uint32_t> open = held_;
  while (!open.empty()) {
    const std::uint32_t row = open.back();
    open.pop_back();
    if (is_held[row])
      continue;
    is_held[row] = true;
    if (const auto found = children_.find(row); found != children_.end())
      open.insert(open.end(), found->second.begin(), found->second.end());
  }
  std::unordered_set<RowKey> held;
  for (const RowKey row : rows)
    if (is_held[number(row)])
      held.insert(row);
  return held;
}

} // namespace pg_retention::core
