// What is shown while policies run, read from retention.progress by a connection of its own.
#pragma once

#include "connection.hpp"
#include "outcome.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace pg_retention::runner {

/// Shows how far the shares under way have come, on standard error: a bar that is written over on a terminal, lines
/// elsewhere. It never stops the work: where it cannot look, it says so once and is silent.
class Progress {
public:
  explicit Progress(Connection connection);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// A share has begun, on the connection that this process serves.
  void begun(const Share& share, int backend);
  /// The share that this process served has ended; a policy is shown until all its slices have.
  void ended(int backend, const Outcome& outcome);

  /// What becomes readable when the view has answered, or -1 while nothing is asked.
  [[nodiscard]] int descriptor() const;
  /// The time until the next look, or nothing while one is under way or none will be.
  [[nodiscard]] std::optional<std::chrono::milliseconds> due() const;
  /// Asks, takes in the answer, or shows it, whatever is due; does not wait.
  void attend();

private:
  using Clock = std::chrono::steady_clock;

  /// What the view says of one share.
  struct Look {
    std::int64_t rows = 0;
    double part_done = 0; ///< 0 to 1
    double rows_per_second = 0;
    std::optional<double> seconds_left;
  };

  /// A policy under way: what its ended slices did, and what the view last said of the others, by process.
  struct Standing {
    int shares = 1;
    int ended = 0;
    std::int64_t rows_of_ended = 0;
    std::map<int, Look> looks;
  };

  [[nodiscard]] static Look sum_of(const Standing& standing);
  void take_in(const Rows& rows);
  void show() const;

  Connection connection_;
  bool is_bar_;
  bool is_asked_ = false;
  bool is_silent_ = false;
  Clock::time_point next_look_;
  std::map<int, std::string> under_way_; ///< the policy that a process serves
  std::map<std::string, Standing> policies_;
};

} // namespace pg_retention::runner
