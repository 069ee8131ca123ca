#include "run.hpp"

#include "jobs.hpp"
#include "message.hpp"
#include "outcome.hpp"
#include "piece.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "schedule.hpp"
#include "signals.hpp"
#include "vacuum.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <set>
#include <utility>

namespace pg_retention::runner {
namespace {

constexpr std::string_view query_canceled = "57014";
constexpr std::string_view read_only_transaction = "25006";

/// The pieces of one stage: the slices of one policy, or whole policies.
struct Line {
  std::vector<Piece> pieces;
  bool is_cut = false;
};

/// A result that is no success, as an error's text.
std::string told(const Outcome& outcome) {
  return outcome.message + (outcome.sqlstate ? " (SQLSTATE " + *outcome.sqlstate + ")" : std::string()) +
         (outcome.error_detail ? "\nDETAIL:  " + *outcome.error_detail : std::string());
}

/// The whole of a run: hands out the pieces in order, stage by stage, and reports each policy when its last piece ends.
class Run : public Watcher {
public:
  Run(const Schedule& plan, const Options& options, Progress* progress)
      : options_(options), progress_(progress), report_(options) {
    for (const Stage& stage : plan.stages) {
      Line line;
      line.is_cut = stage.is_cut;
      for (std::size_t i = 0; i < stage.shares.size(); ++i) {
        line.pieces.push_back({});
        line.pieces.back().share = stage.shares[i];
        line.pieces.back().target = stage.targets[i];
      }
      lines_.push_back(std::move(line));
    }
  }

  /// Does all of it; what could not be begun is reported as not run.
  void over(Jobs& jobs) {
    jobs.work([this] { return next(); }, progress_);
    if (halted_.empty())
      halted_ = stop_request() ? "stopped by " + std::string(*stop_request()) : "connection lost";
    for (Line& line : lines_)
      for (Piece& piece : line.pieces)
        if (piece.state == Piece::State::waiting || piece.state == Piece::State::unclear) {
          if (piece.state == Piece::State::waiting)
            piece.outcome = runner::failed(piece.share, "not run: " + halted_);
          piece.state = Piece::State::ended;
          report_if_done(line, piece);
        }
  }

  [[nodiscard]] ExitCode exit_code() const { return exit_; }
  /// The runs that left rows in the ledger.
  [[nodiscard]] const std::vector<std::string>& run_ids() const { return run_ids_; }

private:
  /// The next task that may begin: of the first stage that has not ended, unless the program is to stop.
  std::unique_ptr<Task> next() {
    for (Line& line : lines_) {
      bool has_ended = true;
      for (Piece& piece : line.pieces) {
        if (piece.state == Piece::State::unclear && !stop_is_urgent()) {
          piece.state = Piece::State::asking;
          return ask_task(piece, *this);
        }
        has_ended = has_ended && piece.state == Piece::State::ended;
      }
      if (has_ended)
        continue;
      if (const auto signal = stop_request(); signal && halted_.empty())
        halted_ = "stopped by " + std::string(*signal);
      if (!halted_.empty())
        return nullptr;
      for (Piece& piece : line.pieces)
        if (piece.state == Piece::State::waiting && (line.is_cut || busy_targets_.insert(piece.target).second)) {
          piece.state = Piece::State::under_way;
          return run_task(piece, options_.single_transaction, *this);
        }
      return nullptr;
    }
    return nullptr;
  }

  void began(Piece& piece, int backend) override {
    if (progress_ != nullptr)
      progress_->begun(piece.share, backend);
  }

  void failed(Piece& piece, const ServerError& failure) override {
    piece.outcome = runner::failed(piece.share, failure);
    const auto signal = stop_request();
    const bool is_ours = signal && failure.sqlstate() == query_canceled;
    if (is_ours)
      piece.outcome.message = "cancelled by " + std::string(*signal);
    say(piece, (is_ours ? piece.outcome.message + ": " : std::string()) + whole(failure));
    if (failure.sqlstate() == read_only_transaction) {
      halted_ = "the server refuses changes";
      exit_ = ExitCode::refused;
    }
  }

