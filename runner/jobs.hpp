// Several connections that work at once, in one thread: each does one task, statement by statement.
#pragma once

#include "connection.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace pg_retention::runner {

class Progress;

/// The work of one connection: a first statement, and what to send after each answer, until there is nothing more.
class Task {
public:
  Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  virtual ~Task() = default;

  /// The first statement; the connection is the task's until it ends.
  [[nodiscard]] virtual Statement begin(const Connection& connection) = 0;
  /// The statement after one that was answered, or nothing at the task's end.
  [[nodiscard]] virtual std::optional<Statement> answered(const Rows& rows) = 0;
  /// The statement after one that the server refused, or nothing at the task's end.
  [[nodiscard]] virtual std::optional<Statement> refused(const ServerError& failure) = 0;
  /// The task ends because its connection is gone.
  virtual void lost(const ConnectionLost& loss) = 0;
};

/// A fixed number of connections; one that is lost is not replaced.
class Jobs {
public:
  /// The next task that may begin now, or nothing; asked again whenever a task has ended.
  using Next = std::function<std::unique_ptr<Task>()>;

  /// Begins with one connection that stands already.
  explicit Jobs(Connection first);

  /// Opens connections until there are `count`; throws CannotConnect.
  void grow_to(int count, Login& login);

  /// Does every task that `next` gives. A request to stop cancels the statements under way; what to begin after it is
  /// for `next` to say. Progress is shown meanwhile where it is given.
  void work(const Next& next, Progress* progress = nullptr);

  /// A connection that can still be used, or nothing when all are lost.
  [[nodiscard]] Connection* usable();

private:
  struct Worker {
    Connection connection;
    std::unique_ptr<Task> task;
    bool stoppable = true;
    std::optional<std::chrono::steady_clock::time_point> cancelled_at;
  };

  void begin(Worker& worker, std::unique_ptr<Task> task);
  void send(Worker& worker, const std::optional<Statement>& statement);
  void attend(Worker& worker);
  void stop(Worker& worker);
  void wait(Progress* progress);

  std::vector<Worker> workers_;
};

} // namespace pg_retention::runner
