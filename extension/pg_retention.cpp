/// pg_retention: module magic, settings, and the SQL entry points. Each reads its arguments, calls one function of
/// server/, and returns what it gave.
#include "extension/boundary/guard.hpp"
#include "extension/core/failure.hpp"
#include "extension/server/advise.hpp"
#include "extension/server/application.hpp"
#include "extension/server/batches.hpp"
#include "extension/server/code.hpp"
#include "extension/server/define.hpp"
#include "extension/server/explain.hpp"
#include "extension/server/failures.hpp"
#include "extension/server/fuse.hpp"
#include "extension/server/history.hpp"
#include "extension/server/look.hpp"
#include "extension/server/presets.hpp"
#include "extension/server/rows.hpp"
#include "extension/server/schedule.hpp"
#include "extension/server/settings.hpp"
#include "extension/server/store.hpp"

using namespace pg_retention;
using boundary::enter;
using server::application::Age;

namespace {

/// An application function with an optional age: `clean` of one policy.
Datum clean(FunctionCallInfo fcinfo, const char* policy, const char* argument, const char* unit) {
  return server::jsonb(server::application::clean(policy, Age{argument, unit, server::int_argument(fcinfo, 0)}));
}

/// An oid argument; InvalidOid is NULL.
Oid oid_argument(FunctionCallInfo fcinfo, int position) {
  return PG_ARGISNULL(position) ? InvalidOid : PG_GETARG_OID(position);
}

std::string text_or_empty(FunctionCallInfo fcinfo, int position) {
  return server::argument(fcinfo, position).value_or("");
}

bool bool_argument(FunctionCallInfo fcinfo, int position) {
  return !PG_ARGISNULL(position) && PG_GETARG_BOOL(position);
}

} // namespace

// The server's macros declare these functions without a visibility of their own.
#pragma GCC visibility push(default)
extern "C" {

PG_MODULE_MAGIC;

void _PG_init(void);
void _PG_init(void) {
  server::settings::define();
  boundary::watch_schema();
}

PG_FUNCTION_INFO_V1(retention_library_version);
Datum retention_library_version(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo) {
    return boundary::server([] { return CStringGetTextDatum(PG_RETENTION_VERSION); });
  });
}

PG_FUNCTION_INFO_V1(retention_apply);
Datum retention_apply(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) {
    const auto outcome = server::application::apply(server::required_argument(fcinfo, 0, "policy"));
    return server::composite(fcinfo, server::result_row(outcome));
  });
}

PG_FUNCTION_INFO_V1(retention_run);
Datum retention_run(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) {
    const std::string policy = server::required_argument(fcinfo, 0, "policy");
    const auto limits = server::batch_limits(fcinfo);
    boundary::begin_procedure(fcinfo, "retention.run",
                              "SELECT * FROM retention.apply(...) runs in the caller's transaction.");
    const auto outcome = server::run_in_batches(policy, limits);
    boundary::end_procedure();
    return server::composite_column(fcinfo, server::result_row(outcome));
  });
}

PG_FUNCTION_INFO_V1(retention_run_all);
Datum retention_run_all(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) {
    boundary::begin_procedure(fcinfo, "retention.run_all",
                              "SELECT run_data_retention_cleanup() runs in the caller's transaction.");
    const std::string results = server::run_all_in_batches(server::application::run_list());
    boundary::end_procedure();
    return server::jsonb_column(fcinfo, results);
  });
}

PG_FUNCTION_INFO_V1(retention_preview);
Datum retention_preview(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) {
    const auto policy = server::presets::stored_or_built(server::required_argument(fcinfo, 0, "policy"));
    const int sample = server::int_argument(fcinfo, 2).value_or(5);
    if (sample < 0 || sample > 1000)
      throw core::Failure(core::sqlstate::invalid_parameter_value, "sample must be between 0 and 1000");
    return server::set_of(fcinfo, server::preview_rows(policy, server::instant_argument(fcinfo, 1), sample));
  });
}

PG_FUNCTION_INFO_V1(retention_explain);
Datum retention_explain(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) {
    const auto policy = server::presets::stored_or_built(server::required_argument(fcinfo, 0, "policy"));
    return server::set_of(fcinfo, server::explain_rows(policy));
  });
}

PG_FUNCTION_INFO_V1(retention_check);
Datum retention_check(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) {
    const auto one = server::argument(fcinfo, 0);
    boundary::Rows rows;
    for (const std::string& name : one ? std::vector<std::string>{*one} : server::store::names())
      for (boundary::Row& row : server::findings(server::presets::stored_or_built(name)))
        rows.push_back(std::move(row));
    return server::set_of(fcinfo, rows);
  });
}

