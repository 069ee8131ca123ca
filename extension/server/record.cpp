#include "extension/core/identifier.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/rows.hpp"
#include "extension/server/run.hpp"
#include "extension/server/settings.hpp"

/// The row in retention.runs, the ledger, and the line in the server log.
namespace pg_retention::server {
namespace {

using boundary::Arg;

Arg text_or_null(const std::string& text) { return text.empty() ? Arg::null(TEXTOID) : Arg::of(text); }
Arg count(std::uint64_t number) { return Arg::of(static_cast<std::int64_t>(number)); }

void write_ledger(const Outcome& outcome, const std::string& relation, const std::string& action, std::uint64_t rows) {
  if (rows == 0)
    return;
  boundary::execute("INSERT INTO retention.batch (run, batch, relation, action, affected) VALUES ($1, 1, $2, $3, $4)",
                    {Arg::of(outcome.run_id), Arg::of(relation), Arg::of(action), count(rows)});
}

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

} // namespace

void record(Outcome& outcome) {
  const std::string by = role_name(caller());
  const std::string as = outcome.runs_as == InvalidOid ? "" : role_name(outcome.runs_as);
  const std::string action(core::action_name(outcome.action));
  const std::string dependents = json_counts(outcome.dependents);
  const Authority before = act_as_keeper();
  const auto id = boundary::single(
      "INSERT INTO retention.run (id, policy, policy_version, run_by, runs_as, action, success, message, affected, "
      "subjects, "
      "dependents, skipped_locked, skipped_blocked, skipped_held, skipped_returned, cutoff, started, finished, "
      "batches, "
      "stop_reason, sqlstate, error_detail, statistics) OVERRIDING SYSTEM VALUE VALUES (COALESCE(NULLIF($23, 0), "
      "pg_catalog.nextval('retention.run_id_seq')), $1, NULLIF($2, 0), $3, $4, $5, $6, $7, $8, $9, "
      "$10::pg_catalog.jsonb, "
      "$11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22::pg_catalog.jsonb) RETURNING id",
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
  write_ledger(outcome, outcome.target, action, outcome.affected);
  for (const auto& [label, rows] : outcome.dependents)
    write_ledger(outcome, label, "dependent", rows);
  give_back(before);
  if (settings::log_runs())
    boundary::log(log_line(outcome, by));
}

} // namespace pg_retention::server
