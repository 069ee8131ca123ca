#pragma once
#include "extension/core/rows.hpp"
#include "extension/core/statement.hpp"

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

/// Legal holds: the statements that find what they keep, and how far one reaches.
namespace pg_retention::core {

/// A hold that stands.
struct LegalHold {
  std::int64_t id = 0;
  Relation relation;
  std::string condition;       ///< SQL over target
  std::uint32_t role = 0;      ///< with whose rights it is judged
  bool as_table_owner = false; ///< which are those of the table's owner
  std::string zone;            ///< the time zone it is judged in
  std::string reason, until;

  /// For people: `hold 7 on public.users`.
  [[nodiscard]] std::string label() const { return "hold " + std::to_string(id) + " on " + relation.label(); }
};

/// SELECT of what a hold says of a row.
[[nodiscard]] std::string hold_probe(const LegalHold& hold);

/// SELECT of tableoid and ctid of the rows $1 (tid[]) that a hold names.
[[nodiscard]] std::string held_rows_select(const LegalHold& hold);

/// SELECT of the rows that the rows $1 (tid[]) hang on by `bond`: tableoid, ctid of child and of parent. Heirs of the
/// child's table count as if a foreign key were theirs, because a policy's path takes them for it.
[[nodiscard]] std::string referred_rows_select(const Bond& bond);

/// Tables that may hold each other's rows (partitions, heirs), told apart by one oid for each such group.
class Clans {
public:
  /// `heir` may hold rows of `table`.
  void join(std::uint32_t heir, std::uint32_t table);
  /// The group that a table is in.
  [[nodiscard]] std::uint32_t of(std::uint32_t table) const;

private:
  std::unordered_map<std::uint32_t, std::uint32_t> next_; ///< towards the group's own oid
};

using TableSet = std::unordered_set<std::uint32_t>;

/// The groups whose rows may refer, by one bond or over many, to rows of `groups`; those themselves included.
[[nodiscard]] TableSet groups_that_refer(const std::vector<Bond>& bonds, const Clans& clans, TableSet groups);

/// The groups whose rows may be referred to, by one bond or over many, by rows of `groups`; those themselves included.
[[nodiscard]] TableSet groups_referred_to(const std::vector<Bond>& bonds, const Clans& clans, TableSet groups);

/// Rows and what they refer to, at any depth; a row that refers to one under hold is under hold.
class Ancestry {
public:
  /// Takes a row in; true where it is new.
  bool add(RowKey row) { return numbers_.try_emplace(row, static_cast<std::uint32_t>(numbers_.size())).second; }
  /// Both known.
  void link(RowKey child, RowKey parent) { children_[number(parent)].push_back(number(child)); }
  void hold(RowKey row) { held_.push_back(number(row)); }
  [[nodiscard]] bool has(RowKey row) const { return numbers_.count(row) != 0; }

  /// Those of the rows that are held, by themselves or by what they refer to.
  [[nodiscard]] std::unordered_set<RowKey> held_among(const std::vector<RowKey>& rows) const;

private:
  std::unordered_map<RowKey, std::uint32_t> numbers_;
  std::unordered_map<std::uint32_t, std::vector<std::uint32_t>> children_;
  std::vector<std::uint32_t> held_;

  [[nodiscard]] std::uint32_t number(RowKey row) const { return numbers_.at(row); }
};

} // namespace pg_retention::core
