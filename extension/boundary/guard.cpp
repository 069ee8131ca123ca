#include "extension/boundary/guard.hpp"

extern "C" {
#include "utils/resowner.h"
#include "utils/wait_event.h"
}

#include <cstring>
#include <new>

namespace pg_retention::boundary {
namespace {

int code_of(const std::string& sqlstate) {
  const char* s = sqlstate.size() == 5 ? sqlstate.c_str() : core::sqlstate::internal_error;
  return MAKE_SQLSTATE(s[0], s[1], s[2], s[3], s[4]);
}

/// Copies text into the server's memory; nullptr where the text is empty or memory is gone. Never raises.
char* keep(const std::string& text) noexcept {
  if (text.empty())
    return nullptr;
  auto* copy = static_cast<char*>(MemoryContextAllocExtended(CurrentMemoryContext, text.size() + 1, MCXT_ALLOC_NO_OOM));
  if (copy != nullptr)
    std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

/// Messages repeat what users gave, which may be a megabyte; the log and the books need its two ends only.
constexpr std::size_t longest_message = 1000, longest_head = 600;

/// How many of the first `most` bytes of a text are whole letters.
std::size_t whole_letters(const std::string& text, std::size_t most) noexcept {
  return static_cast<std::size_t>(pg_mbcliplen(text.data(), static_cast<int>(text.size()), static_cast<int>(most)));
}

/// What is told of a message: up to `head`, and from `tail` on where it is too long.
struct Cut {
  std::size_t head, tail;
};

Cut cut_of(const std::string& message) noexcept {
  if (message.size() <= longest_message)
    return {message.size(), message.size()};
  return {whole_letters(message, longest_head),
          whole_letters(message, message.size() - (longest_message - longest_head - 10))};
}

/// A message in the server's memory as it is told. Never raises.
char* keep_message(const std::string& message) noexcept {
  char* const copy = keep(message);
  const Cut cut = cut_of(message);
  if (copy != nullptr && cut.head < cut.tail) {
    std::memcpy(copy + cut.head, "...", 3);
    std::memmove(copy + cut.head + 3, copy + cut.tail, message.size() - cut.tail + 1);
  }
  return copy;
}

/// What is left of an exception once its frame is gone: plain pointers into the server's memory.
struct Report {
  ErrorData* server_error = nullptr;
  int code = ERRCODE_INTERNAL_ERROR;
  char* message = nullptr;
  char* detail = nullptr;
  char* hint = nullptr;
};

[[noreturn]] void raise(const Report& report) {
  if (report.server_error != nullptr)
    ReThrowError(report.server_error);
  ereport(ERROR, (errcode(report.code), errmsg("%s", report.message ? report.message : "out of memory"),
                  report.detail ? errdetail("%s", report.detail) : 0, report.hint ? errhint("%s", report.hint) : 0));
  pg_unreachable();
}

} // namespace

ErrorData* protect(void (*call)(void*), void* state) noexcept {
  MemoryContext const context = CurrentMemoryContext;
  ErrorData* volatile error = nullptr;
  PG_TRY();
  { call(state); }
  PG_CATCH();
  {
    MemoryContextSwitchTo(context);
    error = CopyErrorData();
    FlushErrorState();
  }
  PG_END_TRY();
  return error;
}

Datum enter(FunctionCallInfo fcinfo, Body body) {
  Report report;
  try {
    return body(fcinfo);
  } catch (const ServerError& error) {
    report.server_error = error.data();
  } catch (const core::Failure& failure) {
    report.code = code_of(failure.sqlstate());
    report.message = keep_message(failure.message());
    report.detail = keep(failure.detail());
    report.hint = keep(failure.hint());
  } catch (const std::bad_alloc&) {
    report.code = ERRCODE_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    report.message = keep(error.what());
  } catch (...) {
    report.message = keep("unknown exception");
  }
  raise(report);
}

Caught describe(const ServerError& error) {
  const ErrorData* data = error.data();
  const auto text = [](const char* s) { return s ? std::string(s) : std::string(); };
  return {unpack_sql_state(data->sqlerrcode), text(data->message), text(data->detail), text(data->hint)};
}

Caught describe(const core::Failure& failure) {
  const std::string& message = failure.message();
  const Cut cut = cut_of(message);
  return {failure.sqlstate(),
          cut.head < cut.tail ? message.substr(0, cut.head) + "..." + message.substr(cut.tail) : message,
          failure.detail(), failure.hint()};
}

Relation open_leaf(Oid leaf, LOCKMODE lock) {
  Relation const table = table_open(leaf, lock);
  if (table->rd_rel->relkind != RELKIND_RELATION)
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("\"%s\" is not a table that holds rows of its own", RelationGetRelationName(table))));
  return table;
}

