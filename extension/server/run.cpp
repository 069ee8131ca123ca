#include "extension/server/run.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/identifier.hpp"
#include "extension/server/authority.hpp"
#include "extension/server/constraints.hpp"
#include "extension/server/erase.hpp"
#include "extension/server/resolve.hpp"
#include "extension/server/store.hpp"
#include "extension/server/verify.hpp"

#include <algorithm>
#include <unordered_set>

namespace pg_retention::server {
namespace {

using boundary::server;
using core::Fate;
using core::RowKey;

/// How often rows that changed under the run are looked at again.
constexpr int most_passes = 3;

/// Takes the lock that keeps runs of one policy apart, until the transaction ends; false where another run has it.
bool lock_policy(const std::string& name) {
  return server([&] {
    LOCKTAG tag;
    const auto hash = hash_bytes(reinterpret_cast<const unsigned char*>(name.data()), static_cast<int>(name.size()));
    // Its own kind (the fourth field), so that no advisory lock of an application can collide with it.
    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0x52455445, hash, 7);
    return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
  });
}

/// Why a policy may not run at all, told in the outcome; true where it may.
bool may_run(const core::Policy& policy, Outcome& outcome) {
  if (policy.id != 0 && !store::is_at_home(policy.name)) {
    outcome.success = false;
    outcome.stop_reason = "paused";
    outcome.sqlstate = core::sqlstate::not_in_prerequisite_state;
    outcome.message =
        "policy " + core::quote(policy.name) + " is at rest: this database is a copy of the one it was made in";
    outcome.error_hint = "A restored copy must not start deleting. SELECT retention.resume_policy('" + policy.name +
                         "') lets it run here.";
  } else if (policy.paused) {
    outcome.stop_reason = "paused";
    outcome.message = "policy " + core::quote(policy.name) + " is paused";
  } else if (!lock_policy(policy.name)) {
    outcome.stop_reason = "running";
    outcome.message = "another run of policy " + core::quote(policy.name) + " is under way";
  } else {
    return true;
  }
  return false;
}

/// The id of the run to come: known before its rows are changed, because archived rows carry it.
std::int64_t next_run_id() {
  const Authority before = act_as_keeper();
  const auto id = boundary::single("SELECT pg_catalog.nextval('retention.run_id_seq')");
  give_back(before);
  return std::stoll(id.value());
}

/// One run inside its subtransaction and with its owner's rights.
class Execution {
public:
  Execution(const Resolved& resolved, const RunOptions& options, Outcome& outcome)
      : resolved_(resolved), options_(options), outcome_(outcome) {}

  void run() {
    for (int pass = 1; pass <= most_passes; ++pass) {
      push_latest_snapshot();
      if (pass == 1 && options_.count_expired_subjects)
        count_expired_subjects();
      Selection selection = select_victims(resolved_.rule, *outcome_.cutoff, leaves_);
      settle_returned(selection);
      if (pass == 1 && fuse_blows(selection)) {
        pop_snapshot();
        return;
      }
      verify_subjects(resolved_.rule, *outcome_.cutoff, selection);
      note_changed_subjects(selection);
      erase(selection);
      pop_snapshot();
      if (!tally(selection, pass == most_passes))
        break;
    }
    outcome_.returned += waiting_.size();
    count_path_rows();
  }

private:
  const Resolved& resolved_;
  const RunOptions& options_;
  Outcome& outcome_;
  core::Leaves leaves_;
  std::unordered_set<RowKey> waiting_;                ///< victims of the last pass whose subject had changed
  std::vector<std::unordered_set<RowKey>> path_rows_; ///< by step: rows whose victims went

