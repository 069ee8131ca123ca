#include "extension/server/fuse.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/core/json.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/presets.hpp"
#include "extension/server/rows.hpp"
#include "extension/server/settings.hpp"
#include "extension/server/store.hpp"

#include <algorithm>

namespace pg_retention::server {
namespace {

using boundary::Arg;
using boundary::Row;
using boundary::Rows;
using core::Failure;
using core::quote;

/// With fewer runs than this the history says nothing.
constexpr std::int64_t least_runs = 3;

/// Whether the database has this version's tables.
bool has_store() { return store::has_column("blown_fuse", "run"); }

/// How many rows a share of `whole` allows: a share that is meant to be a whole number is one, whatever its last bit.
std::uint64_t share_of(double factor, double whole) { return static_cast<std::uint64_t>(factor * whole * (1 + 1e-12)); }

std::string decimal(double number) {
  char text[32];
  snprintf(text, sizeof text, "%.10g", number);
  return text;
}

Rows read(const std::string& sql, const std::vector<Arg>& args) {
  return boundary::query(sql, args, boundary::View::as_pushed);
}

std::int64_t whole(const boundary::Text& text) { return std::stoll(text.value_or("0")); }

/// The tail of every refusal: how the run may be made after all.
std::string ways_out(const std::string& policy, std::int64_t run, const std::string& kind) {
  const std::string name = core::quote_literal(policy);
  return "Look with SELECT * FROM retention.preview(" + name + ")" +
         (kind == "preview" ? ", after which it runs, or with " : "; if this is right, ") +
         "SELECT retention.approve(" + name + ", " + std::to_string(run) + ", 'the reason') lets it pass once" +
         (kind == "preview" ? "." : ", and retention.alter_policy changes the limit.");
}

void stop(Outcome& outcome, const std::string& message, const std::string& hint) {
  outcome.success = false;
  outcome.stop_reason = "fuse";
  outcome.sqlstate = core::sqlstate::not_in_prerequisite_state;
  outcome.message = message;
  outcome.error_hint = hint;
}

/// Rows, of runs that came to their end: slices that overlapped are one run. $2: what the callers asked, $3: how many.
constexpr const char* last_runs = R"(
  WITH recent AS (
    SELECT r.id, r.slices, r.started, r.finished, r.affected, r.success AND r.stop_reason = 'done' AS ended,
           r.affected + r.skipped_locked + r.skipped_blocked + r.skipped_held + r.skipped_returned +
           r.skipped_failed AS victims
      FROM retention.run r
     WHERE r.policy = $1 AND r.asked IS NOT DISTINCT FROM NULLIF($2, '') AND r.stop_reason NOT IN ('running', 'paused', 'fuse')
       AND r.action <> 'restore'
       AND r.started >= COALESCE((SELECT pg_catalog.max(c.changed_at) FROM retention.policy_change c
                                   WHERE c.policy = $1 AND c.change = 'added'), '-infinity')
     ORDER BY r.id DESC LIMIT 1000),
  marked AS (
    SELECT n.*, n.slices IS NULL OR n.slices IS DISTINCT FROM pg_catalog.lag(n.slices) OVER w
                OR n.started > pg_catalog.max(n.finished) OVER (w ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS begins
      FROM recent n WINDOW w AS (ORDER BY n.id)),
  numbered AS (SELECT m.*, pg_catalog.count(*) FILTER (WHERE m.begins) OVER (ORDER BY m.id) AS whole FROM marked m),
  wholes AS (
    SELECT pg_catalog.sum(n.victims)::pg_catalog.float8 AS victims FROM numbered n GROUP BY n.whole
    HAVING pg_catalog.bool_and(n.ended) AND pg_catalog.sum(n.affected) > 0 ORDER BY pg_catalog.max(n.id) DESC LIMIT $3)
  SELECT pg_catalog.count(*), pg_catalog.percentile_cont(0.5) WITHIN GROUP (ORDER BY w.victims) FROM wholes w)";

/// Whether a policy has been neither previewed nor run as it is now defined.
constexpr const char* is_unseen = R"(
  WITH d AS (SELECT COALESCE((SELECT definition FROM retention.definitions WHERE policy = $1), 0) AS id)
  SELECT NOT EXISTS (SELECT 1 FROM retention.previewed v JOIN d ON d.id = v.definition WHERE v.policy = $1)
     AND NOT EXISTS (SELECT 1 FROM d LEFT JOIN retention.policy_change c ON c.id = d.id JOIN retention.run r ON r.policy = $1
                      WHERE r.success AND r.asked IS NULL AND r.stop_reason NOT IN ('running', 'paused')
                        AND r.action <> 'restore' AND CASE WHEN c.id IS NULL THEN r.policy_version IS NULL
                                 ELSE r.policy_version >= c.version AND r.started >= c.changed_at END))";

} // namespace

