#include "outcome.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <utility>

namespace pg_retention::runner {
namespace {

using Text = std::optional<std::string>;

/// The columns that `outcome_of` reads, from a row `r`. Counts of dead rows reach the statistics as it is read, not
/// some seconds later: the vacuum is decided by them.
std::string columns(const std::string& run_id) {
  return "r.success, r.message, r.policy, " + run_id +
         " AS run_id, r.action, r.affected, r.subjects, r.dependents, r.skipped_locked, r.skipped_blocked, "
         "r.skipped_held, r.skipped_returned, r.skipped_failed, " +
         instant("r.cutoff", "cutoff") + ", " + instant("r.started", "started") + ", " +
         instant("r.finished", "finished") +
         ", pg_catalog.date_part('epoch', r.started) AS began_at, "
         "pg_catalog.date_part('epoch', r.finished) AS ended_at, "
         "pg_catalog.date_part('epoch', pg_catalog.timestamptz_mi(r.finished, r.started)) AS seconds, "
         "r.batches, r.stop_reason, r.sqlstate, r.error_detail, pg_catalog.pg_stat_force_next_flush() AS flushed";
}

/// A number in text form, or nothing.
std::optional<double> number(const Text& text) {
  return text ? std::optional(std::strtod(text->c_str(), nullptr)) : std::nullopt;
}

/// The sum of what is known of a count; nothing where nothing is known.
Text total(const std::vector<Outcome>& slices, Text Outcome::*count) {
  Text sum;
  for (const Outcome& slice : slices)
    if (const Text& value = slice.*count)
      sum = std::to_string(std::strtoll(value->c_str(), nullptr, 10) +
                           (sum ? std::strtoll(sum->c_str(), nullptr, 10) : 0));
  return sum;
}

/// Whether one instant in text form is before another; texts of one length are ordered as the instants are.
bool is_before(const std::string& one, const std::string& other) {
  if (one == "-infinity" || other == "infinity")
    return one != other;
  return other != "-infinity" && one != "infinity" && one < other;
}

/// The earliest instant that is known, or the latest.
Text extreme(const std::vector<Outcome>& slices, Text Outcome::*instant, bool latest) {
  Text found;
  for (const Outcome& slice : slices)
    if (const Text& value = slice.*instant;
        value && (!found || (latest ? is_before(*found, *value) : is_before(*value, *found))))
      found = value;
  return found;
}

/// The rows of dependents, summed by table.
Text total_dependents(const std::vector<Outcome>& slices) {
  nlohmann::ordered_json sum;
  for (const Outcome& slice : slices) {
    const auto counts = nlohmann::ordered_json::parse(slice.dependents.value_or(""), nullptr, false);
    if (!counts.is_object())
      continue;
    if (sum.is_null())
      sum = nlohmann::ordered_json::object();
    for (const auto& [relation, rows] : counts.items())
      if (rows.is_number_integer())
        sum[relation] = sum.value(relation, std::int64_t{0}) + rows.get<std::int64_t>();
  }
  return sum.is_null() ? Text() : Text(sum.dump());
}

/// Why the slices together stopped: what kept one of them from its end goes before limits, limits before the end.
Text joint_stop_reason(const std::vector<Outcome>& slices) {
  static constexpr std::string_view by_weight[] = {"done",   "max_rows", "max_runtime", "running", "locked",     "lag",
                                                   "paused", "fuse",     "cancelled",   "error",   "interrupted"};
  const auto weight = [](const Text& reason) {
    return std::find(std::begin(by_weight), std::end(by_weight), *reason) - std::begin(by_weight);
  };
  Text joint;
  for (const Outcome& slice : slices)
    if (slice.stop_reason && (!joint || weight(slice.stop_reason) > weight(joint)))
      joint = slice.stop_reason;
  return joint;
}

/// The words for rows of an action.
std::string done_to(const Text& action) {
  static const std::map<std::string, std::string> words{
      {"delete", "deleted"}, {"update", "updated"}, {"archive", "archived"}};
  const auto found = words.find(action.value_or(""));
  return found == words.end() ? "affected" : found->second;
}

/// What a policy that was cut says: how much was done, or which slices failed and why.
void word(Outcome& sum) {
  std::vector<const Outcome*> failures;
  for (const Outcome& slice : sum.parts)
    if (!slice.success)
      failures.push_back(&slice);
  if (failures.empty()) {
    const std::string rows = sum.affected.value_or("0");
    sum.message = done_to(sum.action) + " " + rows + (rows == "1" ? " row in " : " rows in ") +
                  std::to_string(sum.parts.size()) + " slices";
    return;
  }
  sum.sqlstate = failures.front()->sqlstate;
  sum.error_detail = failures.front()->error_detail;
  const bool alike = failures.size() == sum.parts.size() &&
                     std::all_of(failures.begin(), failures.end(),
                                 [&](const Outcome* failure) { return failure->message == failures.front()->message; });
  if (alike) {
    sum.message = failures.front()->message;
    return;
  }
  for (const Outcome* failure : failures)
    sum.message += (sum.message.empty() ? "slice " : "; slice ") + std::to_string(failure->slice) + " of " +
                   std::to_string(failure->slices) + ": " + failure->message;
}

} // namespace

std::string instant(const std::string& expression, const std::string& name) {
  return "COALESCE(pg_catalog.to_char(pg_catalog.timezone('UTC', " + expression +
         "), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), (" + expression + ")::pg_catalog.text) AS " + name;
}

std::string name_of(const std::string& policy, int slice, int slices) {
  std::string name = "policy \"" + policy + "\"";
  if (slices > 0)
    name += ", slice " + std::to_string(slice) + " of " + std::to_string(slices);
  return name;
}

Statement run_statement(const Share& share) {
  // The result comes in binary form: text of a timestamp may name its zone by letters that are read back as another's.
  Statement statement{"CALL retention.run($1", {share.policy}, true};
  const auto add = [&statement](const char* name, const Text& value) {
    if (!value)
      return;
    statement.parameters.emplace_back(*value);
    statement.sql += std::string(", ") + name + " => $" + std::to_string(statement.parameters.size());
  };
  const auto text = [](std::optional<std::int64_t> value) { return value ? Text(std::to_string(*value)) : Text(); };
  add("max_rows", text(share.limits.max_rows));
  add("max_runtime", share.limits.max_runtime);
  add("batch_rows", text(share.limits.batch_rows));
  if (!share.limits.strict)
    add("strict", "false");
  if (share.slices > 0) {
    add("slice", std::to_string(share.slice));
    add("slices", std::to_string(share.slices));
  }
  add("max_rows_per_second", text(share.limits.max_rows_per_second));
  add("sleep", share.limits.sleep);
  statement.sql += ")";
  return statement;
}

Statement apply_statement(const std::string& policy) {
  return {"SELECT " + columns("r.run_id") + " FROM retention.apply($1) AS r", {policy}};
}

Statement restore_statement(std::int64_t run_id, bool partial) {
  return {"SELECT " + columns("r.run_id") + " FROM retention.restore($1, $2) AS r",
          {std::to_string(run_id), partial ? "true" : "false"}};
}

Statement take_apart_statement(const std::string& result) {
  Statement statement{"SELECT " + columns("r.run_id") + " FROM (SELECT ($1::retention.result).*) AS r"};
  statement.parameters.emplace_back(result, true);
  statement.stoppable = false;
  return statement;
}

Statement end_statement(int backend) {
  // A process of that number that serves something else by now is left alone.
  Statement statement{"SELECT pg_catalog.pg_terminate_backend(a.pid, 10000) FROM pg_catalog.pg_stat_activity AS a"
                      " WHERE a.pid OPERATOR(pg_catalog.=) $1::pg_catalog.int4 AND a.query OPERATOR(pg_catalog.~~) "
                      "'CALL retention.run(%'",
                      {std::to_string(backend)}};
  statement.stoppable = false;
  return statement;
}

Statement recorded_statement(const Share& share, double seconds) {
  Statement statement{"SELECT " + columns("r.id") +
                          " FROM retention.runs AS r WHERE r.policy OPERATOR(pg_catalog.=) $1"
                          " AND COALESCE(r.slice, 0) OPERATOR(pg_catalog.=) $2::pg_catalog.int4"
                          " AND r.stop_reason OPERATOR(pg_catalog.=) ANY ('{cancelled,interrupted}'::pg_catalog.text[])"
                          " AND r.started OPERATOR(pg_catalog.>=) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)"
                          " pg_catalog.make_interval(secs => $3::pg_catalog.float8)) ORDER BY r.id DESC LIMIT 1",
                      {share.policy, std::to_string(share.slice), std::to_string(seconds)}};
  statement.stoppable = false;
  return statement;
}

Outcome outcome_of(const Rows& rows, const Share& share) {
  const auto value = [&](const char* name) { return rows.value(0, name); };
  Outcome outcome;
  outcome.policy = value("policy").value_or(share.policy);
  outcome.slice = share.slice;
  outcome.slices = share.slices;
  outcome.success = value("success") == "t";
  outcome.message = value("message").value_or("");
  outcome.run_id = value("run_id");
  outcome.action = value("action");
  outcome.affected = value("affected");
  outcome.subjects = value("subjects");
  outcome.dependents = value("dependents");
  outcome.skipped_locked = value("skipped_locked");
  outcome.skipped_blocked = value("skipped_blocked");
  outcome.skipped_held = value("skipped_held");
  outcome.skipped_returned = value("skipped_returned");
  outcome.skipped_failed = value("skipped_failed");
  outcome.cutoff = value("cutoff");
  outcome.started = value("started");
  outcome.finished = value("finished");
  outcome.began_at = number(value("began_at"));
  outcome.ended_at = number(value("ended_at"));
  if (const auto seconds = number(value("seconds")))
    outcome.duration_ms = *seconds * 1000;
  outcome.batches = value("batches");
  outcome.stop_reason = value("stop_reason");
  outcome.sqlstate = value("sqlstate");
  outcome.error_detail = value("error_detail");
  return outcome;
}

Outcome failed(const Share& share, std::string message, const std::string& sqlstate) {
  Outcome outcome;
  outcome.policy = share.policy;
  outcome.slice = share.slice;
  outcome.slices = share.slices;
  outcome.message = std::move(message);
  if (!sqlstate.empty())
    outcome.sqlstate = sqlstate;
  return outcome;
}

Outcome failed(const Share& share, const ServerError& failure) {
  Outcome outcome = failed(share, failure.what(), failure.sqlstate());
  std::string detail = failure.detail;
  if (!failure.hint.empty())
    detail += (detail.empty() ? "HINT:  " : "\nHINT:  ") + failure.hint;
  if (!detail.empty())
    outcome.error_detail = detail;
  return outcome;
}

Outcome sum_of(const std::vector<Outcome>& slices) {
  if (slices.size() == 1)
    return slices.front();
  Outcome sum;
  sum.parts = slices;
  sum.policy = slices.front().policy;
  sum.success = std::all_of(slices.begin(), slices.end(), [](const Outcome& slice) { return slice.success; });
  for (const Outcome& slice : slices)
    if (slice.action)
      sum.action = slice.action;
  for (Text Outcome::*count :
       {&Outcome::affected, &Outcome::subjects, &Outcome::skipped_locked, &Outcome::skipped_blocked,
        &Outcome::skipped_held, &Outcome::skipped_returned, &Outcome::skipped_failed, &Outcome::batches})
    sum.*count = total(slices, count);
  sum.dependents = total_dependents(slices);
  sum.cutoff = extreme(slices, &Outcome::cutoff, false);
  sum.started = extreme(slices, &Outcome::started, false);
  sum.finished = extreme(slices, &Outcome::finished, true);
  for (const Outcome& slice : slices) {
    if (slice.began_at)
      sum.began_at = std::min(sum.began_at.value_or(*slice.began_at), *slice.began_at);
    if (slice.ended_at)
      sum.ended_at = std::max(sum.ended_at.value_or(*slice.ended_at), *slice.ended_at);
  }
  if (sum.began_at && sum.ended_at)
    sum.duration_ms = (*sum.ended_at - *sum.began_at) * 1000;
  sum.stop_reason = joint_stop_reason(slices);
  word(sum);
  return sum;
}

} // namespace pg_retention::runner
