#include "report.hpp"

#include "message.hpp"
#include "table.hpp"
#include "terminal.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <iostream>

namespace pg_retention::runner {
namespace {

using Json = nlohmann::ordered_json;

/// The present instant, RFC 3339 in UTC with microseconds, as the server's times are written.
std::string now_utc() {
  using namespace std::chrono;
  const auto now = system_clock::now();
  const std::time_t seconds = system_clock::to_time_t(now);
  const auto micros = duration_cast<microseconds>(now.time_since_epoch()).count() % 1000000;
  std::tm fields{};
  gmtime_r(&seconds, &fields);
  char date[32];
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &fields);
  char text[48];
  std::snprintf(text, sizeof text, "%s.%06dZ", date, static_cast<int>(micros));
  return text;
}

/// Writes one line at once: whoever reads along sees each policy as it ends.
void write_line(const std::string& line) {
  withdraw_status_line();
  std::cout << line << std::endl;
}

/// Writes a table for people.
void write_table(const Table& table) {
  for (const std::string& line : table.lines())
    write_line(line);
}

/// A duration as both formats have it: milliseconds, to the microsecond.
Json duration_value(const std::optional<double>& milliseconds) {
  return milliseconds ? Json(std::round(*milliseconds * 1000) / 1000) : Json(nullptr);
}

/// The same for people.
std::string duration_text(double milliseconds) {
  char text[48];
  std::snprintf(text, sizeof text, "%.1f ms", milliseconds);
  return text;
}

/// Writes one object as one line; bytes that are not UTF-8 are replaced.
void write_line(const Json& object) { write_line(object.dump(-1, ' ', false, Json::error_handler_t::replace)); }

/// A text that may be unknown.
Json text_value(const std::optional<std::string>& value) { return value ? Json(*value) : Json(nullptr); }

/// A value whose text is JSON as it stands: a number, or jsonb.
Json parsed_value(const std::optional<std::string>& value) {
  if (!value)
    return nullptr;
  Json parsed = Json::parse(*value, nullptr, false);
  return parsed.is_discarded() ? Json(*value) : parsed;
}

/// A boolean of the server.
Json boolean_value(const std::optional<std::string>& value) { return value ? Json(*value == "t") : Json(nullptr); }

/// The part of a line in parentheses: what is known of the run, in the words of the manual.
std::string particulars(const Outcome& outcome) {
  std::string text;
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  const auto add_count = [&add](const std::optional<std::string>& count, const std::string& what) {
    if (count && *count != "0")
      add(*count + " " + what);
  };
  if (outcome.run_id)
    add("run " + *outcome.run_id);
  std::string runs;
  for (const Outcome& part : outcome.parts)
    if (part.run_id)
      runs += " " + *part.run_id;
  if (!runs.empty())
    add("runs" + runs);
  if (outcome.action && outcome.affected)
    add(*outcome.action + " " + *outcome.affected + (*outcome.affected == "1" ? " row" : " rows"));
  if (outcome.subjects)
    add(*outcome.subjects + (*outcome.subjects == "1" ? " subject" : " subjects"));
  if (const Json dependents = parsed_value(outcome.dependents); dependents.is_object()) {
    for (const auto& [relation, rows] : dependents.items())
      add("dependent " + relation + " " + rows.dump());
  }
  add_count(outcome.skipped_locked, "skipped as locked");
  add_count(outcome.skipped_blocked, "skipped as blocked");
  add_count(outcome.skipped_held, "skipped as held");
  add_count(outcome.skipped_returned, "skipped as returned");
  add_count(outcome.skipped_failed, "failed");
  if (outcome.cutoff)
    add("cutoff " + *outcome.cutoff);
  if (outcome.batches)
    add(*outcome.batches + (*outcome.batches == "1" ? " batch" : " batches"));
  if (outcome.duration_ms)
    add(duration_text(*outcome.duration_ms));
  if (outcome.stop_reason && outcome.success && *outcome.stop_reason != "done")
    add("stopped: " + *outcome.stop_reason);
  if (outcome.sqlstate)
    add("SQLSTATE " + *outcome.sqlstate);
  return text.empty() ? text : " (" + text + ")";
}

/// The line of a policy for people.
std::string text_line(const Outcome& outcome) {
  return one_line(now_utc() + " " + outcome.policy + (outcome.success ? ": ok: " : ": failed: ") + outcome.message +
                  particulars(outcome));
}

/// The line of a policy for machines; every key is always there.
Json json_line(const Outcome& outcome) {
  Json line;
  line["time"] = now_utc();
  line["policy"] = outcome.policy;
  line["success"] = outcome.success;
  line["message"] = outcome.message;
  line["run_id"] = parsed_value(outcome.run_id);
  line["action"] = text_value(outcome.action);
  line["affected"] = parsed_value(outcome.affected);
  line["subjects"] = parsed_value(outcome.subjects);
  line["dependents"] = outcome.dependents ? parsed_value(outcome.dependents) : Json::object();
  line["skipped"]["locked"] = parsed_value(outcome.skipped_locked);
  line["skipped"]["blocked"] = parsed_value(outcome.skipped_blocked);
  line["skipped"]["held"] = parsed_value(outcome.skipped_held);
  line["skipped"]["returned"] = parsed_value(outcome.skipped_returned);
  line["skipped"]["failed"] = parsed_value(outcome.skipped_failed);
  line["cutoff"] = text_value(outcome.cutoff);
  line["started"] = text_value(outcome.started);
  line["finished"] = text_value(outcome.finished);
  line["duration_ms"] = duration_value(outcome.duration_ms);
  line["batches"] = parsed_value(outcome.batches);
  line["stop_reason"] = text_value(outcome.stop_reason);
  line["sqlstate"] = text_value(outcome.sqlstate);
  line["error_detail"] = text_value(outcome.error_detail);
  line["slices"] = Json::array();
  for (const Outcome& part : outcome.parts)
    line["slices"].push_back({{"slice", part.slice},
                              {"run_id", parsed_value(part.run_id)},
                              {"success", part.success},
                              {"message", part.message},
                              {"affected", parsed_value(part.affected)},
                              {"duration_ms", duration_value(part.duration_ms)},
                              {"stop_reason", text_value(part.stop_reason)},
                              {"sqlstate", text_value(part.sqlstate)}});
  return line;
}

/// Bytes for people.
std::string bytes_text(std::int64_t bytes) {
  static constexpr const char* units[] = {"bytes", "kB", "MB", "GB", "TB"};
  double size = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; size >= 10240 && unit + 1 < std::size(units); ++unit)
    size /= 1024;
  char text[48];
  std::snprintf(text, sizeof text, "%.0f %s", size, units[unit]);
  return text;
}

} // namespace

