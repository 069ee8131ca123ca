#include "extension/core/identifier.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/fuse.hpp"
#include "extension/server/layout.hpp"
#include "extension/server/rows.hpp"
#include "extension/server/run.hpp"
#include "extension/server/settings.hpp"
#include "extension/server/store.hpp"

#include <algorithm>

/// The row in retention.runs, the ledger, and the line in the server log.
namespace pg_retention::server {
namespace {

using boundary::Arg;

Arg text_or_null(const std::string& text) { return text.empty() ? Arg::null(TEXTOID) : Arg::of(text); }
Arg count(std::uint64_t number) { return Arg::of(static_cast<std::int64_t>(number)); }

/// The rows of one batch, written together. What the whole batch cost goes with the first, so that sums are true.
class Ledger {
public:
  /// `subjects`: those whose first rows in this run went with the batch. `is_full`: whether the table has this
  /// version's columns.
  Ledger(const Outcome& outcome, std::uint64_t subjects, bool is_full)
      : is_full_(is_full), args_{Arg::of(outcome.run_id),
                                 Arg::of(static_cast<std::int32_t>(std::max(outcome.batches, 1))),
                                 count(begin_of_batch().wal - outcome.begin.wal), count(subjects),
                                 Arg::time(outcome.begin.at)} {}

  /// The texts must live until write().
  void add(const std::string& relation, const std::string& action, std::uint64_t rows) {
    if (rows == 0)
      return;
    const bool is_first = values_.empty();
    values_ += (is_first ? "($1, $2, " : ", ($1, $2, ") + next(Arg::of(relation)) + ", " + next(Arg::of(action)) +
               ", " + next(count(rows));
    if (is_full_)
      values_ += is_first ? ", $3, $4, pg_catalog.clock_timestamp() - $5, pg_catalog.pg_current_wal_insert_lsn()"
                          : ", NULL, NULL, NULL, pg_catalog.pg_current_wal_insert_lsn()";
    values_ += ")";
  }

  void write() const {
    if (!values_.empty())
      boundary::execute(std::string("INSERT INTO retention.batch (run, batch, relation, action, affected") +
                            (is_full_ ? ", bytes, subjects, duration, wal_position" : "") + ") VALUES " + values_,
                        args_);
  }

private:
  bool is_full_;
  std::vector<Arg> args_;
  std::string values_;

  std::string next(const Arg& arg) {
    args_.push_back(arg);
    return "$" + std::to_string(args_.size());
  }
};

std::string log_line(const Outcome& outcome, const std::string& by) {
  std::string line = "pg_retention: run " + std::to_string(outcome.run_id) + " of policy " +
                     core::quote(outcome.policy) + " by " + by + ": " +
                     (outcome.success ? outcome.message : "failed: " + outcome.message);
  if (!outcome.sqlstate.empty())
    line += " (" + outcome.sqlstate + ")";
  line += "; affected " + std::to_string(outcome.affected) + ", subjects " + std::to_string(outcome.subjects) +
          ", dependents " + json_counts(outcome.dependents) + ", skipped " + std::to_string(outcome.skipped());
  if (outcome.cutoff)
    line += ", cutoff " + iso(*outcome.cutoff);
  return line + ", " + std::to_string((outcome.finished - outcome.started) / 1000) + " ms, " + outcome.stop_reason;
}

/// A row of retention.run, column by column.
class RunRow {
public:
  /// What stays as the run began; `form` is the SQL around the value, which stands as $ in it.
  void fix(const char* column, const Arg& value, const char* form = "$") {
    args_.push_back(value);
    columns_ += separator() + column;
    const std::string sql(form);
    const std::size_t at = sql.find('$') + 1;
    values_ += separator() + sql.substr(0, at) + std::to_string(args_.size()) + sql.substr(at);
  }

  /// What follows the run.
  void set(const char* column, const Arg& value, const char* form = "$") {
    fix(column, value, form);
    changes_ += std::string(changes_.empty() ? "" : ", ") + column + " = EXCLUDED." + column;
  }

  /// Writes the row, or what is new of it, and returns its id.
  [[nodiscard]] std::int64_t write() const {
    return std::stoll(boundary::single("INSERT INTO retention.run AS r (" + columns_ +
                                           ") OVERRIDING SYSTEM VALUE VALUES (" + values_ +
                                           ") ON CONFLICT (id) DO UPDATE SET " + changes_ + " RETURNING r.id",
                                       args_)
                          .value());
  }

private:
  std::vector<Arg> args_;
  std::string columns_, values_, changes_;

