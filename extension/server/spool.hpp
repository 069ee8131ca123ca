#pragma once
#include "extension/boundary/postgres.hpp"
#include "extension/core/rows.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

/// A sequence of rows that is written once and read through from its beginning: in memory as far as it may be, the rest
/// in a temporary file that outlives transactions.
namespace pg_retention::server {

/// A row chosen at the start of a run: its place, who wrote it, and the chain that it hangs on.
struct Candidate {
  core::RowKey row;
  std::uint32_t xmin, chain;
};

class Spool {
public:
  /// Keeps about `memory` bytes at most. With `in_turns`, so many rows at a time are in the order of core/turns.hpp.
  explicit Spool(std::size_t memory, std::size_t in_turns = 0)
      : most_(std::max<std::size_t>(memory / sizeof(Candidate), 1024)), in_turns_(in_turns) {}
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  void add(const Candidate& candidate) { rows_.push_back(candidate); }
  /// Writes out what no longer may stay in memory; to be called now and then while adding.
  void settle();
  /// Ends the adding: what is in memory is brought in order, as each part that was written out.
  void close();

  [[nodiscard]] std::uint64_t size() const { return written_ + rows_.size(); }
  /// Bytes in use.
  [[nodiscard]] std::size_t memory() const { return rows_.capacity() * sizeof(Candidate); }
  /// The rows from `first` on, up to `most`; fewer only at the end.
  [[nodiscard]] std::vector<Candidate> read(std::uint64_t first, std::size_t most);

  /// Forgets everything and removes the file; to be called when the run ends, whatever way.
  void drop() noexcept;

private:
  std::size_t most_;
  std::size_t in_turns_;
  std::vector<Candidate> rows_; ///< the last ones
  BufFile* file_ = nullptr;     ///< those before
  std::uint64_t written_ = 0;

  void sort();
  void write_out();
};

} // namespace pg_retention::server
