#pragma once
#include <cstddef>
#include <cstdint>

/// How large the next batch is, so that one takes about as long as it should.
namespace pg_retention::core {

class Pace {
public:
  /// A batch aims at `target_ms` milliseconds and has at most `most` rows.
  Pace(int target_ms, std::size_t most);

  [[nodiscard]] std::size_t next() const { return size_; }

  /// Learns from a batch of `rows` rows that took `microseconds`. Grows at most twofold at once, so that one lucky
  /// batch does not make the next a long one; shrinks as far as it must.
  void measured(std::size_t rows, std::int64_t microseconds);

private:
  std::int64_t target_;
  std::size_t most_, size_;
};

} // namespace pg_retention::core