  void lost(Piece& piece, const ConnectionLost& loss) override {
    piece.outcome = runner::failed(piece.share, std::string("connection lost: ") + loss.what(), loss.sqlstate());
    say(piece, piece.outcome.message);
  }

  void ended(Piece& piece, int backend) override {
    if (progress_ != nullptr && backend != 0)
      progress_->ended(backend, piece.outcome);
    busy_targets_.erase(piece.target);
    if (piece.state != Piece::State::ended)
      return;
    if (!piece.outcome.success && !piece.is_said)
      say(piece, told(piece.outcome));
    if (!piece.outcome.duration_ms) {
      const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - piece.begun;
      piece.outcome.duration_ms = spent.count();
    }
    for (Line& line : lines_)
      if (!line.pieces.empty() && &piece >= &line.pieces.front() && &piece <= &line.pieces.back())
        report_if_done(line, piece);
  }

  /// An error of a piece; the same error of another slice of the policy is not repeated.
  void say(Piece& piece, const std::string& text) {
    piece.is_said = true;
    if (said_.insert({piece.share.policy, text}).second)
      error(name_of(piece.share.policy, piece.share.slice, piece.share.slices) + ": " + text);
  }

  void report_if_done(const Line& line, const Piece& piece) {
    std::vector<Outcome> outcomes;
    if (!line.is_cut)
      outcomes.push_back(piece.outcome);
    else
      for (const Piece& slice : line.pieces) {
        if (slice.state != Piece::State::ended)
          return;
        outcomes.push_back(slice.outcome);
      }
    for (const Outcome& outcome : outcomes)
      if (outcome.run_id)
        run_ids_.push_back(*outcome.run_id);
    const Outcome sum = sum_of(outcomes);
    report_.outcome(sum);
    if (!sum.success && exit_ == ExitCode::done)
      exit_ = ExitCode::policy_failed;
  }

  const Options& options_;
  Progress* progress_;
  Report report_;
  std::vector<Line> lines_;
  std::set<std::string> busy_targets_;
  std::set<std::pair<std::string, std::string>> said_;
  std::string halted_;
  std::vector<std::string> run_ids_;
  ExitCode exit_ = ExitCode::done;
};

/// The policies with what their order rests on; asked for only where several may run at once.
std::vector<Candidate> candidates(const std::vector<std::string>& names, const Options& options,
                                  Connection& connection) {
  std::vector<Candidate> policies;
  for (const std::string& name : names)
    policies.push_back({name, 0, {}});
  if (options.jobs == 1 || names.size() == 1)
    return policies;
  const Rows stored =
      connection.query({"SELECT p.name, p.run_order, p.target::pg_catalog.oid AS target FROM retention.policy AS p"});
  for (int row = 0; row < stored.count(); ++row)
    for (Candidate& policy : policies)
      if (policy.name == stored.value(row, "name")) {
        policy.run_order = std::atoi(stored.value(row, "run_order").value_or("0").c_str());
        policy.target = stored.value(row, "target").value_or("");
      }
  return policies;
}

/// Progress on a connection of its own; where there is none to be had, nothing but the look is lost.
std::unique_ptr<Progress> shown_progress(Login& login) {
  try {
    return std::make_unique<Progress>(login.open());
  } catch (const CannotConnect& failure) {
    note(std::string("progress is not shown: ") + failure.what());
    return nullptr;
  }
}

} // namespace

ExitCode run_policies(const std::vector<std::string>& policies, const Options& options, Login& login,
                      Connection connection) {
  const Schedule plan = schedule(candidates(policies, options, connection), options.jobs, options.limits);
  Jobs jobs(std::move(connection));
  jobs.grow_to(plan.connections, login);
  std::unique_ptr<Progress> progress;
  if (options.progress)
    progress = shown_progress(login);
  Run run(plan, options, progress.get());
  run.over(jobs);
  progress.reset();
  const ExitCode vacuum = vacuum_after(run.run_ids(), options, jobs);
  return run.exit_code() == ExitCode::done ? vacuum : run.exit_code();
}

} // namespace pg_retention::runner
