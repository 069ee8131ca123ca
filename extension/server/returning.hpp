#pragma once
#include "extension/core/restoration.hpp"
#include "extension/core/reunion.hpp"
#include "extension/server/holds.hpp"
#include "extension/server/layout.hpp"
#include "extension/server/select.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

/// The rows of one run on their way from the archives to their tables.
namespace pg_retention::server {

/// Why rows stay.
struct Reason {
  std::string sqlstate, message;
};

/// Rows of one table that stay for one reason.
struct Unrestored {
  std::uint64_t rows = 0;
  std::string message, sample_keys; ///< the first message; a JSON array
};

/// With the rights of the policy's owner, who must be in force.
class Returning {
public:
  /// Finds the tables, the rows, and how they belong together. Throws Failure for what makes all of it impossible.
  Returning(const Layout& layout, std::int64_t run, bool is_partial);

  /// Puts back what fits.
  void run();

  /// Rows of the target that a hold keeps in the archive; they stay.
  [[nodiscard]] std::uint64_t held() const { return held_count_; }
  /// By place in the layout: rows put back, rows that stay, and those of them that somebody was in the way of.
  [[nodiscard]] const std::vector<std::uint64_t>& returned() const { return returned_; }
  [[nodiscard]] const std::vector<std::uint64_t>& staying() const { return staying_; }
  [[nodiscard]] const std::vector<std::uint64_t>& locked() const { return locked_; }
  /// What stays, by table and SQLSTATE.
  [[nodiscard]] const std::map<std::pair<std::string, std::string>, Unrestored>& unrestored() const {
    return unrestored_;
  }

private:
  /// A table of the layout as it is now.
  struct Place {
    const Archived& was;
    std::vector<std::string> columns; ///< that table and archive have, and that can be written
    std::uint32_t unfit = core::Reunion::none;
  };

  const Layout& layout_;
  std::int64_t run_;
  bool is_partial_;
  core::Leaves leaves_;
  std::vector<Place> places_;
  std::vector<std::size_t> place_of_leaf_;
  std::vector<Reason> reasons_;
  std::optional<core::Reunion> rows_;
  std::uint32_t orphaned_ = core::Reunion::none, held_ = core::Reunion::none;
  std::uint64_t held_count_ = 0;
  std::vector<std::uint64_t> returned_, staying_, locked_;
  std::map<std::pair<std::string, std::string>, Unrestored> unrestored_;

  [[nodiscard]] std::uint32_t reason(const std::string& sqlstate, const std::string& message);
  void prepare(const Archived& table);
  void find_rows();
  void link_rows();
  void link_by_keys_of_today();
  [[nodiscard]] std::optional<boundary::Caught> link(std::size_t child, std::size_t parent,
                                                     const std::string& condition);
  void refuse_held(const LegalHolds& holds);
  void refuse_rows();
  void refuse(const std::string& sql, std::uint32_t why);
  void refuse_lost_columns(const Place& place);
  void refuse_altered_values(const Place& place);
  void refuse_nulls(const Place& place);
  void refuse_by_checks(const Place& place);
  void refuse_taken_keys(const Place& place);
  void refuse_strays(const Place& place);
  void refuse_orphans(std::size_t place);
  [[nodiscard]] core::Relation archive_at(std::size_t place) const;
  void try_units(std::uint32_t first, std::uint32_t last);
  void put_back(const std::vector<std::uint32_t>& units);
  void count();
  void list(std::size_t place, std::uint32_t why, const std::vector<core::RowKey>& sample, std::uint64_t rows);
};

} // namespace pg_retention::server