  /// The fuse: too many victims end the run before its first change, and say so.
  bool fuse_blows(const Selection& selection) {
    const std::uint64_t victims = selection.victims.size();
    std::string limit;
    if (resolved_.max_rows && victims > static_cast<std::uint64_t>(*resolved_.max_rows))
      limit = "max_rows is " + std::to_string(*resolved_.max_rows);
    if (resolved_.max_fraction && victims != 0) {
      const auto rows = std::stoull(boundary::single("SELECT pg_catalog.count(*) FROM " + resolved_.rule.target.sql(),
                                                     {}, boundary::View::as_pushed)
                                        .value_or("0"));
      if (static_cast<double>(victims) > *resolved_.max_fraction * static_cast<double>(rows))
        limit = "max_fraction allows " +
                std::to_string(static_cast<std::uint64_t>(*resolved_.max_fraction * static_cast<double>(rows))) +
                " of " + std::to_string(rows) + " rows";
    }
    if (limit.empty())
      return false;
    outcome_.success = false;
    outcome_.stop_reason = "fuse";
    outcome_.sqlstate = core::sqlstate::not_in_prerequisite_state;
    outcome_.message =
        std::to_string(victims) + " rows of " + outcome_.target + " would go, but " + limit + "; nothing was changed";
    outcome_.error_hint = "Look with retention.preview; raise the limit with retention.alter_policy if this is right.";
    return true;
  }

  void count_expired_subjects() {
    if (!resolved_.rule.expiry_expression.empty())
      return;
    const auto count = boundary::single(core::expired_subjects_count(resolved_.rule),
                                        {boundary::Arg::time(*outcome_.cutoff)}, boundary::View::as_pushed);
    outcome_.expired_subjects = std::stoull(count.value_or("0"));
  }

  /// Victims of the last pass that are none any more: their subjects came back.
  void settle_returned(const Selection& selection) {
    if (waiting_.empty())
      return;
    for (const Victim& victim : selection.victims)
      waiting_.erase(victim.key);
    outcome_.returned += waiting_.size();
    waiting_.clear();
  }

  void note_changed_subjects(const Selection& selection) {
    for (const Victim& victim : selection.victims)
      if (victim.fate == Fate::changed)
        waiting_.insert(victim.key);
  }

  void erase(Selection& selection) {
    const core::Rule& rule = resolved_.rule;
    Erased erased;
    if (!resolved_.edges.empty()) {
      verify_victims(rule, *outcome_.cutoff, selection);
      erased = erase_families(resolved_, gather_families(resolved_, selection, true), selection, outcome_.run_id);
    } else if (why_not_direct(resolved_, selection).empty()) {
      if (rule.path.empty() && !rule.activities.empty())
        verify_victims(rule, *outcome_.cutoff, selection);
      erased = erase_direct(selection);
    } else {
      verify_victims(rule, *outcome_.cutoff, selection);
      erased = erase_by_sql(resolved_, selection, options_.key, outcome_.run_id);
    }
    outcome_.affected += erased.affected;
    outcome_.blocked += erased.kept_back;
    for (const auto& [label, rows] : erased.dependents)
      outcome_.dependents[label] += rows;
    outcome_.keys.insert(outcome_.keys.end(), erased.keys.begin(), erased.keys.end());
  }

  /// Adds up why victims stayed; true where another pass should look again at rows that changed.
  bool tally(const Selection& selection, bool is_last) {
    std::uint64_t changed = 0, locked = 0, blocked = 0, returned = 0;
    std::vector<bool> went(selection.guards.size());
    for (const Victim& victim : selection.victims)
      switch (victim.fate) {
      case Fate::goes:
        if (!went.empty())
          went[victim.chain] = true;
        break;
      case Fate::locked:
        ++locked;
        break;
      case Fate::changed:
        ++changed;
        break;
      case Fate::returned:
        ++returned;
        break;
      default:
        ++blocked;
      }
    note_path_rows(selection, went);
    outcome_.returned += returned;
    if (changed != 0 && !is_last)
      return true;
    waiting_.clear();
    outcome_.locked = locked + changed;
    outcome_.blocked += blocked;
    return false;
  }

  void note_path_rows(const Selection& selection, const std::vector<bool>& went) {
    const core::Guards& guards = selection.guards;
    path_rows_.resize(guards.width());
    for (std::uint32_t chain = 0; chain < guards.size(); ++chain)
      for (std::size_t step = 0; went[chain] && step < guards.width(); ++step)
        path_rows_[step].insert(guards.key(chain, step));
  }

