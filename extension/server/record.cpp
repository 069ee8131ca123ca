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

/// Writes the rows of one batch. What the whole batch cost goes with the first, so that sums are true.
class Ledger {
public:
  /// `subjects`: those whose first rows in this run went with the batch.
  Ledger(const Outcome& outcome, std::uint64_t subjects)
      : outcome_(outcome), subjects_(subjects), bytes_(begin_of_batch().wal - outcome.begin.wal),
        has_columns_(store::has_column("batch", "bytes")) {}

  void write(const std::string& relation, const std::string& action, std::uint64_t rows) {
    if (rows == 0)
      return;
    std::vector<Arg> args{Arg::of(outcome_.run_id), Arg::of(static_cast<std::int32_t>(std::max(outcome_.batches, 1))),
                          Arg::of(relation), Arg::of(action), count(rows)};
    if (!has_columns_) {
      boundary::execute(
          "INSERT INTO retention.batch (run, batch, relation, action, affected) VALUES ($1, $2, $3, $4, $5)", args);
      return;
    }
    args.push_back(is_first_ ? count(bytes_) : Arg::null(INT8OID));
    args.push_back(is_first_ ? count(subjects_) : Arg::null(INT8OID));
    args.push_back(is_first_ ? Arg::time(outcome_.begin.at) : Arg::null(TIMESTAMPTZOID));
    is_first_ = false;
    boundary::execute("INSERT INTO retention.batch (run, batch, relation, action, affected, bytes, subjects, duration, "
                      "wal_position) VALUES ($1, $2, $3, $4, $5, $6, $7, pg_catalog.clock_timestamp() - $8, "
                      "pg_catalog.pg_current_wal_insert_lsn())",
                      args);
  }

private:
  const Outcome& outcome_;
  std::uint64_t subjects_, bytes_;
  bool has_columns_, is_first_ = true;
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

/// Writes the run's row, or what is new of it.
void write_run(Outcome& outcome, const std::string& by, const std::string& as) {
  const std::string action(core::action_name(outcome.action));
  const std::string dependents = json_counts(outcome.dependents);
  const auto id = boundary::single(
      R"(INSERT INTO retention.run AS r (id, policy, policy_version, run_by, runs_as, action, success, message, affected,
           subjects, dependents, skipped_locked, skipped_blocked, skipped_held, skipped_returned, cutoff, started, finished,
           batches, stop_reason, sqlstate, error_detail, statistics) OVERRIDING SYSTEM VALUE
         VALUES (COALESCE(NULLIF($23, 0), pg_catalog.nextval('retention.run_id_seq')), $1, NULLIF($2, 0), $3, $4, $5, $6, $7, $8,
           $9, $10::pg_catalog.jsonb, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22::pg_catalog.jsonb)
         ON CONFLICT (id) DO UPDATE SET (success, message, affected, subjects, dependents, skipped_locked, skipped_blocked,
           skipped_held, skipped_returned, finished, batches, stop_reason, sqlstate, error_detail, statistics) =
           (EXCLUDED.success, EXCLUDED.message, EXCLUDED.affected, EXCLUDED.subjects, EXCLUDED.dependents,
           EXCLUDED.skipped_locked, EXCLUDED.skipped_blocked, EXCLUDED.skipped_held, EXCLUDED.skipped_returned,
           EXCLUDED.finished, EXCLUDED.batches, EXCLUDED.stop_reason, EXCLUDED.sqlstate, EXCLUDED.error_detail,
           EXCLUDED.statistics)
         RETURNING r.id)",
      {Arg::of(outcome.policy),
       Arg::of(outcome.policy_version),
       Arg::of(by),
       text_or_null(as),
       Arg::of(action),
       Arg::of(outcome.success),
       Arg::of(outcome.message),
       count(outcome.affected),
       count(outcome.subjects),
       Arg::of(dependents),
       count(outcome.locked),
       count(outcome.blocked),
       count(outcome.held),
       count(outcome.returned),
       outcome.cutoff ? Arg::time(*outcome.cutoff) : Arg::null(TIMESTAMPTZOID),
       Arg::time(outcome.started),
       Arg::time(outcome.finished),
       Arg::of(static_cast<std::int32_t>(outcome.batches)),
       Arg::of(outcome.stop_reason),
       text_or_null(outcome.sqlstate),
       text_or_null(outcome.error_detail),
       text_or_null(outcome.statistics),
       Arg::of(outcome.run_id)});
  outcome.run_id = std::stoll(id.value());
}

