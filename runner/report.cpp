#include "report.hpp"

#include "connection.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
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

/// Keeps a text away from the terminal's control: names and messages come from the database.
std::string visible(std::string_view text, std::string_view allowed) {
  std::string shown;
  for (const char c : text) {
    const unsigned code = static_cast<unsigned char>(c);
    if ((code >= 0x20 && code != 0x7f) || allowed.find(c) != std::string_view::npos) {
      shown += c;
    } else if (c == '\n') {
      shown += "\\n";
    } else if (c == '\t') {
      shown += "\\t";
    } else {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\x%02x", code);
      shown += escape;
    }
  }
  return shown;
}

/// Keeps a text on one line as well.
std::string one_line(std::string_view text) { return visible(text, {}); }

/// Writes one line at once: whoever reads along sees each policy as it ends.
void write_line(const std::string& line) { std::cout << line << std::endl; }

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

/// Columns as wide as they need to be, in characters; numbers stand right.
class Table {
public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }

  /// Adds one row; it has as many cells as the header.
  void add(std::vector<std::string> cells) {
    for (std::string& cell : cells)
      cell = one_line(cell);
    rows_.push_back(std::move(cells));
  }

  /// Writes the header, a rule and the rows.
  void write() const {
    std::vector<std::size_t> widths(rows_.front().size(), 0);
    for (const auto& row : rows_)
      for (std::size_t i = 0; i < row.size(); ++i)
        widths[i] = std::max(widths[i], characters(row[i]));
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      write_row(rows_[r], widths);
      if (r == 0)
        write_rule(widths);
    }
  }

private:
  static std::size_t characters(const std::string& text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  }
  static bool is_number(const std::string& text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  }
  static void write_row(const std::vector<std::string>& row, const std::vector<std::size_t>& widths) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - characters(row[i]), ' ');
      line += (i == 0 ? " " : " | ") + (is_number(row[i]) ? space + row[i] : row[i] + space);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    write_line(line);
  }
  static void write_rule(const std::vector<std::size_t>& widths) {
    std::string line;
    for (std::size_t i = 0; i < widths.size(); ++i)
      line += (i == 0 ? "" : "+") + std::string(widths[i] + 2, '-');
    write_line(line);
  }

  std::vector<std::vector<std::string>> rows_;
};

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
  if (outcome.cutoff)
    add("cutoff " + *outcome.cutoff);
  if (outcome.batches)
    add(*outcome.batches + (*outcome.batches == "1" ? " batch" : " batches"));
  if (outcome.duration_ms) {
    char duration[48];
    std::snprintf(duration, sizeof duration, "%.1f ms", *outcome.duration_ms);
    add(duration);
  }
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
  line["cutoff"] = text_value(outcome.cutoff);
  line["started"] = text_value(outcome.started);
  line["finished"] = text_value(outcome.finished);
  line["duration_ms"] = outcome.duration_ms ? Json(std::round(*outcome.duration_ms * 1000) / 1000) : Json(nullptr);
  line["batches"] = parsed_value(outcome.batches);
  line["stop_reason"] = text_value(outcome.stop_reason);
  line["sqlstate"] = text_value(outcome.sqlstate);
  line["error_detail"] = text_value(outcome.error_detail);
  return line;
}

} // namespace

void note(std::string_view text) { std::cerr << "pg_retention: " << visible(text, "\n\t") << std::endl; }

void error(std::string_view text) { std::cerr << "pg_retention: error: " << visible(text, "\n\t") << std::endl; }

void hint(std::string_view text) {
  if (!text.empty())
    std::cerr << "pg_retention: hint: " << visible(text, "\n\t") << std::endl;
}

std::string whole(const ServerError& failure) {
  std::string text = failure.severity.empty() ? std::string() : failure.severity + ":  ";
  text += failure.what();
  if (!failure.sqlstate().empty())
    text += " (SQLSTATE " + failure.sqlstate() + ")";
  if (!failure.detail.empty())
    text += "\nDETAIL:  " + failure.detail;
  if (!failure.hint.empty())
    text += "\nHINT:  " + failure.hint;
  if (!failure.context.empty())
    text += "\nCONTEXT:  " + failure.context;
  return text;
}

void Report::outcome(const Outcome& outcome) {
  if (verbosity_ == Verbosity::quiet && outcome.success)
    return;
  if (format_ == LogFormat::json)
    write_line(json_line(outcome));
  else
    write_line(text_line(outcome));
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
  table.write();
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
      write_line(line);
      continue;
    }
    std::vector<std::string> cells{value("policy").value_or(""), value("paused") == "t" ? "yes" : "no"};
    for (const char* name : {"target", "action", "expire_after", "last_started", "last_outcome", "last_affected",
                             "last_success", "runs", "failures"})
      cells.push_back(value(name).value_or(""));
    table.add(std::move(cells));
  }
  if (format_ == LogFormat::text)
    table.write();
}

bool Report::complete() {
  std::cout.flush();
  return std::cout.good();
}

} // namespace pg_retention::runner