  void count_path_rows() {
    for (const auto& rows : path_rows_)
      outcome_.path_rows.push_back(rows.size());
    outcome_.subjects = outcome_.path_rows.empty() ? outcome_.affected : outcome_.path_rows.back();
  }
};

/// What the outcome says where the policy's own function says nothing better.
std::string plain_message(const Outcome& outcome) {
  const char* done = outcome.action == core::Action::update    ? "Updated "
                     : outcome.action == core::Action::archive ? "Archived "
                                                               : "Deleted ";
  return done + std::to_string(outcome.affected) + " rows of " + outcome.target;
}

} // namespace

TimestampTz cutoff_before_now(const std::string& interval, const std::string& zone, bool may_be_zero) {
  return cutoff_before(interval, zone, may_be_zero, std::nullopt);
}

TimestampTz cutoff_before(const std::string& interval, const std::string& zone, bool may_be_zero,
                          const std::optional<std::string>& as_of) {
  const TimestampTz now = server([&] {
    if (!as_of)
      return GetCurrentTransactionStartTimestamp();
    return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(as_of->c_str()),
                                                   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
  });
  const TimestampTz cutoff = server([&] {
    Datum const length = DirectFunctionCall3(interval_in, CStringGetDatum(interval.c_str()),
                                             ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
    Datum const where = CStringGetTextDatum(zone.c_str());
    Datum const naive = DirectFunctionCall2(timestamptz_zone, where, TimestampTzGetDatum(now));
    return DatumGetTimestampTz(
        DirectFunctionCall2(timestamp_zone, where, DirectFunctionCall2(timestamp_mi_interval, naive, length)));
  });
  if (TIMESTAMP_NOT_FINITE(cutoff) || cutoff > now || (cutoff == now && !may_be_zero))
    throw core::Failure(core::sqlstate::invalid_parameter_value,
                        "expire_after must be a positive, finite interval, not " + core::quote_literal(interval), "",
                        "For example '90 days'.");
  return cutoff;
}

Outcome execute_policy(const core::Policy& policy, const RunOptions& options) {
  server([] {
    PreventCommandIfReadOnly("a run of a retention policy");
    PreventCommandDuringRecovery("a run of a retention policy");
  });
  Outcome outcome;
  outcome.policy = policy.name;
  outcome.policy_version = policy.version;
  outcome.action = policy.action;
  outcome.started = server([] { return GetCurrentTimestamp(); });
  if (may_run(policy, outcome)) {
    outcome.run_id = next_run_id();
    const Outcome untouched = outcome;
    std::string target;
    std::optional<TimestampTz> cutoff;
    Oid role = InvalidOid;
    const auto caught = boundary::attempt([&] {
      const std::string zone = zone_of(policy);
      const bool is_own = options.expire_after.empty();
      cutoff = outcome.cutoff = cutoff_before_now(is_own ? policy.expire_after : options.expire_after, zone, is_own);
      role = outcome.runs_as = runs_as(policy);
      const Authority before = act_as(role, zone);
      const Resolved resolved = resolve(policy, options.extra_conditions);
      target = outcome.target = resolved.rule.target.label();
      outcome.roles = resolved.roles;
      require_rights(resolved);
      const std::vector<std::string> deferred = check_at_once(resolved);
      Execution(resolved, options, outcome).run();
      defer_again(deferred);
      give_back(before);
      outcome.batches = outcome.affected != 0 ? 1 : 0;
      if (outcome.success)
        outcome.message = plain_message(outcome);
    });
    if (caught) {
      outcome = untouched;
      outcome.success = false;
      outcome.target = target;
      outcome.cutoff = cutoff;
      outcome.runs_as = role;
      outcome.stop_reason = "error";
      outcome.message = caught->message;
      outcome.sqlstate = caught->sqlstate;
      outcome.error_detail = caught->detail;
      outcome.error_hint = caught->hint;
    }
  }
  if (!outcome.success)
    boundary::warn({outcome.sqlstate, outcome.message, outcome.error_detail, outcome.error_hint},
                   "policy " + core::quote(policy.name) + " failed: ");
  outcome.finished = server([] { return GetCurrentTimestamp(); });
  return outcome;
}

} // namespace pg_retention::server
