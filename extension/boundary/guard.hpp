#pragma once
#include "extension/boundary/postgres.hpp"
#include "extension/core/failure.hpp"

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>

/// The one place where C++ exceptions and the server's ereport meet. `server()` carries a server error
/// into C++ as an exception; `enter()` carries every exception back as a server error.
namespace pg_retention::boundary {

/// A server error on its way through C++ frames, whole: SQLSTATE, message, detail, hint, context.
/// It refers to memory of the server, which lives until the surrounding memory context is reset.
class ServerError : public std::exception {
public:
  explicit ServerError(ErrorData* data) noexcept : data_(data) {}
  [[nodiscard]] const char* what() const noexcept override { return data_->message ? data_->message : "server error"; }
  [[nodiscard]] ErrorData* data() const noexcept { return data_; }

private:
  ErrorData* data_;
};

/// Calls `call(state)` and returns the server error that it raised, copied out of the server's error state;
/// nullptr where it raised none.
[[nodiscard]] ErrorData* protect(void (*call)(void*), void* state) noexcept;

/// Calls the server: runs `body`, and throws ServerError where the server raised ERROR.
/// A body owns nothing (it may be left by a long jump) and returns a value that needs no destructor.
template <class Body>
auto server(Body&& body) -> decltype(body()) {
  using Result = decltype(body());
  if constexpr (std::is_void_v<Result>) {
    const auto call = [](void* state) { (*static_cast<std::remove_reference_t<Body>*>(state))(); };
    if (ErrorData* error = protect(call, &body))
      throw ServerError(error);
  } else {
    static_assert(std::is_trivially_destructible_v<Result>, "a long jump would leave the result undestroyed");
    struct State {
      std::remove_reference_t<Body>* body;
      Result result;
    } state{&body, {}};
    const auto call = [](void* s) { static_cast<State*>(s)->result = (*static_cast<State*>(s)->body)(); };
    if (ErrorData* error = protect(call, &state))
      throw ServerError(error);
    return state.result;
  }
}

using Body = Datum (*)(FunctionCallInfo);

/// Runs the body of an SQL function; whatever it throws leaves as one server ERROR.
Datum enter(FunctionCallInfo fcinfo, Body body);

/// An error that was caught and survived: what a user is told of it.
struct Caught {
  std::string sqlstate, message, detail, hint;
};

/// Describes an error of the server in our own words' shape.
[[nodiscard]] Caught describe(const ServerError& error);

/// Describes a failure, its message with dots in the middle where it is too long to be told.
[[nodiscard]] Caught describe(const core::Failure& failure);

/// Runs `body` in a subtransaction. An error inside undoes everything that it did and is returned;
/// nullopt means that it went through. Cancel, shutdown and lost memory are never swallowed.
template <class Body>
std::optional<Caught> attempt(Body&& body);

namespace detail {
struct Surroundings {
  MemoryContext context;
  ResourceOwner owner;
};
Surroundings begin_subtransaction();
void commit_subtransaction(Surroundings surroundings);
void abort_subtransaction(Surroundings surroundings);
[[nodiscard]] bool must_pass(const ServerError& error) noexcept;
} // namespace detail

template <class Body>
std::optional<Caught> attempt(Body&& body) {
  const detail::Surroundings surroundings = detail::begin_subtransaction();
  std::exception_ptr passing;
  Caught caught;
  try {
    body();
    detail::commit_subtransaction(surroundings);
    return std::nullopt;
  } catch (const ServerError& error) {
    if (detail::must_pass(error))
      passing = std::current_exception();
    caught = describe(error);
  } catch (const core::Failure& failure) {
    caught = describe(failure);
  } catch (const std::exception&) {
    passing = std::current_exception();
  }
  // Ended here in every case: an error that left it open would only undo it, and leave the transaction aborted.
  detail::abort_subtransaction(surroundings);
  if (passing)
    std::rethrow_exception(passing);
  return caught;
}

/// Runs `body` in a subtransaction, and undoes what it did where it returns false. Errors pass through.
template <class Body>
void trial(Body&& body) {
  const detail::Surroundings surroundings = detail::begin_subtransaction();
  std::exception_ptr passing;
  bool keeps = false;
  try {
    keeps = body();
  } catch (const std::exception&) {
    passing = std::current_exception();
  }
  if (keeps)
    detail::commit_subtransaction(surroundings);
  else
    detail::abort_subtransaction(surroundings);
  if (passing)
    std::rethrow_exception(passing);
}

/// Runs `body` in a subtransaction of its own, so that an error leaves nothing of it open. Errors pass through.
template <class Body>
void enclosed(Body&& body) {
  trial([&] {
    body();
    return true;
  });
}

/// Opens a table that holds rows of its own; a server ERROR (0A000) for any other, such as a foreign partition that was
/// attached a moment ago. Runs inside server().
Relation open_leaf(Oid leaf, LOCKMODE lock);

/// Opens the SPI connection of a procedure that commits. Throws Failure 2D000 where it was not called as CALL outside
/// of a transaction block; `hint` says what else to do.
void begin_procedure(FunctionCallInfo fcinfo, const char* name, const char* hint);
void end_procedure();

/// In a procedure that commits: ends the transaction, and begins the next.
void commit();
/// The same without waiting for the disk, where a later commit() does: what this one wrote is durable when that one is.
/// Where standbys are to confirm commits, it waits like any other, so that they set the pace.
void commit_for_now();
/// The same, undoing what the transaction did.
void roll_back();

/// Memory that is given back in one go: what the server allocates in between lives until release().
class Scratch {
public:
  Scratch();
  void release();

private:
  MemoryContext context_, before_;
};

/// Waits so many milliseconds, or until the session is told to stop: a server ERROR then.
void wait(std::int64_t milliseconds);

/// Grows whenever the schema of any table may have changed, as far as this session has been told; from
/// watch_schema() on, which is called once.
[[nodiscard]] std::uint64_t schema_generation();
void watch_schema();

/// Whether the server's statements look again at the place of a row that they waited for.
[[nodiscard]] bool rechecks_places();

/// Raises a WARNING with the given SQLSTATE.
void warn(const Caught& caught, const std::string& prefix);

/// Raises a NOTICE.
void notice(const std::string& message, const std::string& hint = {});

/// Writes one line to the server log.
void log(const std::string& message);

} // namespace pg_retention::boundary