/// How a run went about it; unknown to the tables of 0.1.0, which an updated library may meet.
void write_manner(const Outcome& outcome) {
  if (!store::has_column("run", "pid") || (outcome.walk.empty() && outcome.slices == 0))
    return;
  boundary::execute(
      "UPDATE retention.run SET (slice, slices, hand, walk, reason, expected, share, pid, skipped_failed) = "
      "(NULLIF($2, 0), NULLIF($3, 0), $4, $5, $6, $7, $8::pg_catalog.float8, $9, $10) WHERE id = $1",
      {Arg::of(outcome.run_id), Arg::of(outcome.slice), Arg::of(outcome.slices), text_or_null(outcome.hand),
       text_or_null(outcome.walk), text_or_null(outcome.reason),
       outcome.expected ? count(*outcome.expected) : Arg::null(INT8OID),
       Arg::datum(FLOAT8OID, boundary::server([&] { return Float8GetDatum(outcome.share); })),
       Arg::of(static_cast<std::int32_t>(MyProcPid)), count(outcome.failed)});
}

/// Where rows went, with the first of them.
void write_layout(const Outcome& now, std::uint64_t known) {
  if (now.layout && known == 0 && now.affected != 0)
    note_layout(*now.layout, now.run_id);
}

/// On what terms a run was made, where they are not the policy's own.
void write_terms(const Outcome& outcome) {
  if ((outcome.approval == 0 && outcome.asked.empty()) || !store::has_column("run", "asked"))
    return;
  boundary::execute("UPDATE retention.run SET (approval, asked) = (NULLIF($2, 0), $3) WHERE id = $1",
                    {Arg::of(outcome.run_id), Arg::of(outcome.approval), text_or_null(outcome.asked)});
}

std::string role_or_empty(Oid role) { return role == InvalidOid ? std::string() : role_name(role); }

} // namespace

void record(Outcome& outcome) {
  const std::string by = role_name(caller()), as = role_or_empty(outcome.runs_as);
  const Authority before = act_as_keeper();
  write_run(outcome, by, as);
  write_manner(outcome);
  write_terms(outcome);
  Ledger ledger(outcome, outcome.subjects);
  ledger.write(outcome.target, std::string(core::action_name(outcome.action)), outcome.affected);
  for (const auto& [label, rows] : outcome.dependents)
    ledger.write(label, "dependent", rows);
  write_layout(outcome, 0);
  settle_fuse(outcome);
  give_back(before);
  log_run(outcome);
}

void record_batch(Outcome& now, const Outcome& earlier) {
  const std::string by = role_name(caller()), as = role_or_empty(now.runs_as);
  const Authority before = act_as_keeper();
  write_run(now, by, as);
  write_manner(now);
  write_terms(now);
  Ledger ledger(now, now.subjects - earlier.subjects);
  ledger.write(now.target, std::string(core::action_name(now.action)), now.affected - earlier.affected);
  for (const auto& [label, rows] : now.dependents) {
    const auto known = earlier.dependents.find(label);
    ledger.write(label, "dependent", rows - (known == earlier.dependents.end() ? 0 : known->second));
  }
  write_layout(now, earlier.affected);
  settle_fuse(now);
  give_back(before);
}

void record_begun(const Outcome& outcome) {
  Outcome standing = outcome;
  standing.success = false;
  standing.stop_reason = "interrupted";
  standing.message = "the run has begun and not ended";
  record_batch(standing, standing);
}

BatchBegin begin_of_batch() {
  return boundary::server([] { return BatchBegin{GetCurrentTimestamp(), pgWalUsage.wal_bytes}; });
}

void log_run(const Outcome& outcome) {
  if (settings::log_runs())
    boundary::log(log_line(outcome, role_name(caller())));
}

} // namespace pg_retention::server