  [[nodiscard]] std::string separator() const { return args_.size() > 1 ? ", " : ""; }
};

Arg number_or_null(std::int64_t number) { return number == 0 ? Arg::null(INT8OID) : Arg::of(number); }

/// How a run went about it, and on what terms: columns that 0.1.0 did not have, which an updated library may meet.
void add_manner(RunRow& row, const Outcome& outcome) {
  const bool is_known = !outcome.walk.empty() || outcome.slices != 0;
  row.set("slice", number_or_null(outcome.slice));
  row.set("slices", number_or_null(outcome.slices));
  row.set("hand", text_or_null(outcome.hand));
  row.set("walk", text_or_null(outcome.walk));
  row.set("reason", text_or_null(outcome.reason));
  row.set("expected", outcome.expected ? count(*outcome.expected) : Arg::null(INT8OID));
  row.set("share", is_known ? Arg::datum(FLOAT8OID, boundary::server([&] { return Float8GetDatum(outcome.share); }))
                            : Arg::null(FLOAT8OID));
  row.set("pid", is_known ? Arg::of(static_cast<std::int32_t>(MyProcPid)) : Arg::null(INT4OID));
  row.set("skipped_failed", count(outcome.failed));
  row.set("approval", number_or_null(outcome.approval));
  row.set("asked", text_or_null(outcome.asked));
}

/// Writes the run's row, or what is new of it.
void write_run(Outcome& outcome, const std::string& by, const std::string& as, bool is_full) {
  const std::string action(core::action_name(outcome.action)), dependents = json_counts(outcome.dependents);
  RunRow row;
  row.fix("id", Arg::of(outcome.run_id), "COALESCE(NULLIF($, 0), pg_catalog.nextval('retention.run_id_seq'))");
  row.fix("policy", Arg::of(outcome.policy));
  row.fix("policy_version", number_or_null(outcome.policy_version));
  row.fix("run_by", Arg::of(by));
  row.fix("runs_as", text_or_null(as));
  row.fix("action", Arg::of(action));
  row.set("success", Arg::of(outcome.success));
  row.set("message", Arg::of(outcome.message));
  row.set("affected", count(outcome.affected));
  row.set("subjects", count(outcome.subjects));
  row.set("dependents", Arg::of(dependents), "$::pg_catalog.jsonb");
  row.set("skipped_locked", count(outcome.locked));
  row.set("skipped_blocked", count(outcome.blocked));
  row.set("skipped_held", count(outcome.held));
  row.set("skipped_returned", count(outcome.returned));
  row.fix("cutoff", outcome.cutoff ? Arg::time(*outcome.cutoff) : Arg::null(TIMESTAMPTZOID));
  row.fix("started", Arg::time(outcome.started));
  row.set("finished", Arg::time(outcome.finished));
  row.set("batches", Arg::of(static_cast<std::int32_t>(outcome.batches)));
  row.set("stop_reason", Arg::of(outcome.stop_reason));
  row.set("sqlstate", text_or_null(outcome.sqlstate));
  row.set("error_detail", text_or_null(outcome.error_detail));
  row.set("statistics", text_or_null(outcome.statistics), "$::pg_catalog.jsonb");
  if (is_full)
    add_manner(row, outcome);
  outcome.run_id = row.write();
}

/// Where rows went, with the first of them.
void write_layout(const Outcome& now, std::uint64_t known) {
  if (now.layout && known == 0 && now.affected != 0)
    note_layout(*now.layout, now.run_id);
}

std::string role_or_empty(Oid role) { return role == InvalidOid ? std::string() : role_name(role); }

} // namespace

void record(Outcome& outcome) {
  record_batch(outcome, Outcome());
  log_run(outcome);
}

void record_batch(Outcome& now, const Outcome& earlier) {
  const std::string by = role_name(caller()), as = role_or_empty(now.runs_as);
  const std::string action(core::action_name(now.action)), dependent = "dependent";
  const Authority before = act_as_keeper();
  const bool is_full = store::has_column("run", "pid");
  write_run(now, by, as, is_full);
  Ledger ledger(now, now.subjects - earlier.subjects, is_full);
  ledger.add(now.target, action, now.affected - earlier.affected);
  for (const auto& [label, rows] : now.dependents) {
    const auto known = earlier.dependents.find(label);
    ledger.add(label, dependent, rows - (known == earlier.dependents.end() ? 0 : known->second));
  }
  ledger.write();
  write_layout(now, earlier.affected);
  settle_fuse(now);
  give_back(before);
}

void record_standing(const Outcome& now, const Outcome& earlier) {
  Outcome standing = now;
  standing.success = false;
  standing.stop_reason = "interrupted";
  standing.message = "the run has begun and not ended";
  record_batch(standing, earlier);
}

BatchBegin begin_of_batch() {
  return boundary::server([] { return BatchBegin{GetCurrentTimestamp(), pgWalUsage.wal_bytes}; });
}

void log_run(const Outcome& outcome) {
  if (settings::log_runs())
    boundary::log(log_line(outcome, role_name(caller())));
}

} // namespace pg_retention::server
