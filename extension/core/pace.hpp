#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

/// How large the next batch is, so that one takes about as long as it should.
namespace pg_retention::core {

class Pace {
public:
  /// A batch aims at `target_ms` milliseconds and has at most `most` rows.
  Pace(int target_ms, std::size_t most);

  [[nodiscard]] std::size_t next() const { return size_; }

  /// Rows come in stretches that cost more and less in turn, as those of core/turns.hpp do: from now on a batch is at
  /// most half as large again as what lately fitted worst, so that the first of a dear stretch is no long one.
  void expect_stretches() { expects_stretches_ = true; }

  /// Learns from a batch of `rows` rows that took `microseconds`. Grows at most twofold at once, so that one lucky
  /// batch does not make the next a long one; shrinks as far as it must. Where a batch of any size takes more than half
  /// of the time (a table that is read whole for want of an index), the rows get as much time again, though the batch
  /// is longer then than it should be: so the sum of all batches stays within twice the work on the rows. Batches of
  /// the least size alone tell nothing of that; where there are no others, one in a while is twice as large.
  void measured(std::size_t rows, std::int64_t microseconds);

private:
  struct Batch {
    std::size_t rows;
    std::int64_t took;
  };
  std::int64_t target_;
  std::size_t most_, size_, worthwhile_ = 0;
  bool expects_stretches_ = false;
  double worst_;              ///< rows that fitted, the least of late
  std::vector<Batch> latest_; ///< the oldest first

  void weigh();
  [[nodiscard]] bool tells_nothing() const;
};

} // namespace pg_retention::core