void Report::outcome(const Outcome& outcome) {
  if (verbosity_ == Verbosity::quiet && outcome.success)
    return;
  if (format_ == LogFormat::json)
    write_line(json_line(outcome));
  else
    write_line(text_line(outcome));
}

void Report::vacuumed(const Vacuumed& table) {
  if (verbosity_ == Verbosity::quiet && table.success)
    return;
  if (format_ == LogFormat::text) {
    std::string line = now_utc() + " vacuum of " + table.name + (table.success ? ": ok: " : ": failed: ");
    line += table.success ? bytes_text(table.bytes_returned()) + " given back to the operating system" : table.message;
    line += " (" + std::to_string(table.dead_rows) + " dead rows, " + bytes_text(table.size_before) + " before";
    if (table.size_after)
      line += ", " + bytes_text(*table.size_after) + " after";
    line += ", " + duration_text(table.duration_ms);
    if (table.sqlstate)
      line += ", SQLSTATE " + *table.sqlstate;
    write_line(one_line(line + ")"));
    return;
  }
  Json line;
  line["time"] = now_utc();
  line["vacuum"] = table.name;
  line["success"] = table.success;
  line["message"] = table.message;
  line["dead_rows"] = table.dead_rows;
  line["size_before"] = table.size_before;
  line["size_after"] = table.size_after ? Json(*table.size_after) : Json(nullptr);
  line["bytes_returned"] = table.bytes_returned();
  line["duration_ms"] = duration_value(table.duration_ms);
  line["sqlstate"] = text_value(table.sqlstate);
  line["error_detail"] = text_value(table.error_detail);
  write_line(line);
}