PG_FUNCTION_INFO_V1(retention_retry_failures);
Datum retention_retry_failures(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) {
    const auto ended = static_cast<std::int64_t>(server::end_pauses(server::argument(fcinfo, 0)));
    return boundary::server([&] { return Int64GetDatum(ended); });
  });
}

PG_FUNCTION_INFO_V1(retention_export_policies);
Datum retention_export_policies(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo) { return server::jsonb(server::code::export_policies()); });
}

PG_FUNCTION_INFO_V1(retention_import_policies);
Datum retention_import_policies(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) {
    const std::string document = server::required_argument(fcinfo, 0, "policies");
    return server::set_of(fcinfo, server::code::import_policies(document, bool_argument(fcinfo, 1)));
  });
}

PG_FUNCTION_INFO_V1(retention_run_list);
Datum retention_run_list(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) {
    boundary::Rows rows;
    for (const std::string& name : server::application::run_list())
      rows.push_back({name});
    return server::set_of(fcinfo, rows);
  });
}

PG_FUNCTION_INFO_V1(retention_adopt_preset);
Datum retention_adopt_preset(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) -> Datum {
    server::presets::Names names;
    const std::string name = server::required_argument(fcinfo, 0, "name");
    names.target = oid_argument(fcinfo, 1);
    names.subject = oid_argument(fcinfo, 2);
    names.time_column = text_or_empty(fcinfo, 3);
    names.expire_after = text_or_empty(fcinfo, 4);
    names.time_zone = text_or_empty(fcinfo, 5);
    if (const auto path = server::argument(fcinfo, 6))
      names.path = core::array_items(*path);
    names.activity = oid_argument(fcinfo, 7);
    names.activity_time_column = text_or_empty(fcinfo, 8);
    names.activity_condition = text_or_empty(fcinfo, 9);
    names.images = oid_argument(fcinfo, 10);
    names.videos = oid_argument(fcinfo, 11);
    names.condition = text_or_empty(fcinfo, 12);
    names.set_clause = text_or_empty(fcinfo, 13);
    server::define::adopt_preset(name, names, bool_argument(fcinfo, 14));
    return Datum{0};
  });
}

PG_FUNCTION_INFO_V1(retention_add_policy);
Datum retention_add_policy(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) -> Datum {
    server::define::Definition definition;
    definition.fields = server::named_arguments(fcinfo, 0);
    const bool if_not_exists = definition.fields["if_not_exists"] == "t";
    definition.fields.erase("if_not_exists");
    server::define::add(std::move(definition), if_not_exists);
    return Datum{0};
  });
}

PG_FUNCTION_INFO_V1(retention_add_activity);
Datum retention_add_activity(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) -> Datum {
    const std::string policy = server::required_argument(fcinfo, 0, "policy");
    (void)server::required_argument(fcinfo, 1, "relation");
    core::Activity activity;
    activity.relation = oid_argument(fcinfo, 1);
    activity.time_column = server::required_argument(fcinfo, 2, "time_column");
    activity.join_condition = server::required_argument(fcinfo, 3, "join_condition");
    activity.condition = text_or_empty(fcinfo, 4);
    activity.unit = core::time_unit(text_or_empty(fcinfo, 5));
    activity.time_zone = text_or_empty(fcinfo, 6);
    server::define::add_activity(policy, std::move(activity));
    return Datum{0};
  });
}

PG_FUNCTION_INFO_V1(retention_add_dependent);
Datum retention_add_dependent(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) -> Datum {
    const std::string policy = server::required_argument(fcinfo, 0, "policy");
    (void)server::required_argument(fcinfo, 1, "relation");
    core::Dependent dependent;
    dependent.relation = oid_argument(fcinfo, 1);
    dependent.join_condition = text_or_empty(fcinfo, 2);
    dependent.action = core::dependent_action(server::required_argument(fcinfo, 3, "action"));
    dependent.parent = oid_argument(fcinfo, 4);
    server::define::add_dependent(policy, std::move(dependent));
    return Datum{0};
  });
}

PG_FUNCTION_INFO_V1(retention_alter_policy);
Datum retention_alter_policy(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) -> Datum {
    const std::string name = server::required_argument(fcinfo, 0, "name");
    core::Fields changes = server::named_arguments(fcinfo, 1);
    const std::string reset = changes["reset"].value_or("{}");
    changes.erase("reset");
    server::define::alter_policy(name, changes, core::array_items(reset));
    return Datum{0};
  });
}

PG_FUNCTION_INFO_V1(retention_remove_policy);
Datum retention_remove_policy(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) -> Datum {
    server::define::remove_policy(server::required_argument(fcinfo, 0, "name"), bool_argument(fcinfo, 1));
    return Datum{0};
  });
}

