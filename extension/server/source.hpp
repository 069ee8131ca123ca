#pragma once
#include "extension/core/chains.hpp"
#include "extension/core/slice.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/scan.hpp"
#include "extension/server/spool.hpp"

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

/// Where the rows of a committed run come from, batch by batch. A source never begins again at the start.
namespace pg_retention::server {

class Source {
public:
  virtual ~Source() = default;

  /// Appends victims under the active snapshot, up to `most`, and moves on. It may give fewer, or none, long before the
  /// end, so that the caller can look at the clock.
  virtual void read(std::size_t most, std::vector<Victim>& victims) = 0;
  [[nodiscard]] virtual bool at_end() const = 0;

  /// Where it stands, for coming back when a batch is undone.
  [[nodiscard]] virtual std::uint64_t position() const = 0;
  virtual void go_back(std::uint64_t position) = 0;

  /// After a read that raised an error: the next one takes in less. False where it cannot: the place that it begins at
  /// is the one that cannot be read.
  [[nodiscard]] virtual bool narrow() = 0;
  /// That place, offset 0 standing for a whole block; and going on behind it.
  [[nodiscard]] virtual core::RowKey spot() = 0;
  virtual void skip() = 0;
  /// Places that must not be read.
  virtual void leave_out(const std::set<core::RowKey>&) {}

  /// The schema has changed: leaves that are not among these any more are left alone, others have these names.
  virtual void keep_leaves(const std::vector<core::Relation>& leaves) = 0;
  /// The run has written row versions with this transaction id, which are not victims anew.
  virtual void note_written(TransactionId) {}

  /// The part that lies behind, from 0 to 1.
  [[nodiscard]] virtual double share() const = 0;
  /// How many victims there are in all, where that is known.
  [[nodiscard]] virtual std::optional<std::uint64_t> expected() const { return std::nullopt; }
};

/// The target's blocks in order, leaf by leaf. With chains, a row's key is looked up in them; without, the rule's own
/// statement judges the rows of each range.
class BlockSource final : public Source {
public:
  BlockSource(const core::Rule& rule, TimestampTz cutoff, core::Leaves& leaves, core::Slice slice,
              const core::Chains* chains);

  void read(std::size_t most, std::vector<Victim>& victims) override;
  [[nodiscard]] bool at_end() const override { return leaf_ == ranges_.size(); }
  [[nodiscard]] std::uint64_t position() const override { return (std::uint64_t{leaf_} << 48) | at_; }
  void go_back(std::uint64_t position) override;
  [[nodiscard]] bool narrow() override;
  [[nodiscard]] core::RowKey spot() override;
  void skip() override;
  void leave_out(const std::set<core::RowKey>& spots) override { spots_ = spots; }
  void keep_leaves(const std::vector<core::Relation>& leaves) override;
  void note_written(TransactionId xid) override { written_.insert(xid); }
  [[nodiscard]] double share() const override;

private:
  struct Range {
    core::Relation leaf;
    std::uint16_t number;
    BlockNumber blocks; ///< when the run began; rows of later blocks are the next run's
  };
  core::Rule rule_;
  TimestampTz cutoff_;
  core::Leaves& leaves_;
  core::Slice slice_;
  const core::Chains* chains_;
  std::string column_; ///< of the target: with chains, the key
  Oid type_ = InvalidOid;
  std::vector<Range> ranges_;
  std::uint64_t blocks_ = 0;     ///< of all leaves
  std::size_t leaf_ = 0;         ///< where it stands: index into ranges_, and the place in it
  core::RowKey at_ = 0;          ///< block and offset
  BlockNumber stride_;           ///< blocks a read
  std::uint32_t rows_ = 0;       ///< places a read, where a block is read in parts; 0: whole blocks
  std::set<core::RowKey> spots_; ///< left out: rows, and blocks as offset 0
  std::unordered_set<TransactionId> written_;

  void skip_to_slice();
  [[nodiscard]] core::RowKey end_of_read() const;
  [[nodiscard]] bool hops_over_spot(core::RowKey& end);
  [[nodiscard]] bool read_keys(const Range& range, core::RowKey end, std::size_t most, std::vector<Victim>& victims);
  [[nodiscard]] bool read_statement(const Range& range, core::RowKey end, std::size_t most,
                                    std::vector<Victim>& victims);
};

/// A list of rows chosen at the start, each as the version that was judged then: one that changed since has the fate
/// that tells so.
class ListSource final : public Source {
public:
  ListSource(Spool& spool, const core::Leaves& leaves);

  void read(std::size_t most, std::vector<Victim>& victims) override;
  [[nodiscard]] bool at_end() const override { return next_ >= spool_.size(); }
  [[nodiscard]] std::uint64_t position() const override { return next_; }
  void go_back(std::uint64_t position) override { next_ = position; }
  [[nodiscard]] bool narrow() override;
  [[nodiscard]] core::RowKey spot() override { return spool_.read(next_, 1).at(0).row; }
  void skip() override { ++next_; }
  void keep_leaves(const std::vector<core::Relation>& leaves) override;
  [[nodiscard]] double share() const override;
  [[nodiscard]] std::optional<std::uint64_t> expected() const override { return spool_.size(); }

private:
  Spool& spool_;
  const core::Leaves& leaves_;
  std::vector<Oid> files_; ///< by leaf, when the list was made
  std::uint64_t next_ = 0;
  std::size_t most_ = SIZE_MAX; ///< rows a read
};

} // namespace pg_retention::server
