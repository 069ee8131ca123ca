#include "extension/boundary/spi.hpp"

extern "C" {
#include "tcop/pquery.h"
#include "utils/plancache.h"
#include "utils/portal.h"
}

#include <exception>

namespace pg_retention::boundary {
namespace {

/// Parameters as SPI takes them; allocated in the current memory context.
ParamListInfo bind(const std::vector<Arg>& args) {
  if (args.empty())
    return nullptr;
  ParamListInfo list = makeParamList(static_cast<int>(args.size()));
  for (std::size_t i = 0; i < args.size(); ++i) {
    ParamExternData& slot = list->params[i];
    slot.ptype = args[i].type;
    slot.pflags = PARAM_FLAG_CONST;
    slot.isnull = args[i].is_null;
    slot.value =
        args[i].text != nullptr
            ? PointerGetDatum(cstring_to_text_with_len(args[i].text->data(), static_cast<int>(args[i].text->size())))
            : args[i].value;
  }
  return list;
}

/// A statement's parameters as plans that are made apart from their run take them; in the current memory context.
struct Bound {
  int count;
  Oid* types;
  Datum* values;
};

Bound types_and_values(const std::vector<Arg>& args) {
  Bound bound{static_cast<int>(args.size()), static_cast<Oid*>(palloc(sizeof(Oid) * (args.size() + 1))),
              static_cast<Datum*>(palloc(sizeof(Datum) * (args.size() + 1)))};
  for (std::size_t i = 0; i < args.size(); ++i) {
    bound.types[i] = args[i].type;
    bound.values[i] = args[i].value;
  }
  return bound;
}

/// A plan that knows nothing of its parameters' values and starts no other processes.
SPIPlanPtr generic_plan(const std::string& sql, const Bound& bound) {
  SPIPlanPtr const plan = SPI_prepare_cursor(sql.c_str(), bound.count, bound.types, CURSOR_OPT_GENERIC_PLAN);
  if (plan == nullptr)
    elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
  return plan;
}

/// Whether a statement is about a few places. The planner, shown how many they are, would rather read whole tables
/// than go to each row by an index, which takes microseconds.
bool is_about_few_places(const std::vector<Arg>& args) {
  constexpr int few = 20000;
  for (const Arg& arg : args)
    if (arg.type == TIDARRAYOID) {
      ArrayType* const places = DatumGetArrayTypeP(arg.value);
      return ArrayGetNItems(ARR_NDIM(places), ARR_DIMS(places)) <= few;
    }
  return false;
}

/// A result in the server's memory, until it is copied: cells row by row.
struct Table {
  MemoryContext context;
  std::uint64_t processed;
  std::uint64_t rows;
  int columns;
  char** cells;
};

void connect() {
  if (SPI_connect() != SPI_OK_CONNECT)
    elog(ERROR, "could not connect to SPI");
}

/// Copies SPI's result into `table` as text.
void take_cells(Table& table) {
  TupleDesc const shape = SPI_tuptable->tupdesc;
  table.rows = SPI_tuptable->numvals;
  table.columns = shape->natts;
  MemoryContext const previous = MemoryContextSwitchTo(table.context);
  table.cells = static_cast<char**>(palloc0(sizeof(char*) * (table.rows * shape->natts + 1)));
  for (std::uint64_t r = 0; r < table.rows; ++r)
    for (int c = 0; c < shape->natts; ++c)
      table.cells[r * shape->natts + c] = SPI_getvalue(SPI_tuptable->vals[r], shape, c + 1);
  MemoryContextSwitchTo(previous);
}

/// Runs a statement under a snapshot of this moment.
Table run_now(const std::string& sql, const std::vector<Arg>& args) {
  return server([&] {
    MemoryContext const context =
        AllocSetContextCreate(CurrentMemoryContext, "pg_retention result", ALLOCSET_DEFAULT_SIZES);
    Table table{context, 0, 0, 0, nullptr};
    connect();
    const Bound bound = types_and_values(args);
    // The planner must not see how many places there are: it would rather read the whole table than go to each, batch
    // after batch.
    SPIPlanPtr const plan = generic_plan(sql, bound);
    CommandCounterIncrement();
    const int outcome =
        SPI_execute_snapshot(plan, bound.values, nullptr, GetLatestSnapshot(), InvalidSnapshot, false, true, 0);
    if (outcome < 0)
      elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(outcome));
    table.processed = SPI_processed;
    if (SPI_tuptable != nullptr)
      take_cells(table);
    SPI_finish();
    return table;
  });
}

/// Runs a statement and leaves its result, as text, in a memory context of its own.
Table run(const std::string& sql, const std::vector<Arg>& args, View view, bool want_rows) {
  return server([&] {
    MemoryContext const context =
        AllocSetContextCreate(CurrentMemoryContext, "pg_retention result", ALLOCSET_DEFAULT_SIZES);
    Table table{context, 0, 0, 0, nullptr};
    connect();
    SPIExecuteOptions options{};
    options.params = bind(args);
    options.read_only = view == View::as_pushed;
    const int outcome = SPI_execute_extended(sql.c_str(), &options);
    if (outcome < 0)
      elog(ERROR, "SPI_execute_extended failed: %s", SPI_result_code_string(outcome));
    table.processed = SPI_processed;
    if (want_rows && SPI_tuptable != nullptr)
      take_cells(table);
    SPI_finish();
    return table;
  });
}

/// The server's side of a Sink: a DestReceiver that hands every row over.
struct Receiver {
  DestReceiver base;
  Sink* sink;
  std::exception_ptr* thrown;
};

bool receive(TupleTableSlot* slot, DestReceiver* self) {
  auto* receiver = reinterpret_cast<Receiver*>(self);
  slot_getallattrs(slot);
  try {
    receiver->sink->accept(slot->tts_values, slot->tts_isnull);
    return true;
  } catch (const std::exception&) {
    *receiver->thrown = std::current_exception();
    return false;
  }
}

void ignore_startup(DestReceiver*, int, TupleDesc) {}
void ignore(DestReceiver*) {}

} // namespace