void Report::unrestored(const Rows& reasons) {
  for (int row = 0; row < reasons.count(); ++row) {
    const auto text = [&](const char* name) { return reasons.value(row, name).value_or(""); };
    if (format_ == LogFormat::text) {
      write_line(one_line(now_utc() + " " + text("relation") + ": " + text("rows") +
                          " stay in the archive: " + text("message") + " (SQLSTATE " + text("sqlstate") + ")"));
      continue;
    }
    Json line;
    line["time"] = now_utc();
    line["run_id"] = parsed_value(reasons.value(row, "run"));
    line["relation"] = text("relation");
    line["staying"] = parsed_value(reasons.value(row, "rows"));
    line["sqlstate"] = text("sqlstate");
    line["message"] = text("message");
    line["sample_keys"] = parsed_value(reasons.value(row, "sample_keys"));
    write_line(line);
  }
}

void Report::preview(const std::string& policy, const Rows& relations) {
  if (format_ == LogFormat::json) {
    Json line;
    line["time"] = now_utc();
    line["policy"] = policy;
    line["success"] = true;
    line["relations"] = Json::array();
    for (int row = 0; row < relations.count(); ++row) {
      Json relation;
      for (const char* name : {"relation", "role"})
        relation[name] = text_value(relations.value(row, name));
      for (const char* name : {"expected_rows", "blocked", "held"})
        relation[name] = parsed_value(relations.value(row, name));
      for (const char* name : {"oldest", "newest"})
        relation[name] = text_value(relations.value(row, name));
      relation["sample_keys"] = parsed_value(relations.value(row, "sample_keys"));
      line["relations"].push_back(std::move(relation));
    }
    write_line(line);
    return;
  }
  const std::vector<std::string> names{"relation", "role",   "expected_rows", "blocked",
                                       "held",     "oldest", "newest",        "sample_keys"};
  Table table({"relation", "role", "expected rows", "blocked", "held", "oldest", "newest", "sample keys"});
  for (int row = 0; row < relations.count(); ++row) {
    std::vector<std::string> cells;
    for (const std::string& name : names)
      cells.push_back(relations.value(row, name).value_or(""));
    table.add(std::move(cells));
  }
  write_line("Policy " + one_line(policy));
  write_table(table);
  write_line(std::string());
}

void Report::preview_failure(const Outcome& outcome) {
  if (format_ == LogFormat::text) {
    write_line("Policy " + one_line(outcome.policy));
    write_line(" failed: " + one_line(outcome.message) + particulars(outcome) + "\n");
    return;
  }
  Json line;
  line["time"] = now_utc();
  line["policy"] = outcome.policy;
  line["success"] = false;
  line["relations"] = Json::array();
  line["message"] = outcome.message;
  line["sqlstate"] = text_value(outcome.sqlstate);
  line["error_detail"] = text_value(outcome.error_detail);
  write_line(line);
}

void Report::status(const Rows& policies) {
  Table table({"policy", "paused", "target", "action", "expire after", "last run", "outcome", "affected",
               "last success", "runs", "failures"});
  for (int row = 0; row < policies.count(); ++row) {
    const auto value = [&](const char* name) { return policies.value(row, name); };
    if (format_ == LogFormat::json) {
      Json line;
      line["time"] = now_utc();
      line["policy"] = text_value(value("policy"));
      line["paused"] = boolean_value(value("paused"));
      for (const char* name : {"target", "action", "expire_after"})
        line[name] = text_value(value(name));
      line["last_run_id"] = parsed_value(value("last_run_id"));
      for (const char* name : {"last_started", "last_finished", "last_outcome"})
        line[name] = text_value(value(name));
      line["last_affected"] = parsed_value(value("last_affected"));
      line["last_success"] = text_value(value("last_success"));
      for (const char* name : {"runs", "failures"})
        line[name] = parsed_value(value(name));
      line["needs_approval"] = boolean_value(value("needs_approval"));
      line["fuse"] = text_value(value("fuse"));
      for (const char* name : {"fuse_run", "fuse_expected", "fuse_allowed"})
        line[name] = parsed_value(value(name));
      write_line(line);
      continue;
    }
    std::vector<std::string> cells{value("policy").value_or(""), value("paused") == "t" ? "yes" : "no"};
    const bool waits = value("needs_approval") == "t";
    for (const char* name : {"target", "action", "expire_after", "last_started", "last_outcome", "last_affected",
                             "last_success", "runs", "failures"})
      cells.push_back(waits && name == std::string_view("last_outcome")
                          ? "needs approval of run " + value("fuse_run").value_or("")
                          : value(name).value_or(""));
    table.add(std::move(cells));
  }
  if (format_ == LogFormat::text)
    write_table(table);
}

bool Report::complete() {
  std::cout.flush();
  return std::cout.good();
}

} // namespace pg_retention::runner
