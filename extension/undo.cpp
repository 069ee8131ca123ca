/// SQL entry points of what takes a run back, and of what ends that for good.
#include "extension/boundary/guard.hpp"
#include "extension/core/failure.hpp"
#include "extension/server/purge.hpp"
#include "extension/server/restore.hpp"
#include "extension/server/rows.hpp"

using namespace pg_retention;
using boundary::enter;

// The server's macros declare these functions without a visibility of their own.
#pragma GCC visibility push(default)
extern "C" {

PG_FUNCTION_INFO_V1(retention_restore);
Datum retention_restore(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) {
    (void)server::required_argument(fcinfo, 0, "run_id");
    const bool is_partial = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
    return server::composite(fcinfo, server::result_row(server::restore(PG_GETARG_INT64(0), is_partial)));
  });
}

PG_FUNCTION_INFO_V1(retention_add_purge);
Datum retention_add_purge(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) {
    const std::string policy = server::required_argument(fcinfo, 0, "policy");
    const std::string expire_after = server::required_argument(fcinfo, 1, "expire_after");
    const bool if_not_exists = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);
    const std::string name =
        server::add_purge(policy, expire_after, server::argument(fcinfo, 2).value_or(""), if_not_exists);
    return boundary::server([&] { return CStringGetTextDatum(name.c_str()); });
  });
}

} // extern "C"
#pragma GCC visibility pop
