/// The SQL entry points of holds.
#include "extension/boundary/guard.hpp"
#include "extension/core/failure.hpp"
#include "extension/server/hold_define.hpp"
#include "extension/server/rows.hpp"

using namespace pg_retention;
using boundary::enter;

namespace {

/// A hold by what its second argument says of the rows.
Datum add_hold(FunctionCallInfo fcinfo, const char* rows, decltype(server::hold_define::add_by_key)& add) {
  (void)server::required_argument(fcinfo, 0, "relation");
  const std::string which = server::required_argument(fcinfo, 1, rows);
  const std::string reason = server::required_argument(fcinfo, 2, "reason");
  const std::int64_t id = add(PG_GETARG_OID(0), which, reason, server::instant_argument(fcinfo, 3));
  return Int64GetDatum(id);
}

} // namespace

// The server's macros declare these functions without a visibility of their own.
#pragma GCC visibility push(default)
extern "C" {

PG_FUNCTION_INFO_V1(retention_add_hold);
Datum retention_add_hold(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) {
    return add_hold(fcinfo, "condition", server::hold_define::add_by_condition);
  });
}

PG_FUNCTION_INFO_V1(retention_add_hold_by_key);
Datum retention_add_hold_by_key(PG_FUNCTION_ARGS) {
  return enter(fcinfo,
               [](FunctionCallInfo fcinfo) { return add_hold(fcinfo, "key", server::hold_define::add_by_key); });
}

PG_FUNCTION_INFO_V1(retention_release_hold);
Datum retention_release_hold(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) -> Datum {
    (void)server::required_argument(fcinfo, 0, "id");
    server::hold_define::release(PG_GETARG_INT64(0), server::required_argument(fcinfo, 1, "reason"));
    return Datum{0};
  });
}

/// The trigger behind which placed holds stay as they are.
PG_FUNCTION_INFO_V1(retention_refuse_hold_change);
Datum retention_refuse_hold_change(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo) -> Datum {
    throw core::Failure(core::sqlstate::not_in_prerequisite_state, "holds are kept for ever as they were placed", "",
                        "SELECT retention.release_hold(id, reason) ends one.");
  });
}

} // extern "C"
#pragma GCC visibility pop
