#include "extension/server/rows.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/json.hpp"

namespace pg_retention::server {
namespace {

using boundary::Row;
using boundary::server;
using boundary::Text;

/// The row as an array of C strings, as BuildTupleFromCStrings takes it. Runs inside server().
char** c_strings(const Row& row) {
  auto** cells = static_cast<char**>(palloc(sizeof(char*) * (row.size() + 1)));
  for (std::size_t i = 0; i < row.size(); ++i)
    cells[i] = row[i] ? const_cast<char*>(row[i]->c_str()) : nullptr;
  return cells;
}

Text or_null(const std::string& text) { return text.empty() ? Text() : Text(text); }

} // namespace

Text argument(FunctionCallInfo fcinfo, int position) {
  if (position >= PG_NARGS() || PG_ARGISNULL(position))
    return std::nullopt;
  const char* text = server([&] {
    Oid output = InvalidOid;
    bool is_varlena = false;
    getTypeOutputInfo(get_fn_expr_argtype(fcinfo->flinfo, position), &output, &is_varlena);
    return static_cast<const char*>(OidOutputFunctionCall(output, PG_GETARG_DATUM(position)));
  });
  return std::string(text);
}

std::string required_argument(FunctionCallInfo fcinfo, int position, const char* name) {
  if (auto value = argument(fcinfo, position))
    return *value;
  throw core::Failure(core::sqlstate::null_value_not_allowed, std::string(name) + " must not be null");
}

core::Fields named_arguments(FunctionCallInfo fcinfo, int first) {
  char** const names = server([&] {
    HeapTuple const tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(fcinfo->flinfo->fn_oid));
    if (!HeapTupleIsValid(tuple))
      elog(ERROR, "cache lookup failed for function %u", fcinfo->flinfo->fn_oid);
    Oid* types = nullptr;
    char** found = nullptr;
    char* modes = nullptr;
    get_func_arg_info(tuple, &types, &found, &modes);
    ReleaseSysCache(tuple);
    return found;
  });
  core::Fields fields;
  for (int i = first; i < PG_NARGS(); ++i) {
    if (PG_ARGISNULL(i))
      continue;
    const bool is_table = get_fn_expr_argtype(fcinfo->flinfo, i) == REGCLASSOID;
    fields[names[i]] = is_table ? std::to_string(PG_GETARG_OID(i)) : argument(fcinfo, i);
  }
  return fields;
}

Text instant_argument(FunctionCallInfo fcinfo, int position) {
  if (PG_ARGISNULL(position))
    return std::nullopt;
  return iso(PG_GETARG_TIMESTAMPTZ(position));
}

std::optional<std::int32_t> int_argument(FunctionCallInfo fcinfo, int position) {
  if (position >= PG_NARGS() || PG_ARGISNULL(position))
    return std::nullopt;
  return PG_GETARG_INT32(position);
}

Datum jsonb(const std::string& text) {
  return server([&] { return DirectFunctionCall1(jsonb_in, CStringGetDatum(text.c_str())); });
}

std::string iso(TimestampTz instant) {
  char buffer[MAXDATELEN + 1];
  server([&] { JsonEncodeDateTime(buffer, TimestampTzGetDatum(instant), TIMESTAMPTZOID, nullptr); });
  return buffer;
}

TimestampTz instant(const std::string& text) {
  return server([&] {
    return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(text.c_str()),
                                                   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
  });
}

std::string json_counts(const std::map<std::string, std::uint64_t>& counts) {
  core::JsonObject object;
  for (const auto& [name, count] : counts)
    object.set(name, static_cast<std::int64_t>(count));
  return object.text();
}

Row result_row(const Outcome& outcome) {
  const auto number = [](std::uint64_t n) { return Text(std::to_string(n)); };
  return {outcome.success ? "t" : "f",
          outcome.message,
          outcome.policy,
          outcome.run_id == 0 ? Text() : Text(std::to_string(outcome.run_id)),
          std::string(core::action_name(outcome.action)),
          number(outcome.affected),
          number(outcome.subjects),
          json_counts(outcome.dependents),
          number(outcome.locked),
          number(outcome.blocked),
          number(outcome.held),
          number(outcome.returned),
          outcome.cutoff ? Text(iso(*outcome.cutoff)) : Text(),
          iso(outcome.started),
          iso(outcome.finished),
          std::to_string(outcome.batches),
          outcome.stop_reason,
          or_null(outcome.sqlstate),
          or_null(outcome.error_detail),
          number(outcome.failed)};
}

