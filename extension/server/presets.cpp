#include "extension/server/presets.hpp"

#include "extension/core/failure.hpp"
#include "extension/core/graph.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/history.hpp"
#include "extension/server/settings.hpp"
#include "extension/server/store.hpp"

#include <algorithm>

namespace pg_retention::server::presets {
namespace {

using core::Failure;
using core::quote;

/// What a preset is made of, in conventional names; the first table or column found is taken.
struct Convention {
  const char* name;
  const char* expire_after;
  std::vector<const char*> target, subject, time_columns, activity, images, videos;
  bool marks; ///< it updates a status rather than delete
};

const std::vector<Convention>& conventions() {
  static const std::vector<Convention> known = {
      {"inactive_carts", "90 days", {"cart_items"}, {"users"}, {"last_active"}, {}, {}, {}, false},
      {"old_cart_items", "90 days", {"cart_items"}, {}, {"created_at"}, {}, {}, {}, false},
      {"inactive_sessions",
       "24 hours",
       {"sessions"},
       {"users"},
       {},
       {"messages"},
       {"imageSent", "image_sent"},
       {"videoSent", "video_sent"},
       false},
      {"pending_bookings", "15 minutes", {"bookings"}, {}, {"created_at"}, {}, {}, {}, true},
  };
  return known;
}

const Convention* find(const std::string& name) {
  for (const Convention& convention : conventions())
    if (name == convention.name)
      return &convention;
  return nullptr;
}

/// One preset under construction.
class Builder {
public:
  Builder(const Convention& convention, const Names& names) : convention_(convention), names_(names) {}

  core::Policy build() {
    refuse_useless();
    core::Policy policy;
    policy.name = policy.preset = convention_.name;
    policy.expire_after = names_.expire_after.empty() ? convention_.expire_after : names_.expire_after;
    policy.time_zone = names_.time_zone;
    policy.path = names_.path;
    const core::Relation target = table(names_.target, convention_.target, "target");
    policy.target = target.oid;
    policy.target_name = target.label();
    core::Relation subject = target;
    if (!convention_.subject.empty()) {
      subject = table(names_.subject, convention_.subject, "subject");
      policy.subject = subject.oid;
      policy.subject_name = subject.label();
    }
    if (!convention_.time_columns.empty())
      policy.time_columns = {column(subject, names_.time_column, convention_.time_columns, "time_column")};
    policy.condition = names_.condition;
    if (!convention_.activity.empty())
      policy.activities.push_back(activity(subject));
    add_dependent(policy, names_.images, convention_.images, "images");
    add_dependent(policy, names_.videos, convention_.videos, "videos");
    if (convention_.marks)
      mark(policy, target);
    return policy;
  }

private:
  const Convention& convention_;
  const Names& names_;

  [[nodiscard]] std::string hint(const std::string& role) const {
    return "For other names: SELECT retention.adopt_preset('" + std::string(convention_.name) + "', " + role +
           " => ...).";
  }

  /// A name that the preset has no use for would be silently ignored.
  void refuse_useless() const {
    const auto refuse = [&](bool given, bool useful, const char* what) {
      if (given && !useful)
        throw Failure(core::sqlstate::invalid_parameter_value,
                      std::string("preset ") + quote(convention_.name) + " has no " + what);
    };
    const bool has_activity = !convention_.activity.empty();
    refuse(names_.subject != InvalidOid, !convention_.subject.empty(), "subject");
    refuse(!names_.path.empty(), !convention_.subject.empty(), "path");
    refuse(!names_.time_column.empty(), !convention_.time_columns.empty(), "time_column");
    refuse(names_.activity != InvalidOid, has_activity, "activity");
    refuse(!names_.activity_time_column.empty(), has_activity, "activity_time_column");
    refuse(!names_.activity_condition.empty(), has_activity, "activity_condition");
    refuse(names_.images != InvalidOid, !convention_.images.empty(), "images");
    refuse(names_.videos != InvalidOid, !convention_.videos.empty(), "videos");
    refuse(!names_.set_clause.empty(), convention_.marks, "set_clause");
  }

  core::Relation table(Oid given, const std::vector<const char*>& candidates, const std::string& role) const {
    if (given != InvalidOid)
      return catalog::relation(given, std::to_string(given));
    std::vector<std::string> tried;
    for (const char* name : candidates) {
      if (const Oid found = catalog::on_search_path(name); found != InvalidOid)
        return catalog::relation(found, name);
      tried.push_back(quote(name));
    }
    throw Failure(core::sqlstate::undefined_table,
                  "preset " + quote(convention_.name) + " finds no table " + core::join(tried, " or ") +
                      " on the search_path",
                  "", hint(role));
  }

  std::string column(const core::Relation& relation, const std::string& given,
                     const std::vector<const char*>& candidates, const std::string& role) const {
    if (!given.empty()) {
      (void)catalog::require_column(relation, given);
      return given;
    }
    std::vector<std::string> tried;
    for (const char* name : candidates) {
      if (catalog::column(relation, name))
        return name;
      tried.push_back(quote(name));
    }
    throw Failure(core::sqlstate::undefined_column,
                  "preset " + quote(convention_.name) + " finds no column " + core::join(tried, " or ") + " in " +
                      relation.label(),
                  "", hint(role));
  }