std::uint64_t Fuse::History::allowed() const { return share_of(factor, median); }

Fuse::Fuse(const core::Policy& policy, const std::string& asked, core::Slice slice) : policy_(policy), asked_(asked) {
  if (!has_store())
    return;
  constexpr std::int64_t between_looks = 20; // milliseconds
  const double factor = policy.max_deviation.value_or(settings::max_deviation());
  const bool may_blow = policy.max_rows || policy.max_fraction || factor > 0 || settings::require_preview();
  const bool is_one_of_many = slice.of > 1 && may_blow;
  while (is_one_of_many && !lock_decision(policy.name))
    boundary::wait(between_looks);
  const Authority before = act_as_keeper();
  push_latest_snapshot();
  read_store(factor);
  if (is_one_of_many)
    is_decided_ = !read("SELECT 1 FROM retention.progress WHERE policy = $1 AND slices = $2 LIMIT 1",
                        {Arg::of(policy.name), Arg::of(static_cast<std::int32_t>(slice.of))})
                       .empty();
  pop_snapshot();
  give_back(before);
}

void Fuse::read_store(double factor) {
  const std::vector<Arg> name{Arg::of(policy_.name)};
  // Few policies have either, and the views cost more to plan than a small run may take.
  const Row there = read("SELECT EXISTS (SELECT 1 FROM retention.blown_fuse WHERE policy = $1), "
                         "EXISTS (SELECT 1 FROM retention.approval WHERE policy = $1 AND ended IS NULL)",
                         name)[0];
  if (there[0] == "t")
    read_mark();
  if (there[1] == "t")
    read_approval();
  if (settings::require_preview())
    is_unseen_ = boundary::single(is_unseen, name, boundary::View::as_pushed) == "t";
  if (factor > 0)
    read_history(factor);
}

void Fuse::read_mark() {
  for (const Row& row :
       read("SELECT run, expected, allowed, kind FROM retention.fuses WHERE policy = $1", {Arg::of(policy_.name)}))
    mark_ = Mark{whole(row[0]), whole(row[1]), whole(row[2]), *row[3]};
}

void Fuse::read_approval() {
  for (const Row& row :
       read("SELECT id, run, rows, done, cutoff FROM retention.approvals WHERE policy = $1 AND state = 'standing' "
            "AND asked IS NOT DISTINCT FROM NULLIF($2, '') ORDER BY id DESC LIMIT 1",
            {Arg::of(policy_.name), Arg::of(asked_)}))
    approval_ = Approval{whole(row[0]), whole(row[1]), whole(row[2]), whole(row[3]), *row[4]};
}

void Fuse::read_history(double factor) {
  const Rows rows = read(last_runs, {Arg::of(policy_.name), Arg::of(asked_),
                                     Arg::of(static_cast<std::int32_t>(settings::deviation_runs()))});
  if (whole(rows[0][0]) >= least_runs)
    history_ = History{factor, std::stod(*rows[0][1]), whole(rows[0][0])};
}

bool Fuse::may_begin(Outcome& outcome) const {
  if (!mark_ || (mark_->kind == "preview" && !settings::require_preview()))
    return true;
  stop(outcome,
       "policy " + quote(policy_.name) + " waits for an approval since run " + std::to_string(mark_->run) +
           ", which would have taken " + std::to_string(mark_->expected) + " rows where " +
           (mark_->kind == "preview" ? "a preview is required"
                                     : mark_->kind + " allows " + std::to_string(mark_->allowed)),
       ways_out(policy_.name, mark_->run, mark_->kind));
  return false;
}

TimestampTz Fuse::cutoff(TimestampTz own, Outcome& outcome) const {
  if (!approval_)
    return own;
  outcome.approval = approval_->id;
  return std::min(own, instant(approval_->cutoff));
}

bool Fuse::needs_count() const {
  return !is_decided_ && (approval_ || is_unseen_ || policy_.max_rows || policy_.max_fraction || history_);
}

