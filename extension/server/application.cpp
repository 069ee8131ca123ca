#include "extension/server/application.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/core/json.hpp"
#include "extension/core/message.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/history.hpp"
#include "extension/server/presets.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/rows.hpp"
#include "extension/server/store.hpp"

#include <algorithm>

namespace pg_retention::server::application {
namespace {

using core::Failure;
using core::JsonObject;

std::int64_t number(std::uint64_t count) { return static_cast<std::int64_t>(count); }

/// Rows of the dependents that play a role in a preset.
std::uint64_t dependents(const Outcome& outcome, const char* role) {
  const auto table = outcome.roles.find(role);
  const auto found = outcome.dependents.find(table == outcome.roles.end() ? "" : table->second);
  return found == outcome.dependents.end() ? 0 : found->second;
}

/// An interval as its argument or its policy says it: `90 days`.
std::string age_words(const core::Policy& policy, const RunOptions& options) {
  return options.expire_after.empty() ? policy.expire_after : options.expire_after;
}

/// The sentence for a run that went through.
std::string message_of(const core::Policy& policy, const Outcome& outcome, const std::string& age) {
  const bool is_nothing = outcome.affected == 0 && outcome.skipped() == 0;
  std::string said;
  if (policy.preset == "inactive_carts") {
    if (is_nothing)
      return outcome.expired_subjects == 0 ? "No inactive users (> " + age + ")" : "No cart items from inactive users";
    said = "Deleted " + core::counted(outcome.affected, "cart item") + " from " +
           core::counted(outcome.expired_subjects, "inactive user");
  } else if (policy.preset == "old_cart_items") {
    said = is_nothing ? "No cart items older than " + age
                      : "Deleted " + core::counted(outcome.affected, "cart item") + " older than " + age;
  } else if (policy.preset == "inactive_sessions") {
    said = is_nothing ? "No inactive sessions found" : "Deleted " + core::counted(outcome.affected, "inactive session");
  } else if (policy.preset == "pending_bookings") {
    said = is_nothing ? "No expired pending bookings found"
                      : "Expired " + core::counted(outcome.affected, "pending booking");
  } else {
    said = outcome.message;
  }
  return said + core::skipped_tail(outcome.locked, outcome.blocked, outcome.held, outcome.returned);
}

/// The counts of a run under the keys of its application function.
void add_counts(JsonObject& out, const std::string& preset, const Outcome& outcome) {
  if (preset == "inactive_carts") {
    out.set("deleted_items", number(outcome.affected));
    out.set("affected_carts", number(outcome.path_rows.empty() ? 0 : outcome.path_rows.front()));
    out.set("inactive_users", number(outcome.expired_subjects));
  } else if (preset == "old_cart_items") {
    out.set("deleted_items", number(outcome.affected));
  } else if (preset == "inactive_sessions") {
    out.set("deleted_sessions", number(outcome.affected));
    out.set("deleted_image_records", number(dependents(outcome, "images")));
    out.set("deleted_video_records", number(dependents(outcome, "videos")));
  } else if (preset == "pending_bookings") {
    std::vector<std::string> ids;
    for (const std::string& key : outcome.keys)
      ids.push_back(core::json_string(key));
    out.set("expired_bookings", number(outcome.affected));
    out.raw("expired_booking_ids", "[" + core::join(ids, ", ") + "]");
    out.set("truncated", outcome.affected > outcome.keys.size());
  } else {
    out.set("action", core::action_name(outcome.action)).set("affected", number(outcome.affected));
    out.set("subjects", number(outcome.subjects)).raw("dependents", json_counts(outcome.dependents));
  }
}

std::string dictionary(const std::string& preset, const Outcome& outcome, const JsonObject& extra) {
  JsonObject out = extra;
  out.set("success", outcome.success).set("message", outcome.message);
  add_counts(out, preset, outcome);
  out.set("skipped", number(outcome.skipped())).set("stop_reason", outcome.stop_reason);
  if (outcome.cutoff)
    out.set("cutoff_time", iso(*outcome.cutoff));
  else
    out.raw("cutoff_time", "null");
  if (!outcome.sqlstate.empty())
    out.set("sqlstate", outcome.sqlstate);
  if (!outcome.error_detail.empty())
    out.set("detail", outcome.error_detail);
  if (!outcome.error_hint.empty())
    out.set("hint", outcome.error_hint);
  return out.text();
}

/// What a function asks of a run beside the policy.
struct Request {
  Age age{};
  boundary::Text user; ///< sessions of this user only
  bool is_for_user = false;
};

/// Turns a request into options; throws Failure 22023, 22004 for arguments that cannot be.
RunOptions options_for(const core::Policy& policy, const Request& request) {
  RunOptions options;
  if (request.age.count) {
    if (*request.age.count <= 0)
      throw Failure(core::sqlstate::invalid_parameter_value,
                    std::string(request.age.name) + " must be greater than zero", "",
                    "Leave it out for the policy's own.");
    options.expire_after = std::to_string(*request.age.count) + " " + request.age.unit;
  }
  if (request.is_for_user) {
    if (!request.user)
      throw Failure(core::sqlstate::null_value_not_allowed, "user_id must not be null");
    const Oid users = policy.subject == InvalidOid ? policy.target : policy.subject;
    const auto key = catalog::key_columns(users);
    if (key.size() != 1)
      throw Failure(core::sqlstate::undefined_object,
                    catalog::relation(users, policy.subject_name).label() + " has no key of one column");
    const std::string column =
        std::string(policy.subject == InvalidOid ? "target" : "subject") + "." + core::quote(key.front());
    options.extra_conditions.push_back(column + " = " + core::quote_literal(*request.user));
  }
  options.count_expired_subjects = policy.preset == "inactive_carts";
  if (policy.preset == "pending_bookings") {
    std::vector<std::string> key;
    for (const std::string& column : catalog::key_columns(policy.target))
      key.push_back("target." + core::quote(column));
    if (!key.empty())
      options.key = key.size() == 1 ? key.front() : "ROW(" + core::join(key, ", ") + ")";
  }
  return options;
}

/// Runs and records; an error on the way becomes part of the outcome.
Outcome run(const std::string& name, const Request& request, const JsonObject& extra) {
  Outcome outcome;
  core::Policy policy;
  RunOptions options;
  std::string preset = presets::is_preset(name) ? name : "";
  const auto caught = boundary::attempt([&] {
    policy = presets::stored_or_built(name, true);
    options = options_for(policy, request);
  });
  if (caught) {
    policy.name = name;
    outcome = new_outcome(policy);
    note_failure(outcome, *caught);
    warn_of_failure(outcome);
  } else {
    preset = policy.preset;
    outcome = execute_policy(policy, options);
    if (outcome.success && outcome.stop_reason == "done")
      outcome.message = message_of(policy, outcome, age_words(policy, options));
  }
  outcome.statistics = dictionary(preset, outcome, extra);
  record(outcome);
  return outcome;
}

/// What one rule did, told.
struct Told {
  bool success;
  std::string dictionary;
};

Told tell(const std::string& name, const Request& request = {}, const JsonObject& extra = {}) {
  Outcome outcome = run(name, request, extra);
  return {outcome.success, std::move(outcome.statistics)};
}

/// Why the carts' preset cannot be built here; empty where it can, or where it is stored.
std::string why_no_carts() {
  const auto caught = boundary::attempt([] { (void)presets::stored_or_built("inactive_carts", true); });
  const bool is_elsewhere = caught && (caught->sqlstate == core::sqlstate::undefined_table ||
                                       caught->sqlstate == core::sqlstate::insufficient_privilege);
  return is_elsewhere ? caught->message : "";
}

} // namespace

std::string clean(const std::string& policy, const Age& age) {
  return tell(policy, Request{age, {}, false}).dictionary;
}

std::string clean_sessions_of(const boundary::Text& user) {
  return tell("inactive_sessions", Request{Age{}, user, true}, JsonObject().set("user_id", user)).dictionary;
}

std::string scheduled_cleanup() {
  const Told sessions = tell("inactive_sessions");
  const Told bookings = tell("pending_bookings");
  const bool both = sessions.success && bookings.success;
  JsonObject out;
  out.set("success", both);
  out.set("message", both ? "Session cleanup and booking expiration completed"
                          : std::string(sessions.success || bookings.success ? "One" : "Each") +
                                " of session cleanup and booking expiration failed");
  return out.raw("session_cleanup", sessions.dictionary).raw("booking_expiration", bookings.dictionary).text();
}

std::vector<std::string> run_list() {
  std::vector<std::string> names = store::names_in_order();
  if (!store::load("inactive_carts") && why_no_carts().empty())
    names.insert(names.begin(), "inactive_carts");
  history::put_last(names);
  return names;
}

std::string daily_cleanup() {
  std::vector<std::string> names = run_list();
  JsonObject out;
  if (names.empty())
    names.push_back("inactive_carts");
  int failed = 0;
  for (const std::string& name : names) {
    const Told done = tell(name);
    if (!done.success)
      ++failed;
    out.raw(name, done.dictionary);
  }
  if (const std::string why = why_no_carts(); !why.empty() && names.front() != "inactive_carts")
    out.raw("inactive_carts",
            JsonObject().set("success", true).set("skipped", true).set("message", "not configured: " + why).text());
  out.set("success", failed == 0);
  const std::string rules = core::counted(names.size(), "retention rule");
  out.set("message", failed == 0 ? "Ran " + rules : "Ran " + rules + ", " + std::to_string(failed) + " failed");
  return out.text();
}

Outcome apply(const std::string& name) {
  (void)presets::stored_or_built(name, name == history::policy_name);
  return run(name, {}, {});
}

} // namespace pg_retention::server::application
