#include "jobs.hpp"

#include "progress.hpp"
#include "signals.hpp"

#include <algorithm>
#include <utility>

namespace pg_retention::runner {

using clock = std::chrono::steady_clock;

Jobs::Jobs(Connection first) { workers_.push_back({std::move(first), nullptr, true, std::nullopt}); }

void Jobs::grow_to(int count, Login& login) {
  while (static_cast<int>(workers_.size()) < count)
    workers_.push_back({login.open(), nullptr, true, std::nullopt});
}

Connection* Jobs::usable() {
  for (Worker& worker : workers_)
    if (worker.connection.usable())
      return &worker.connection;
  return nullptr;
}

void Jobs::work(const Next& next, Progress* progress) {
  for (;;) {
    bool is_anybody_busy = false;
    for (Worker& worker : workers_) {
      // A task whose connection turns out to be gone ends at once; the next one may be begun by another.
      while (!worker.task && worker.connection.usable()) {
        std::unique_ptr<Task> task = next();
        if (!task)
          break;
        begin(worker, std::move(task));
      }
      is_anybody_busy = is_anybody_busy || worker.task;
    }
    if (!is_anybody_busy)
      return;
    wait(progress);
    for (Worker& worker : workers_) {
      if (worker.task)
        attend(worker);
      if (worker.task)
        stop(worker);
    }
    if (progress != nullptr)
      progress->attend();
  }
}

void Jobs::begin(Worker& worker, std::unique_ptr<Task> task) {
  worker.task = std::move(task);
  send(worker, worker.task->begin(worker.connection));
}

/// Sends the next statement of the worker's task, or lets the task end.
void Jobs::send(Worker& worker, const std::optional<Statement>& statement) {
  worker.cancelled_at.reset();
  if (!statement) {
    worker.task.reset();
    return;
  }
  worker.stoppable = statement->stoppable;
  try {
    worker.connection.send(*statement);
  } catch (const ConnectionLost& loss) {
    worker.task->lost(loss);
    worker.task.reset();
  }
}

/// Takes in what the server has sent to the worker.
void Jobs::attend(Worker& worker) {
  try {
    const std::optional<Rows> rows = worker.connection.receive();
    if (rows)
      send(worker, worker.task->answered(*rows));
  } catch (const ConnectionLost& loss) {
    worker.task->lost(loss);
    worker.task.reset();
  } catch (const ServerError& failure) {
    send(worker, worker.task->refused(failure));
  }
}

/// Cancels the worker's statement where the program was asked to stop. A cancellation that reaches the server before
/// the statement does is lost there, so it is sent again.
void Jobs::stop(Worker& worker) {
  if (!stop_request() || !(worker.stoppable || stop_is_urgent()))
    return;
  if (worker.cancelled_at && clock::now() - *worker.cancelled_at < cancel_patience)
    return;
  worker.connection.cancel();
  worker.cancelled_at = clock::now();
}

/// Waits until a server has sent something, a signal arrives, or something is due.
void Jobs::wait(Progress* progress) {
  std::vector<pollfd> descriptors;
  std::optional<std::chrono::milliseconds> limit;
  for (const Worker& worker : workers_) {
    if (!worker.task)
      continue;
    descriptors.push_back({worker.connection.descriptor(), POLLIN, 0});
    if (worker.cancelled_at)
      limit = cancel_patience;
  }
  if (progress != nullptr) {
    if (const int descriptor = progress->descriptor(); descriptor >= 0)
      descriptors.push_back({descriptor, POLLIN, 0});
    if (const auto due = progress->due())
      limit = std::min(limit.value_or(*due), *due);
  }
  wait_readable(descriptors, limit);
}

} // namespace pg_retention::runner