void begin_procedure(FunctionCallInfo fcinfo, const char* name, const char* hint) {
  const bool is_atomic = fcinfo->context == nullptr || !IsA(fcinfo->context, CallContext) ||
                         castNode(CallContext, fcinfo->context)->atomic;
  if (is_atomic)
    throw core::Failure("2D000", std::string(name) + " cannot run inside a transaction block",
                        "It commits after each batch.", hint);
  server([] {
    if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
      elog(ERROR, "could not connect to SPI");
  });
}

void end_procedure() {
  server([] { SPI_finish(); });
}

void commit() {
  server([] { SPI_commit(); });
}

void commit_for_now() {
  server([] {
    if (SyncRepStandbyNames == nullptr || *SyncRepStandbyNames == 0)
      set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
    SPI_commit();
  });
}

void roll_back() {
  server([] { SPI_rollback(); });
}

Scratch::Scratch()
    : context_(server(
          [] { return AllocSetContextCreate(CurrentMemoryContext, "pg_retention batch", ALLOCSET_DEFAULT_SIZES); })),
      before_(MemoryContextSwitchTo(context_)) {}

void Scratch::release() {
  MemoryContextSwitchTo(before_);
  MemoryContextDelete(context_);
}

void wait(std::int64_t milliseconds) {
  const TimestampTz until = GetCurrentTimestamp() + milliseconds * 1000;
  for (std::int64_t left = milliseconds; left > 0; left = (until - GetCurrentTimestamp() + 999) / 1000)
    server([&] {
      (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, static_cast<long>(left),
                      PG_WAIT_EXTENSION);
      ResetLatch(MyLatch);
      CHECK_FOR_INTERRUPTS();
    });
}

namespace {

std::uint64_t generation = 0;

void note_change(Datum, Oid) { ++generation; }

} // namespace

std::uint64_t schema_generation() { return generation; }

bool rechecks_places() {
  return server([] { return rechecks_places_now(); });
}

void watch_schema() { CacheRegisterRelcacheCallback(note_change, 0); }

void warn(const Caught& caught, const std::string& prefix) {
  server([&] {
    ereport(WARNING, (errcode(code_of(caught.sqlstate)), errmsg("%s%s", prefix.c_str(), caught.message.c_str()),
                      caught.detail.empty() ? 0 : errdetail("%s", caught.detail.c_str()),
                      caught.hint.empty() ? 0 : errhint("%s", caught.hint.c_str())));
  });
}

void notice(const std::string& message, const std::string& hint) {
  server([&] { ereport(NOTICE, (errmsg("%s", message.c_str()), hint.empty() ? 0 : errhint("%s", hint.c_str()))); });
}

void log(const std::string& message) {
  server([&] { ereport(LOG, (errmsg_internal("%s", message.c_str()), errhidestmt(true), errhidecontext(true))); });
}

namespace detail {

Surroundings begin_subtransaction() {
  return server([] {
    const Surroundings surroundings{CurrentMemoryContext, CurrentResourceOwner};
    BeginInternalSubTransaction(nullptr);
    MemoryContextSwitchTo(surroundings.context);
    return surroundings;
  });
}

void commit_subtransaction(Surroundings surroundings) {
  server([&] {
    ReleaseCurrentSubTransaction();
    MemoryContextSwitchTo(surroundings.context);
    CurrentResourceOwner = surroundings.owner;
  });
}

void abort_subtransaction(Surroundings surroundings) {
  server([&] {
    RollbackAndReleaseCurrentSubTransaction();
    MemoryContextSwitchTo(surroundings.context);
    CurrentResourceOwner = surroundings.owner;
  });
}

bool must_pass(const ServerError& error) noexcept {
  switch (error.data()->sqlerrcode) {
  case ERRCODE_QUERY_CANCELED:
  case ERRCODE_ADMIN_SHUTDOWN:
  case ERRCODE_CRASH_SHUTDOWN:
  case ERRCODE_OUT_OF_MEMORY:
    return true;
  default:
    return false;
  }
}

} // namespace detail
} // namespace pg_retention::boundary
