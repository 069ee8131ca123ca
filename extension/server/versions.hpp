#pragma once
#include "extension/core/chains.hpp"
#include "extension/server/alone.hpp"
#include "extension/server/select.hpp"

#include <vector>

/// Looking at versions of rows without locking them: whether they are still the ones that were judged, and whether
/// somebody is changing them. Only for tables of the access method heap.
namespace pg_retention::server {

/// Whether the rows of a table may be looked at like this: it is of the access method heap.
[[nodiscard]] bool has_versions(Oid table);

/// Whether that holds for every table that the rows are in.
[[nodiscard]] bool have_versions(const std::vector<core::RowKey>& rows, const core::Leaves& leaves);

/// Looks at rows that the active snapshot sees, and gives each that goes a fate: `goes` for the newest version, which
/// nobody is changing or holding; `locked`, `changed`, `gone`. The rows are in physical order.
void look_at_victims(Selection& selection);

/// The same for a list of rows; with `xmins`, a row must also be the version that this transaction wrote, and the
/// active snapshot need not see it. Of a row that was updated, `rows` then has the place of the next version.
[[nodiscard]] std::vector<core::Fate> look_at_rows(std::vector<core::RowKey>& rows,
                                                   const std::vector<std::uint32_t>* xmins, const core::Leaves& leaves);

/// Follows rows that were updated to their present versions.
void follow_versions(std::vector<core::RowKey>& rows, const core::Leaves& leaves);

/// The file that a table's rows are in, another once the table is rewritten; InvalidOid for no table.
[[nodiscard]] Oid file_of(Oid leaf);

/// A watch over chains: which of those that a batch relies on are still as they were judged. It never waits, locks
/// nothing, and writes nothing: a page whose stamp has not changed has its rows unchanged, and only others are read;
/// none is where nobody else has written since all were looked at.
class Watch {
public:
  /// To be made in the transaction that read the chains.
  Watch(core::Chains& chains, const core::Leaves& leaves);

  /// Begins a batch: nothing is relied on. Where the last one relied on most pages, all of them are looked at from now
  /// on, which is less work than to tell them apart. `leaves_them_alone`: the batch itself changes no row that is
  /// watched, and sets off no such change.
  void begin_batch(bool leaves_them_alone);
  /// Relies on a chain.
  void rely_on(std::uint32_t chain) {
    if (is_whole_ || relied_[chain] == epoch_)
      return;
    relied_[chain] = epoch_;
    note_pages(chain);
  }
  /// Looks at the pages that were relied on since the last call; rows that changed lose their chains' trust. True where
  /// none of the run has so far.
  bool look_at_new();
  /// Looks at all of them again; false where a row on them has changed, which may be one that nothing relied on.
  [[nodiscard]] bool holds();
  /// To be called right before the batch is committed.
  void end_batch() { (void)alone_.still(); }

private:
  core::Chains& chains_;
  const core::Leaves& leaves_;
  std::uint32_t epoch_ = 0;
  std::vector<std::uint32_t> relied_; ///< by chain: the last batch that relied on it
  std::vector<Oid> files_;            ///< by leaf: its file, another once the table is rewritten
  struct PageOf {
    std::uint32_t step, page;
  };
  std::vector<PageOf> pages_; ///< of this batch
  std::size_t looked_ = 0;    ///< so many of them were looked at
  bool is_whole_ = false;     ///< pages_ has every page, in order
  bool has_lost_ = false;     ///< whether any row has ever changed
  Alone alone_;
  bool is_known_ = false; ///< whether every page was looked at since alone_ began

  void note_pages(std::uint32_t chain);
  [[nodiscard]] bool is_undisturbed() { return is_known_ = is_known_ && alone_.still(); }
  [[nodiscard]] bool look(std::size_t first);
};

} // namespace pg_retention::server
