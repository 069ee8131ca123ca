#pragma once
#include "extension/boundary/spi.hpp"
#include "extension/core/rows.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/select.hpp"

#include <cstdint>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

/// Rows that a run could not remove (G13): found alone, told in retention.failure, left out for a growing while, then
/// tried again.
namespace pg_retention::server {

/// Whether an error that was met while rows were judged or changed may be the doing of single rows. It is not where the
/// statement as a whole, the server or the neighbours are at fault: those errors meet every row, or none the next time.
[[nodiscard]] bool may_be_of_rows(const std::string& sqlstate) noexcept;

/// What retention.failure says of one policy, held against the rows as they are.
class Failures {
public:
  explicit Failures(std::string policy) : policy_(std::move(policy)) {}

  /// Whether there is a place for them: an updated library may meet the tables of an earlier version.
  [[nodiscard]] static bool are_kept();

  /// Reads the entries. To be called as the keeper's caller; the other steps follow in this order.
  void load();
  /// Finds their rows, as the policy's owner, and judges them. Never fails for a row.
  void find(const Resolved& resolved, TimestampTz cutoff, core::Leaves& leaves);
  /// Removes entries of rows that are gone or no victims any more, and of blocks that can be read again.
  void forget_solved();

  [[nodiscard]] bool is_empty() const { return entries_.empty(); }
  /// How many rows were left out when the run began.
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  /// Whether a row is left out: its pause is not over, or it failed in this run.
  [[nodiscard]] bool waits(core::RowKey row) const { return !waiting_.empty() && waiting_.count(row) != 0; }
  /// Takes rows that wait out of a list, and tells how many.
  [[nodiscard]] std::size_t leave_out(std::vector<Victim>& victims) const;
  [[nodiscard]] std::size_t leave_out(std::vector<core::RowKey>& rows) const;
  void wait_for(core::RowKey row) { waiting_.insert(row); }
  /// Places that must not even be read: rows that cannot be judged, and whole blocks (offset 0).
  [[nodiscard]] const std::set<core::RowKey>& unreadable() const { return unreadable_; }

  /// The key of a row as JSON: its key columns, or its place where the table has no key or the key cannot be read;
  /// empty where there is no such row. Runs as the policy's owner.
  [[nodiscard]] static std::string key_of(core::RowKey row, const core::Leaves& leaves);
  /// Writes that a row failed, under its key, and when it shall be tried again.
  void record(std::int64_t run, Oid leaf, const std::string& key, const boundary::Caught& fault) const;

private:
  struct Entry {
    std::int64_t id;
    Oid relation;
    std::string key; ///< JSON
    bool waits;
    bool is_solved = false;
    core::RowKey row = 0;
  };
  std::string policy_;
  std::vector<Entry> entries_;
  std::unordered_set<core::RowKey> waiting_;
  std::set<core::RowKey> unreadable_;

  using Some = std::vector<Entry*>;
  void find_in_leaf(const core::Relation& leaf, std::uint16_t number, const Some& entries, Some& found);
  void find_by_key(const core::Relation& leaf, std::uint16_t number, const Some& entries, Some& found) const;
  void judge(const Resolved& resolved, TimestampTz cutoff, core::Leaves& leaves, const Some& found);
};

/// Ends the pauses of a policy's rows, or of all: the next run tries them. Returns how many there were.
std::uint64_t end_pauses(const boundary::Text& policy);

/// Deletes what retention.failure says of a policy; part of removing it.
void forget_failures(const std::string& policy);

} // namespace pg_retention::server
