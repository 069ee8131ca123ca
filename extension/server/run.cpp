#include "extension/server/run.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/constraints.hpp"
#include "extension/server/execution.hpp"
#include "extension/server/fuse.hpp"
#include "extension/server/layout.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/rows.hpp"
#include "extension/server/store.hpp"

#include <algorithm>
#include <utility>

namespace pg_retention::server {
namespace {

using boundary::server;

/// A lock of a policy: of its own kind (the last field), so that no advisory lock of an application can collide. Part 0
/// is the policy itself, the parts from 1 on its slices, those from 101 on the numbers of slices, 200 the decision of
/// its fuse.
LOCKTAG lock_of(const std::string& name, std::uint32_t part) {
  LOCKTAG tag;
  const auto hash = hash_bytes(reinterpret_cast<const unsigned char*>(name.data()), static_cast<int>(name.size()));
  SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0x52455445 + part, hash, 7);
  return tag;
}

bool take(const std::string& name, std::uint32_t part, LOCKMODE mode, LockSpan span) {
  return server([&] {
    const LOCKTAG tag = lock_of(name, part);
    return LockAcquire(&tag, mode, span == LockSpan::session, true) != LOCKACQUIRE_NOT_AVAIL;
  });
}

void release(const std::string& name, std::uint32_t part, LOCKMODE mode) {
  server([&] {
    const LOCKTAG tag = lock_of(name, part);
    LockRelease(&tag, mode, true);
  });
}

constexpr std::uint32_t counts_from = 100, decision = 200;

/// Whether a run in another number of slices is under way. Who asks and who holds take modes that conflict with each
/// other and not with themselves: slices that begin at the same moment do not take each other for others.
bool is_cut_otherwise(const std::string& name, std::uint32_t slices) {
  for (std::uint32_t other = 2; other <= core::Slice::most; ++other) {
    if (other == slices)
      continue;
    if (!take(name, counts_from + other, ShareLock, LockSpan::session))
      return true;
    release(name, counts_from + other, ShareLock);
  }
  return false;
}

/// Takes the lock of a slice: the policy's, shared with the other slices of as many, and its own alone.
bool lock_slice(const std::string& name, core::Slice slice) {
  if (!take(name, 0, ShareLock, LockSpan::session))
    return false;
  if (take(name, counts_from + slice.of, RowExclusiveLock, LockSpan::session)) {
    if (!is_cut_otherwise(name, slice.of) && take(name, slice.number, ExclusiveLock, LockSpan::session))
      return true;
    release(name, counts_from + slice.of, RowExclusiveLock);
  }
  release(name, 0, ShareLock);
  return false;
}

bool lock_policy(const std::string& name, LockSpan span, core::Slice slice) {
  return slice.of == 1 ? take(name, 0, ExclusiveLock, span) : lock_slice(name, slice);
}

/// The policies that this very session is running: a trigger that runs its own policy again would find the lock its
/// own.
std::vector<std::string>& under_way() {
  static std::vector<std::string> names;
  return names;
}

bool is_under_way(const std::string& name) {
  const std::vector<std::string>& names = under_way();
  return std::find(names.begin(), names.end(), name) != names.end();
}

} // namespace

UnderWay::UnderWay(std::string name) : name_(std::move(name)) { under_way().push_back(name_); }

UnderWay::~UnderWay() {
  std::vector<std::string>& names = under_way();
  names.erase(std::find(names.begin(), names.end(), name_));
}

void unlock_policy(const std::string& name, core::Slice slice) {
  if (slice.of == 1)
    return release(name, 0, ExclusiveLock);
  release(name, slice.number, ExclusiveLock);
  release(name, counts_from + slice.of, RowExclusiveLock);
  release(name, 0, ShareLock);
}

bool lock_decision(const std::string& name) { return take(name, decision, ExclusiveLock, LockSpan::transaction); }

bool may_run(const core::Policy& policy, Outcome& outcome, LockSpan span, core::Slice slice) {
  if (policy.id != 0 && !store::is_at_home(policy.name)) {
    outcome.success = false;
    outcome.stop_reason = "paused";
    outcome.sqlstate = core::sqlstate::not_in_prerequisite_state;
    outcome.message =
        "policy " + core::quote(policy.name) + " is at rest: this database is a copy of the one it was made in";
    outcome.error_hint = "A restored copy must not start deleting. SELECT retention.resume_policy(" +
                         core::quote_literal(policy.name) + ") lets it run here.";
  } else if (policy.paused) {
    outcome.stop_reason = "paused";
    outcome.message = "policy " + core::quote(policy.name) + " is paused";
  } else {
    return keep_out_others(policy.name, outcome, span, slice);
  }
  return false;
}

bool keep_out_others(const std::string& name, Outcome& outcome, LockSpan span, core::Slice slice) {
  if (!is_under_way(name) && lock_policy(name, span, slice))
    return true;
  outcome.stop_reason = "running";
  outcome.message = "another run of policy " + core::quote(name) + " is under way";
  return false;
}

std::int64_t next_run_id() {
  const Authority before = act_as_keeper();
  const auto id = boundary::single("SELECT pg_catalog.nextval('retention.run_id_seq')");
  give_back(before);
  return std::stoll(id.value());
}

std::string plain_message(const Outcome& outcome) {
  const char* done = outcome.action == core::Action::update    ? "Updated "
                     : outcome.action == core::Action::archive ? "Archived "
                                                               : "Deleted ";
  return done + std::to_string(outcome.affected) + " rows of " + outcome.target;
}

