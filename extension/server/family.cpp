#include "extension/server/family.hpp"

#include "extension/server/catalog.hpp"
#include "extension/server/versions.hpp"

#include <algorithm>
#include <unordered_map>

namespace pg_retention::server {
namespace {

using core::Fate;
using core::RowKey;

/// Rows of the family that may be referred to by one edge, by their place.
using Parents = std::unordered_map<RowKey, std::uint32_t>;

/// One gathering: the tree as far as it has grown.
class Gathering {
public:
  Gathering(const Resolved& resolved, Selection& selection, Hold hold, Kin* kin)
      : resolved_(resolved), selection_(selection), hold_(hold), kin_(kin) {
    tree_.is_locked = hold == Hold::lock;
  }

  FamilyTree run(const LegalHolds& holds) {
    for (const Victim& victim : selection_.victims)
      if (victim.fate == Fate::goes)
        tree_.family.add(victim.key);
    tree_.victims = tree_.family.size();
    tree_.label_of.assign(tree_.victims, 0);
    for (std::uint32_t done = 0; done < tree_.family.size();) {
      const std::uint32_t until = tree_.family.size();
      for (std::size_t edge = 0; edge < resolved_.edges.size(); ++edge)
        follow(edge, done, until);
      done = until;
    }
    keep_held(holds);
    settle_refusals();
    tree_.family.settle(tree_.victims);
    tell_victims();
    return std::move(tree_);
  }

private:
  const Resolved& resolved_;
  Selection& selection_;
  Hold hold_;
  Kin* kin_;
  FamilyTree tree_;
  std::vector<std::pair<std::uint32_t, RowKey>> refusals_; ///< who is referred to, by which row

  /// Whether a leaf is the edge's parent table, or one of its partitions.
  bool is_parent_leaf(const Edge& edge, std::uint16_t leaf) const {
    const Oid oid = selection_.leaves.oid(leaf);
    if (oid == edge.bond.parent.oid)
      return true;
    // A key of a plain table does not hold for its heirs; a declared bond does.
    const bool has_heirs = edge.bond.parent.kind == 'p' || !edge.bond.is_key;
    return has_heirs && catalog::inherits_from(oid, edge.bond.parent.oid);
  }

  Parents parents_of(const Edge& edge, std::uint32_t first, std::uint32_t last) const {
    std::vector<bool> is_parent;
    for (std::size_t leaf = 0; leaf < selection_.leaves.size(); ++leaf)
      is_parent.push_back(is_parent_leaf(edge, static_cast<std::uint16_t>(leaf)));
    Parents parents;
    for (std::uint32_t row = first; row < last; ++row)
      if (is_parent[core::leaf_of(tree_.family.key(row))])
        parents.emplace(tree_.family.key(row), row);
    return parents;
  }

  std::uint16_t label_number(const std::string& label) {
    const auto found = std::find(tree_.labels.begin(), tree_.labels.end(), label);
    const auto number = static_cast<std::uint16_t>(found - tree_.labels.begin());
    if (found == tree_.labels.end())
      tree_.labels.push_back(label);
    return number;
  }

  /// Takes in the rows that hang by an edge on the rows [first, last) of the family.
  void follow(std::size_t index, std::uint32_t first, std::uint32_t last) {
    const Edge& edge = resolved_.edges[index];
    const Parents parents = parents_of(edge, first, last);
    if (parents.empty())
      return;
    std::vector<RowKey> rows;
    for (const auto& [row, number] : parents)
      rows.push_back(row);
    std::sort(rows.begin(), rows.end());

    // Only victims are the versions that were read: what goes with them may have come to the place of one that is gone.
    const bool is_known = kin_ != nullptr && first == 0;
    auto known = is_known ? kin_->references(edge, index, rows, selection_.leaves) : std::nullopt;
    push_latest_snapshot();
    std::vector<Reference> references = known ? std::move(*known) : select_children(edge.bond, rows, selection_.leaves);
    // The statement knows places only: a place of another leaf may have come along.
    const auto strays = std::remove_if(references.begin(), references.end(),
                                       [&](const Reference& r) { return parents.count(r.parent) == 0; });
    references.erase(strays, references.end());
    std::sort(references.begin(), references.end(),
              [](const Reference& a, const Reference& b) { return a.child < b.child; });
    if (edge.action == EdgeAction::refuse)
      for (const Reference& reference : references)
        refusals_.emplace_back(parents.at(reference.parent), reference.child);
    else
      take_in(index, references, parents);
    pop_snapshot();
  }

