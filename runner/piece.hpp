// A share of the work on its way: the tasks that do it, and what they tell of it.
#pragma once

#include "jobs.hpp"
#include "outcome.hpp"

#include <chrono>
#include <memory>
#include <string>

namespace pg_retention::runner {

/// A share of the work and how far it is.
struct Piece {
  /// `unclear` is what a lost connection leaves: another one may be asked what had been committed.
  enum class State { waiting, under_way, unclear, asking, ended };

  Share share;
  std::string target; ///< two pieces of one target take turns
  State state = State::waiting;
  std::chrono::steady_clock::time_point begun;
  int backend = 0; ///< the server's process that was asked to do it
  Outcome outcome;
  bool is_said = false; ///< its failure has been shown
};

/// Who is told what becomes of the pieces.
class Watcher {
public:
  virtual ~Watcher() = default;
  virtual void began(Piece& piece, int backend) = 0;
  /// The server refused, or gave up, the run; its outcome is the watcher's to word.
  virtual void failed(Piece& piece, const ServerError& failure) = 0;
  virtual void lost(Piece& piece, const ConnectionLost& loss) = 0;
  /// The task is over; the piece is `ended`, or `unclear` where its connection is gone. `backend` is 0 after a
  /// question.
  virtual void ended(Piece& piece, int backend) = 0;
};

/// Runs a piece; after a failure, asks what had been committed by then.
[[nodiscard]] std::unique_ptr<Task> run_task(Piece& piece, bool single_transaction, Watcher& watcher);

/// Asks on another connection what a piece had committed whose own connection is gone. Its process, which may not have
/// seen that, is ended before: what is told then stays true.
[[nodiscard]] std::unique_ptr<Task> ask_task(Piece& piece, Watcher& watcher);

} // namespace pg_retention::runner