bool Fuse::passes_fraction(const core::Rule& rule, std::uint64_t victims, Blown& blown) const {
  if (!policy_.max_fraction || victims == 0)
    return true;
  const auto rows = std::stoull(
      boundary::single("SELECT pg_catalog.count(*) FROM " + rule.target.sql(), {}, boundary::View::as_pushed)
          .value_or("0"));
  const std::uint64_t allowed = share_of(*policy_.max_fraction, static_cast<double>(rows));
  blown = {"max_fraction", "max_fraction allows " + std::to_string(allowed) + " of " + std::to_string(rows) + " rows",
           victims, allowed};
  return victims <= allowed;
}

std::optional<Blown> Fuse::judge(const core::Rule& rule, std::uint64_t victims) const {
  if (approval_) {
    if (victims <= approval_->left())
      return std::nullopt;
    std::string limit = "run " + std::to_string(approval_->run) + " is approved for " + std::to_string(approval_->rows);
    if (approval_->done != 0)
      limit += ", of which " + std::to_string(approval_->done) + " are done";
    return Blown{"approval", limit, victims, approval_->left()};
  }
  if (is_unseen_)
    return Blown{"preview",
                 "policy " + quote(policy_.name) +
                     " has been neither previewed nor approved since it was made or changed",
                 victims, 0};
  if (policy_.max_rows && victims > static_cast<std::uint64_t>(*policy_.max_rows))
    return Blown{"max_rows", "max_rows is " + std::to_string(*policy_.max_rows), victims,
                 static_cast<std::uint64_t>(*policy_.max_rows)};
  Blown blown;
  if (!passes_fraction(rule, victims, blown))
    return blown;
  if (history_ && victims > history_->allowed())
    return Blown{"max_deviation",
                 "max_deviation allows " + std::to_string(history_->allowed()) + ", " + decimal(history_->factor) +
                     " times " + decimal(history_->median) + ", the median of its last " +
                     std::to_string(history_->runs) + " runs",
                 victims, history_->allowed()};
  return std::nullopt;
}

bool Fuse::blows(const core::Rule& rule, std::uint64_t victims, Outcome& outcome) const {
  if (!needs_count())
    return false;
  outcome.blown = judge(rule, victims);
  if (!outcome.blown)
    return false;
  stop(outcome,
       std::to_string(victims) + " rows of " + outcome.target + " would go, but " + outcome.blown->limit +
           "; nothing was changed",
       ways_out(policy_.name, outcome.run_id, outcome.blown->kind));
  return true;
}

namespace {

/// Marks the policy, unless it was changed since the run began.
void mark(const Outcome& outcome) {
  const Blown& blown = *outcome.blown;
  boundary::execute(
      "INSERT INTO retention.blown_fuse (policy, definition, run, kind, expected, allowed, cutoff, asked) "
      "SELECT $1, COALESCE((SELECT d.definition FROM retention.definitions d WHERE d.policy = $1), 0), $2, $3, $4, $5, "
      "$6, NULLIF($7, '') WHERE $8 = COALESCE((SELECT p.version FROM retention.policy p WHERE p.name = $1), 0) "
      "ON CONFLICT (policy) DO UPDATE SET (definition, run, kind, expected, allowed, cutoff, asked, blown_at) = "
      "(EXCLUDED.definition, EXCLUDED.run, EXCLUDED.kind, EXCLUDED.expected, EXCLUDED.allowed, EXCLUDED.cutoff, "
      "EXCLUDED.asked, EXCLUDED.blown_at)",
      {Arg::of(outcome.policy), Arg::of(outcome.run_id), Arg::of(blown.kind),
       Arg::of(static_cast<std::int64_t>(blown.expected)), Arg::of(static_cast<std::int64_t>(blown.allowed)),
       Arg::time(*outcome.cutoff), Arg::of(outcome.asked), Arg::of(outcome.policy_version)});
  core::JsonObject payload;
  payload.set("policy", outcome.policy).set("run_id", outcome.run_id).set("kind", blown.kind);
  payload.set("expected", static_cast<std::int64_t>(blown.expected));
  const std::string text = payload.set("limit", static_cast<std::int64_t>(blown.allowed)).text();
  (void)boundary::single("SELECT pg_catalog.pg_notify('retention', $1)", {Arg::of(text)});
}

/// Ends an approval: `used` by the run, or by the last of its slices; `exceeded` where the run met more.
void end_approval(const Outcome& outcome) {
  const std::string how = outcome.blown ? "exceeded" : "used";
  boundary::execute(
      "UPDATE retention.approval SET (ended, ended_by) = ($2, $3) WHERE id = $1 AND ended IS NULL "
      "AND ($4 = 0 OR $2 = 'exceeded' OR $4 = (SELECT pg_catalog.count(DISTINCT r.slice) FROM retention.run r "
      "WHERE r.approval = $1 AND r.slices = $4 AND r.success AND r.stop_reason = 'done'))",
      {Arg::of(outcome.approval), Arg::of(how), Arg::of(outcome.run_id), Arg::of(outcome.slices)});
}

} // namespace

