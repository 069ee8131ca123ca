#include "piece.hpp"

#include "signals.hpp"

#include <optional>
#include <utility>

namespace pg_retention::runner {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view query_canceled = "57014";
constexpr int most_tries = 3;

/// Seconds since a piece was begun, and some more: the server's clock is read a little later than ours.
double seconds_since(const Piece& piece) {
  return std::chrono::duration<double>(Clock::now() - piece.begun).count() + 1;
}

/// Adds what a run had committed to an outcome that says how it ended.
void complete(Outcome& outcome, const Rows& rows, const Share& share) {
  if (rows.count() == 0)
    return;
  Outcome recorded = outcome_of(rows, share);
  recorded.success = false;
  recorded.message = outcome.message;
  recorded.sqlstate = outcome.sqlstate;
  recorded.error_detail = outcome.error_detail;
  outcome = std::move(recorded);
}

/// Runs one piece: the call, then its result taken apart; after a failure, what had been committed by then.
class RunTask : public Task {
public:
  RunTask(Piece& piece, bool single_transaction, Watcher& watcher)
      : piece_(piece), single_transaction_(single_transaction), watcher_(watcher) {}

  Statement begin(const Connection& connection) override {
    piece_.backend = connection.backend();
    piece_.begun = Clock::now();
    watcher_.began(piece_, piece_.backend);
    step_ = single_transaction_ ? Step::read : Step::call;
    return single_transaction_ ? apply_statement(piece_.share.policy) : run_statement(piece_.share);
  }

  std::optional<Statement> answered(const Rows& rows) override {
    if (step_ == Step::call) {
      result_ = rows.count() == 0 ? std::nullopt : rows.value(0, 0);
      step_ = Step::read;
      if (result_)
        return take_apart_statement(*result_);
      piece_.outcome = runner::failed(piece_.share, "the server returned no result");
    } else if (step_ == Step::recorded) {
      complete(piece_.outcome, rows, piece_.share);
    } else if (rows.count() == 0) {
      piece_.outcome = runner::failed(piece_.share, "the server returned no result");
    } else {
      piece_.outcome = outcome_of(rows, piece_.share);
    }
    return end();
  }

  std::optional<Statement> refused(const ServerError& failure) override {
    // A cancellation that came too late for the call may have met what followed it.
    const bool may_try_again = failure.sqlstate() == query_canceled && ++tries_ < most_tries && !stop_is_urgent();
    if (step_ == Step::read && result_ && may_try_again)
      return take_apart_statement(*result_);
    if (step_ == Step::recorded)
      return may_try_again ? std::optional(recorded_statement(piece_.share, seconds_since(piece_))) : end();
    watcher_.failed(piece_, failure);
    if (single_transaction_)
      return end();
    step_ = Step::recorded;
    tries_ = 0;
    return recorded_statement(piece_.share, seconds_since(piece_));
  }

  void lost(const ConnectionLost& loss) override {
    if (step_ != Step::recorded)
      watcher_.lost(piece_, loss);
    piece_.state = single_transaction_ ? Piece::State::ended : Piece::State::unclear;
    watcher_.ended(piece_, piece_.backend);
  }

private:
  enum class Step { call, read, recorded };

  std::optional<Statement> end() {
    piece_.state = Piece::State::ended;
    watcher_.ended(piece_, piece_.backend);
    return std::nullopt;
  }

  Piece& piece_;
  bool single_transaction_;
  Watcher& watcher_;
  Step step_ = Step::call;
  int tries_ = 0;
  std::optional<std::string> result_;
};

/// Asks on another connection what a piece had committed whose own connection is gone.
class AskTask : public Task {
public:
  AskTask(Piece& piece, Watcher& watcher) : piece_(piece), watcher_(watcher) {}

  Statement begin(const Connection&) override { return end_statement(piece_.backend); }
  std::optional<Statement> answered(const Rows& rows) override {
    if (!is_over_)
      return ask();
    complete(piece_.outcome, rows, piece_.share);
    return end();
  }
  std::optional<Statement> refused(const ServerError&) override { return is_over_ ? end() : ask(); }
  void lost(const ConnectionLost&) override {
    piece_.state = Piece::State::unclear;
    watcher_.ended(piece_, 0);
  }

private:
  Statement ask() {
    is_over_ = true;
    return recorded_statement(piece_.share, seconds_since(piece_));
  }

  std::optional<Statement> end() {
    piece_.state = Piece::State::ended;
    watcher_.ended(piece_, 0);
    return std::nullopt;
  }

  Piece& piece_;
  Watcher& watcher_;
  bool is_over_ = false; ///< the piece's process does nothing more
};

} // namespace

std::unique_ptr<Task> run_task(Piece& piece, bool single_transaction, Watcher& watcher) {
  return std::make_unique<RunTask>(piece, single_transaction, watcher);
}

std::unique_ptr<Task> ask_task(Piece& piece, Watcher& watcher) { return std::make_unique<AskTask>(piece, watcher); }

} // namespace pg_retention::runner