namespace {

/// The table as rows; frees it.
Rows copied(const Table& table) {
  Rows rows(table.rows);
  for (std::uint64_t r = 0; r < table.rows; ++r) {
    rows[r].resize(static_cast<std::size_t>(table.columns));
    for (int c = 0; c < table.columns; ++c)
      if (const char* cell = table.cells[r * table.columns + c])
        rows[r][c] = cell;
  }
  server([&] { MemoryContextDelete(table.context); });
  return rows;
}

} // namespace

Rows query(const std::string& sql, const std::vector<Arg>& args, View view) {
  return copied(run(sql, args, view, true));
}

std::uint64_t change_count(const std::string& sql, const std::vector<Arg>& args) {
  const Table table = run_now(sql, args);
  server([&] { MemoryContextDelete(table.context); });
  return table.processed;
}

Rows change(const std::string& sql, const std::vector<Arg>& args) { return copied(run_now(sql, args)); }

std::uint64_t execute(const std::string& sql, const std::vector<Arg>& args) {
  const Table table = run(sql, args, View::read_write, false);
  server([&] { MemoryContextDelete(table.context); });
  return table.processed;
}

Text single(const std::string& sql, const std::vector<Arg>& args, View view) {
  Rows rows = query(sql, args, view);
  return rows.empty() || rows[0].empty() ? std::nullopt : std::move(rows[0][0]);
}

void prepare(const std::string& sql, const std::vector<Oid>& types) {
  server([&] {
    connect();
    SPIPlanPtr const plan = SPI_prepare(sql.c_str(), static_cast<int>(types.size()), const_cast<Oid*>(types.data()));
    if (plan == nullptr)
      elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
    SPI_finish();
  });
}

Oid result_type(const std::string& sql) {
  return server([&] {
    connect();
    SPIPlanPtr const plan = SPI_prepare(sql.c_str(), 0, nullptr);
    if (plan == nullptr)
      elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
    auto* const source = static_cast<CachedPlanSource*>(linitial(SPI_plan_get_plan_sources(plan)));
    const Oid type = source->resultDesc != nullptr ? TupleDescAttr(source->resultDesc, 0)->atttypid : InvalidOid;
    SPI_finish();
    return getBaseType(type);
  });
}

namespace {

Receiver receiver_for(Sink& sink, std::exception_ptr& thrown) {
  Receiver receiver{};
  receiver.base.receiveSlot = receive;
  receiver.base.rStartup = ignore_startup;
  receiver.base.rShutdown = ignore;
  receiver.base.rDestroy = ignore;
  receiver.base.mydest = DestNone;
  receiver.sink = &sink;
  receiver.thrown = &thrown;
  return receiver;
}

} // namespace

void stream(const std::string& sql, const std::vector<Arg>& args, Sink& sink) {
  std::exception_ptr thrown;
  Receiver receiver = receiver_for(sink, thrown);
  server([&] {
    connect();
    SPIExecuteOptions options{};
    options.params = bind(args);
    options.read_only = true;
    options.dest = &receiver.base;
    const int outcome = is_about_few_places(args)
                            ? SPI_execute_plan_extended(generic_plan(sql, types_and_values(args)), &options)
                            : SPI_execute_extended(sql.c_str(), &options);
    if (outcome < 0)
      elog(ERROR, "SPI_execute_extended failed: %s", SPI_result_code_string(outcome));
    SPI_finish();
  });
  if (thrown)
    std::rethrow_exception(thrown);
}

bool stream_in_parts(const std::string& sql, const std::vector<Arg>& args, Sink& sink,
                     const std::function<bool()>& between) {
  constexpr std::uint64_t part = 65536;
  std::exception_ptr thrown;
  Receiver receiver = receiver_for(sink, thrown);
  // What is allocated between the parts, an error's data above all, must outlive the connection.
  MemoryContext const context = CurrentMemoryContext;
  Portal const portal = server([&] {
    connect();
    SPIParseOpenOptions options{};
    options.params = bind(args);
    options.read_only = true;
    Portal const opened = SPI_cursor_parse_open(nullptr, sql.c_str(), &options);
    MemoryContextSwitchTo(context);
    return opened;
  });
  bool goes_on = true, is_last = false;
  while (goes_on && !is_last && !thrown) {
    is_last =
        server([&] { return PortalRunFetch(portal, FETCH_FORWARD, static_cast<long>(part), &receiver.base) < part; });
    goes_on = between();
  }
  server([&] {
    SPI_cursor_close(portal);
    SPI_finish();
  });
  if (thrown)
    std::rethrow_exception(thrown);
  return goes_on;
}

} // namespace pg_retention::boundary