  /// Messages of the subject, found over their foreign key.
  core::Activity activity(const core::Relation& subject) const {
    const core::Relation relation = table(names_.activity, convention_.activity, "activity");
    const core::Path path = core::the_path(catalog::foreign_keys(), relation, subject, {});
    if (path.size() != 1)
      throw Failure(core::sqlstate::undefined_object,
                    "no foreign key leads directly from " + relation.label() + " to " + subject.label(), "",
                    hint("activity"));
    core::Activity activity;
    activity.relation = relation.oid;
    activity.relation_name = relation.label();
    activity.time_column =
        column(relation, names_.activity_time_column, {"timestamp", "created_at", "sent_at"}, "activity_time_column");
    activity.join_condition = path.front().condition("activity", "subject");
    activity.condition = names_.activity_condition;
    if (activity.condition.empty())
      activity.condition = "activity." + quote(column(relation, "", {"sender"}, "activity_condition")) + " = 'user'";
    return activity;
  }

  void add_dependent(core::Policy& policy, Oid given, const std::vector<const char*>& candidates,
                     const char* label) const {
    if (candidates.empty())
      return;
    const core::Relation relation = table(given, candidates, label);
    policy.declared.push_back({relation.oid, relation.label(), label, core::DependentAction::remove, {}, InvalidOid});
  }

  void mark(core::Policy& policy, const core::Relation& target) const {
    policy.action = core::Action::update;
    if (policy.condition.empty())
      policy.condition = "target." + quote(column(target, "", {"status"}, "condition")) + " = 'Pending'";
    policy.set_clause = names_.set_clause;
    if (!policy.set_clause.empty())
      return;
    policy.set_clause = quote(column(target, "", {"status"}, "set_clause")) + " = 'Expired'";
    // now() becomes the column's own kind of time: a run's TimeZone is the policy's.
    if (const auto updated = catalog::column(target, "updated_at"); updated && !updated->is_generated)
      policy.set_clause += ", \"updated_at\" = pg_catalog.now()";
  }
};

} // namespace

bool is_preset(const std::string& name) { return name == history::policy_name || find(name) != nullptr; }

std::vector<std::string> all() {
  std::vector<std::string> names;
  for (const Convention& convention : conventions())
    names.emplace_back(convention.name);
  names.emplace_back(history::policy_name);
  return names;
}

namespace {

/// The preset of the engine itself, whose table is always there.
core::Policy build_history(const Names& names) {
  const bool has_tables = names.target != InvalidOid || names.subject != InvalidOid || names.activity != InvalidOid ||
                          names.images != InvalidOid || names.videos != InvalidOid;
  const std::string texts = names.time_column + names.activity_time_column + names.activity_condition +
                            names.condition + names.set_clause + names.time_zone;
  if (has_tables || !texts.empty() || !names.path.empty())
    throw Failure(core::sqlstate::invalid_parameter_value,
                  std::string("preset ") + quote(history::policy_name) + " has no argument but expire_after");
  return history::policy(names.expire_after);
}

} // namespace

core::Policy build(const std::string& name, const Names& names) {
  if (name == history::policy_name)
    return build_history(names);
  if (const Convention* convention = find(name))
    return Builder(*convention, names).build();
  throw Failure(core::sqlstate::undefined_object, "preset " + quote(name) + " does not exist", "",
                "The presets are " + core::join(all(), ", ") + ".");
}

core::Policy stored_or_built(const std::string& name, bool for_run) {
  if (auto stored = store::load(name))
    return *stored;
  if (!is_preset(name))
    store::no_such_policy(name);
  core::Policy policy = build(name);
  // What it removes is fixed; whoever may run policies bounds their history.
  if (for_run && name == history::policy_name)
    return policy;
  const AclMode needed = !for_run ? ACL_SELECT : policy.action == core::Action::update ? ACL_UPDATE : ACL_DELETE;
  const Oid owner = catalog::owner(policy.target);
  const bool is_allowed = boundary::server([&] {
    return pg_class_aclcheck(policy.target, GetUserId(), needed) == ACLCHECK_OK ||
           has_privs_of_role(GetUserId(), owner);
  });
  if (!is_allowed)
    throw Failure(core::sqlstate::insufficient_privilege,
                  "permission denied for preset " + quote(name) + " on " + policy.target_name,
                  "It is not stored as a policy, and would run as the owner of that table.",
                  "Let the owner, or a superuser, store it: SELECT retention.adopt_preset('" + name + "').");
  return policy;
}

core::Fields fields_of(const core::Policy& policy) {
  const auto text = [](const std::string& s) { return s.empty() ? std::optional<std::string>() : s; };
  const auto oid = [](Oid o) { return o == InvalidOid ? std::optional<std::string>() : std::to_string(o); };
  core::Fields fields{{"name", policy.name},
                      {"preset", text(policy.preset)},
                      {"target", oid(policy.target)},
                      {"target_name", policy.target_name},
                      {"subject", oid(policy.subject)},
                      {"subject_name", text(policy.subject_name)},
                      {"action", std::string(core::action_name(policy.action))},
                      {"set_clause", text(policy.set_clause)},
                      {"time_zone", policy.time_zone.empty() ? settings::naive_time_zone() : policy.time_zone},
                      {"expire_after", policy.expire_after},
                      {"condition", text(policy.condition)},
                      {"expiry_expression", text(policy.expiry_expression)}};
  if (!policy.time_columns.empty())
    fields["time_columns"] = core::array_text(policy.time_columns);
  if (!policy.path.empty())
    fields["path"] = core::array_text(policy.path);
  return fields;
}

} // namespace pg_retention::server::presets