Datum composite(FunctionCallInfo fcinfo, const Row& row) {
  return server([&] {
    TupleDesc shape = nullptr;
    if (get_call_result_type(fcinfo, nullptr, &shape) != TYPEFUNC_COMPOSITE)
      elog(ERROR, "return type must be a row type");
    // The type of an earlier version has fewer columns; new ones come last.
    if (shape->natts > static_cast<int>(row.size()))
      elog(ERROR, "result has %zu columns, %d expected", row.size(), shape->natts);
    AttInMetadata* const meta = TupleDescGetAttInMetadata(shape);
    return HeapTupleGetDatum(BuildTupleFromCStrings(meta, c_strings(row)));
  });
}

Datum composite_column(FunctionCallInfo fcinfo, const Row& row) {
  return server([&] {
    TupleDesc outer = nullptr;
    if (get_call_result_type(fcinfo, nullptr, &outer) != TYPEFUNC_COMPOSITE)
      elog(ERROR, "return type must be a row type");
    TupleDesc const inner = lookup_rowtype_tupdesc_copy(TupleDescAttr(outer, 0)->atttypid, -1);
    AttInMetadata* const meta = TupleDescGetAttInMetadata(inner);
    Datum values[1] = {HeapTupleGetDatum(BuildTupleFromCStrings(meta, c_strings(row)))};
    bool nulls[1] = {false};
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(outer), values, nulls));
  });
}

Datum jsonb_column(FunctionCallInfo fcinfo, const std::string& text) {
  const Datum value = jsonb(text);
  return server([&] {
    TupleDesc outer = nullptr;
    if (get_call_result_type(fcinfo, nullptr, &outer) != TYPEFUNC_COMPOSITE)
      elog(ERROR, "return type must be a row type");
    Datum values[1] = {value};
    bool nulls[1] = {false};
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(outer), values, nulls));
  });
}

std::optional<std::int64_t> microseconds_argument(FunctionCallInfo fcinfo, int position, const char* name) {
  const Text text = argument(fcinfo, position);
  if (!text)
    return std::nullopt;
  const Text value = boundary::single("SELECT (EXTRACT(epoch FROM $1::pg_catalog.interval) * 1000000)::pg_catalog.int8",
                                      {boundary::Arg::of(*text)});
  if (std::stoll(value.value_or("0")) <= 0)
    throw core::Failure(core::sqlstate::invalid_parameter_value, std::string(name) + " must be greater than zero");
  return std::stoll(*value);
}

std::optional<std::int64_t> positive_argument(FunctionCallInfo fcinfo, int position, const char* name) {
  if (PG_ARGISNULL(position))
    return std::nullopt;
  const std::int64_t value = PG_GETARG_INT64(position);
  if (value < 1)
    throw core::Failure(core::sqlstate::invalid_parameter_value, std::string(name) + " must be greater than zero");
  return value;
}

BatchLimits batch_limits(FunctionCallInfo fcinfo) {
  BatchLimits limits;
  limits.max_rows = positive_argument(fcinfo, 1, "max_rows");
  limits.max_runtime = microseconds_argument(fcinfo, 2, "max_runtime");
  limits.batch_rows = positive_argument(fcinfo, 3, "batch_rows");
  constexpr int arguments_of_0_1_0 = 5;
  if (PG_NARGS() == arguments_of_0_1_0)
    return limits;
  limits.strict = argument(fcinfo, 4) != "f";
  const auto slice = int_argument(fcinfo, 5), slices = int_argument(fcinfo, 6);
  if (slice.has_value() != slices.has_value())
    throw core::Failure(core::sqlstate::invalid_parameter_value, "slice and slices go together", "",
                        "For example slice => 1, slices => 2 in one session and slice => 2, slices => 2 in another.");
  if (slices && (*slices < 1 || *slices > core::Slice::most || *slice < 1 || *slice > *slices))
    throw core::Failure(core::sqlstate::invalid_parameter_value,
                        "there is no slice " + std::to_string(*slice) + " of " + std::to_string(*slices), "",
                        "Slices are numbered from 1; at most " + std::to_string(core::Slice::most) + " are possible.");
  if (slices)
    limits.slice = {static_cast<std::uint32_t>(*slice), static_cast<std::uint32_t>(*slices)};
  limits.max_rows_per_second = positive_argument(fcinfo, 7, "max_rows_per_second");
  limits.sleep = microseconds_argument(fcinfo, 8, "sleep");
  return limits;
}

Datum set_of(FunctionCallInfo fcinfo, const boundary::Rows& rows) {
  return server([&]() -> Datum {
    InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
    auto* const info = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
    AttInMetadata* const meta = TupleDescGetAttInMetadata(info->setDesc);
    for (const Row& row : rows)
      tuplestore_puttuple(info->setResult, BuildTupleFromCStrings(meta, c_strings(row)));
    return Datum{0};
  });
}

} // namespace pg_retention::server