void require_writable() {
  server([] {
    PreventCommandIfReadOnly("a run of a retention policy");
    PreventCommandDuringRecovery("a run of a retention policy");
  });
}

HeldOpen::HeldOpen(const core::Relation& relation) {
  for (const core::Relation& leaf : catalog::leaves(relation))
    tables_.push_back(server([&] { return table_open(leaf.oid, RowExclusiveLock); }));
}

void HeldOpen::add_to_look_on(const core::Relation& relation) {
  for (const core::Relation& leaf : catalog::leaves(relation))
    tables_.push_back(server([&] { return table_open(leaf.oid, AccessShareLock); }));
}

void HeldOpen::close() {
  for (Relation table : tables_)
    server([&] { table_close(table, NoLock); });
}

Outcome new_outcome(const core::Policy& policy) {
  Outcome outcome;
  outcome.policy = policy.name;
  outcome.policy_version = policy.version;
  outcome.action = policy.action;
  outcome.started = outcome.finished = server([] { return GetCurrentTimestamp(); });
  outcome.begin = begin_of_batch();
  return outcome;
}

void note_failure(Outcome& outcome, const boundary::Caught& caught) {
  outcome.success = false;
  outcome.stop_reason = core::sqlstate::is_passing(caught.sqlstate) ? "locked" : "error";
  outcome.message = caught.message;
  outcome.sqlstate = caught.sqlstate;
  outcome.error_detail = caught.detail;
  outcome.error_hint = caught.hint;
}

void warn_of_failure(const Outcome& outcome) {
  boundary::warn({outcome.sqlstate, outcome.message, outcome.error_detail, outcome.error_hint},
                 "policy " + core::quote(outcome.policy) + " failed: ");
}

TimestampTz cutoff_before_now(const std::string& interval, const std::string& zone, bool may_be_zero) {
  return cutoff_before(interval, zone, may_be_zero, std::nullopt);
}

TimestampTz cutoff_before(const std::string& interval, const std::string& zone, bool may_be_zero,
                          const std::optional<std::string>& as_of) {
  const TimestampTz now = as_of ? instant(*as_of) : server([] { return GetCurrentTransactionStartTimestamp(); });
  if (TIMESTAMP_NOT_FINITE(now))
    throw core::Failure(core::sqlstate::invalid_parameter_value, "as_of must be finite");
  // Months and days by the zone's calendar, the rest by the clock: as the server itself subtracts, with that TimeZone.
  const TimestampTz cutoff = server([&] {
    const int level = NewGUCNestLevel();
    set_config_option("TimeZone", zone.c_str(), PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
    Datum const length = DirectFunctionCall3(interval_in, CStringGetDatum(interval.c_str()),
                                             ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
    Datum const result = DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(now), length);
    AtEOXact_GUC(true, level);
    return DatumGetTimestampTz(result);
  });
  if (TIMESTAMP_NOT_FINITE(cutoff) || cutoff > now || (cutoff == now && !may_be_zero))
    throw core::Failure(core::sqlstate::invalid_parameter_value,
                        "expire_after must be a positive, finite interval, not " + core::quote_literal(interval), "",
                        "For example '90 days'.");
  return cutoff;
}

namespace {

/// What the caller asks beyond the policy, in words that two runs share only if they ask the same.
std::string asked_of(const RunOptions& options) {
  std::vector<std::string> parts = options.extra_conditions;
  if (!options.expire_after.empty())
    parts.insert(parts.begin(), "expire_after " + options.expire_after);
  return core::join(parts, " AND ");
}

} // namespace

Outcome execute_policy(const core::Policy& policy, const RunOptions& options) {
  require_writable();
  Outcome outcome = new_outcome(policy);
  outcome.asked = asked_of(options);
  if (may_run(policy, outcome, LockSpan::transaction)) {
    const UnderWay marked(policy.name);
    outcome.run_id = next_run_id();
    Outcome untouched = outcome;
    const auto caught = boundary::attempt([&] {
      const Fuse fuse(policy, outcome.asked);
      if (!fuse.may_begin(outcome))
        return;
      const std::string zone = zone_of(policy);
      const bool is_own = options.expire_after.empty();
      const TimestampTz own = cutoff_before_now(is_own ? policy.expire_after : options.expire_after, zone, is_own);
      untouched.cutoff = outcome.cutoff = fuse.cutoff(own, outcome);
      untouched.runs_as = outcome.runs_as = runs_as(policy);
      const Authority before = act_as(outcome.runs_as, zone);
      const Resolved resolved = resolve(policy, options.extra_conditions);
      untouched.target = outcome.target = resolved.rule.target.label();
      outcome.roles = resolved.roles;
      require_rights(resolved);
      if (resolved.archive.oid != InvalidOid)
        outcome.layout = std::make_shared<const Layout>(layout_of(policy.name, resolved));
      if (!resolved.recorded_key.empty())
        record_standing(outcome, outcome);
      const Deferrable deferred = check_at_once(resolved);
      Execution(resolved, options, outcome).run(fuse);
      defer_again(deferred);
      give_back(before);
      outcome.batches = outcome.affected != 0 ? 1 : 0;
      if (outcome.success)
        outcome.message = plain_message(outcome);
    });
    if (caught) {
      outcome = untouched;
      note_failure(outcome, *caught);
    }
  }
  if (!outcome.success)
    warn_of_failure(outcome);
  outcome.finished = server([] { return GetCurrentTimestamp(); });
  return outcome;
}

} // namespace pg_retention::server