void settle_fuse(const Outcome& outcome) {
  if (!outcome.blown && outcome.approval == 0)
    return;
  if (!has_store())
    return;
  if (outcome.blown)
    mark(outcome);
  if (outcome.approval != 0 && (outcome.blown || (outcome.success && outcome.stop_reason == "done")))
    end_approval(outcome);
}

namespace {

/// Throws Failure unless the caller is a member of the role that the stopped run acted as. For a preset that is not
/// stored: the tables that the caller's search_path finds need not be those of that run.
void require_membership_of_run(const std::string& policy, const boundary::Text& role) {
  const Oid oid = boundary::server([&] { return role ? get_role_oid(role->c_str(), true) : InvalidOid; });
  if (OidIsValid(oid) || !boundary::server([] { return superuser(); }))
    require_membership(oid, "policy " + quote(policy));
}

} // namespace

std::int64_t approve(const std::string& name, std::int64_t run, const std::string& reason) {
  if (reason.find_first_not_of(" \t\r\n") == std::string::npos)
    throw Failure(core::sqlstate::invalid_parameter_value, "reason must not be empty", "",
                  "It is kept with who approved and when.");
  const core::Policy policy = presets::stored_or_built(name);
  require_membership(runs_as(policy), "policy " + quote(name));
  const std::string refusal = "policy " + quote(name) + " does not wait for an approval";
  const Rows waiting = as_keeper([&] {
    return boundary::query("SELECT f.run, r.runs_as FROM retention.fuses f LEFT JOIN retention.run r ON r.id "
                           "= f.run WHERE f.policy = $1",
                           {Arg::of(name)});
  });
  if (waiting.empty())
    throw Failure(core::sqlstate::not_in_prerequisite_state, refusal, "", "See retention.fuses for those that do.");
  if (policy.id == 0)
    require_membership_of_run(name, waiting[0][1]);
  if (whole(waiting[0][0]) != run)
    throw Failure(core::sqlstate::invalid_parameter_value, refusal + " of run " + std::to_string(run), "",
                  "It waits for one of run " + *waiting[0][0] + "; see retention.fuses.");
  const Rows rows = as_keeper([&] {
    boundary::execute("UPDATE retention.approval SET ended = 'replaced' WHERE policy = $1 AND ended IS NULL",
                      {Arg::of(name)});
    return boundary::query("WITH gone AS (DELETE FROM retention.blown_fuse WHERE policy = $1 AND run = $2 "
                           "RETURNING policy, definition, run, expected, cutoff, asked) "
                           "INSERT INTO retention.approval (policy, definition, run, rows, cutoff, asked, reason) "
                           "SELECT policy, definition, run, expected, cutoff, asked, $3 FROM gone RETURNING rows",
                           {Arg::of(name), Arg::of(run), Arg::of(reason)});
  });
  if (rows.empty())
    throw Failure(core::sqlstate::not_in_prerequisite_state, refusal, "",
                  "Another session has just approved it, or its fuse blew again.");
  return whole(rows[0][0]);
}

void note_preview(const core::Policy& policy) {
  const bool may_write = boundary::server([] { return !XactReadOnly && !RecoveryInProgress() && !IsInParallelMode(); });
  if (!settings::require_preview() || !may_write || !has_store())
    return;
  const Authority before = act_as_keeper();
  boundary::execute("INSERT INTO retention.previewed (policy, definition) "
                    "SELECT $1, d.id FROM (SELECT COALESCE((SELECT definition FROM retention.definitions WHERE policy "
                    "= $1), 0) AS id) d "
                    "WHERE $2 = COALESCE((SELECT version FROM retention.policy WHERE name = $1), 0) "
                    "AND NOT EXISTS (SELECT 1 FROM retention.previewed v WHERE v.policy = $1 AND v.definition = d.id)",
                    {Arg::of(policy.name), Arg::of(policy.version)});
  give_back(before);
}

} // namespace pg_retention::server