PG_FUNCTION_INFO_V1(retention_pause_policy);
Datum retention_pause_policy(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) -> Datum {
    server::define::pause_policy(server::required_argument(fcinfo, 0, "name"));
    return Datum{0};
  });
}

PG_FUNCTION_INFO_V1(retention_resume_policy);
Datum retention_resume_policy(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) -> Datum {
    server::define::resume_policy(server::required_argument(fcinfo, 0, "name"));
    return Datum{0};
  });
}

PG_FUNCTION_INFO_V1(retention_approve);
Datum retention_approve(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) -> Datum {
    const std::string policy = server::required_argument(fcinfo, 0, "policy");
    const std::int64_t run = std::stoll(server::required_argument(fcinfo, 1, "run_id"));
    const std::int64_t rows = server::approve(policy, run, server::required_argument(fcinfo, 2, "reason"));
    return boundary::server([&] { return Int64GetDatum(rows); });
  });
}

PG_FUNCTION_INFO_V1(retention_has_archived_rows);
Datum retention_has_archived_rows(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) -> Datum {
    const std::int64_t run = std::stoll(server::required_argument(fcinfo, 0, "run_id"));
    return BoolGetDatum(server::history::has_archived_rows(run));
  });
}

PG_FUNCTION_INFO_V1(retention_cleanup_inactive_carts);
Datum retention_cleanup_inactive_carts(PG_FUNCTION_ARGS) {
  return enter(fcinfo,
               [](FunctionCallInfo fcinfo) { return clean(fcinfo, "inactive_carts", "inactive_days", "days"); });
}

PG_FUNCTION_INFO_V1(retention_cleanup_old_cart_items);
Datum retention_cleanup_old_cart_items(PG_FUNCTION_ARGS) {
  return enter(fcinfo,
               [](FunctionCallInfo fcinfo) { return clean(fcinfo, "old_cart_items", "older_than_days", "days"); });
}

PG_FUNCTION_INFO_V1(retention_cleanup_inactive_sessions);
Datum retention_cleanup_inactive_sessions(PG_FUNCTION_ARGS) {
  return enter(fcinfo,
               [](FunctionCallInfo fcinfo) { return clean(fcinfo, "inactive_sessions", "inactive_hours", "hours"); });
}

PG_FUNCTION_INFO_V1(retention_cleanup_inactive_sessions_for_user);
Datum retention_cleanup_inactive_sessions_for_user(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) {
    return server::jsonb(server::application::clean_sessions_of(server::argument(fcinfo, 0)));
  });
}

PG_FUNCTION_INFO_V1(retention_expire_pending_bookings);
Datum retention_expire_pending_bookings(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) {
    return clean(fcinfo, "pending_bookings", "older_than_minutes", "minutes");
  });
}

PG_FUNCTION_INFO_V1(retention_get_inactive_carts_preview);
Datum retention_get_inactive_carts_preview(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo) { return server::jsonb(server::preview_dictionary("inactive_carts")); });
}

PG_FUNCTION_INFO_V1(retention_get_old_cart_items_preview);
Datum retention_get_old_cart_items_preview(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo) { return server::jsonb(server::preview_dictionary("old_cart_items")); });
}

PG_FUNCTION_INFO_V1(retention_get_inactive_sessions_preview);
Datum retention_get_inactive_sessions_preview(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo) { return server::jsonb(server::preview_dictionary("inactive_sessions")); });
}

PG_FUNCTION_INFO_V1(retention_get_expired_bookings_preview);
Datum retention_get_expired_bookings_preview(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo) { return server::jsonb(server::preview_dictionary("pending_bookings")); });
}

PG_FUNCTION_INFO_V1(retention_scheduled_cleanup);
Datum retention_scheduled_cleanup(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo) { return server::jsonb(server::application::scheduled_cleanup()); });
}

PG_FUNCTION_INFO_V1(retention_daily_cleanup);
Datum retention_daily_cleanup(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo) { return server::jsonb(server::application::daily_cleanup()); });
}

PG_FUNCTION_INFO_V1(retention_user_activity);
Datum retention_user_activity(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo fcinfo) { return server::set_of(fcinfo, server::user_activity()); });
}

PG_FUNCTION_INFO_V1(retention_start_scheduler);
Datum retention_start_scheduler(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo) { return server::jsonb(server::schedule::start()); });
}

PG_FUNCTION_INFO_V1(retention_stop_scheduler);
Datum retention_stop_scheduler(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo) { return server::jsonb(server::schedule::stop()); });
}

PG_FUNCTION_INFO_V1(retention_scheduler_status);
Datum retention_scheduler_status(PG_FUNCTION_ARGS) {
  return enter(fcinfo, [](FunctionCallInfo) { return server::jsonb(server::schedule::status()); });
}

} // extern "C"
#pragma GCC visibility pop