  void take_in(std::size_t index, const std::vector<Reference>& references, const Parents& parents) {
    const Edge& edge = resolved_.edges[index];
    std::vector<RowKey> children;
    for (const Reference& reference : references)
      children.push_back(reference.child);
    std::vector<Fate> fates(children.size(), Fate::goes);
    if (hold_ != Hold::none)
      fates = hold_children(edge, children);
    const std::uint16_t label = edge.action == EdgeAction::remove ? label_number(edge.label) : std::uint16_t{0};
    for (std::size_t i = 0; i < references.size(); ++i) {
      const std::uint32_t parent = parents.at(references[i].parent);
      if (edge.action != EdgeAction::remove) {
        tree_.emptied.push_back({parent, children[i], static_cast<std::uint16_t>(index)});
        if (fates[i] != Fate::goes)
          tree_.family.keep(parent, fates[i]);
        continue;
      }
      const std::uint32_t child = tree_.family.add(children[i]);
      if (child == tree_.label_of.size())
        tree_.label_of.push_back(label);
      tree_.family.link(parent, child);
      if (fates[i] != Fate::goes)
        tree_.family.keep(child, fates[i]);
    }
  }

  /// Whether anything can hang on the rows of a table that go along.
  bool is_parent(const core::Relation& table) const {
    return std::any_of(resolved_.edges.begin(), resolved_.edges.end(),
                       [&](const Edge& edge) { return catalog::share_rows(edge.bond.parent.oid, table.oid); });
  }

  /// Locks dependents, or looks at them. One that was changed or deleted meanwhile has its victims judged again.
  [[nodiscard]] std::vector<Fate> hold_children(const Edge& edge, std::vector<RowKey> children) const {
    const bool may_look = hold_ == Hold::look && edge.action == EdgeAction::remove && !is_parent(edge.bond.child) &&
                          have_versions(children, selection_.leaves);
    std::vector<Fate> fates = may_look ? look_at_rows(children, nullptr, selection_.leaves)
                                       : lock_rows(children, selection_.leaves, LockTupleExclusive);
    std::replace(fates.begin(), fates.end(), Fate::gone, Fate::changed);
    return fates;
  }

  /// A row under hold does not go, nor is it emptied of its keys: who would take it along stays.
  void keep_held(const LegalHolds& holds) {
    std::vector<RowKey> rows;
    for (std::uint32_t row = tree_.victims; row < tree_.family.size(); ++row)
      rows.push_back(tree_.family.key(row));
    for (const FamilyTree::Emptied& e : tree_.emptied)
      rows.push_back(e.child);
    const auto held = holds.held_among(rows, selection_.leaves);
    if (held.empty())
      return;
    for (std::uint32_t row = tree_.victims; row < tree_.family.size(); ++row)
      if (held.count(tree_.family.key(row)) != 0)
        tree_.family.keep(row, Fate::held);
    for (const FamilyTree::Emptied& e : tree_.emptied)
      if (held.count(e.child) != 0)
        tree_.family.keep(e.parent, Fate::held);
  }

  /// A row that refers and stays blocks; one that is going itself only ties the two together.
  void settle_refusals() {
    for (const auto& [parent, child] : refusals_) {
      if (const auto number = tree_.family.find(child))
        tree_.family.need(parent, *number);
      else
        tree_.family.keep(parent, Fate::blocked);
    }
  }

  void tell_victims() {
    std::uint32_t row = 0;
    for (Victim& victim : selection_.victims)
      if (victim.fate == Fate::goes)
        victim.fate = tree_.family.fate(row++);
  }
};

} // namespace

FamilyTree gather_families(const Resolved& resolved, Selection& selection, Hold hold, const LegalHolds& holds,
                           Kin* kin) {
  (void)holds.clear(selection);
  return Gathering(resolved, selection, hold, kin).run(holds);
}

} // namespace pg_retention::server
