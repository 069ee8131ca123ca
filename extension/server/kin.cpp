#include "extension/server/kin.hpp"

#include "extension/boundary/parse.hpp"
#include "extension/server/catalog.hpp"
#include "extension/server/versions.hpp"

#include <algorithm>

namespace pg_retention::server {

using core::Fate;
using core::RowKey;

bool follows_from_its_rows(const Edge& edge) {
  return edge.bond.is_key || boundary::follows_from_rows(core::bond_probe(edge.bond));
}

/// Takes in references, as many as may be.
class Kin::KnownSink final : public boundary::Sink {
public:
  KnownSink(std::vector<Known>& known, core::Leaves& leaves, std::size_t most)
      : known_(known), leaves_(leaves), most_(most) {}
  void accept(const Datum* values, const bool*) override {
    if (known_.size() < most_)
      known_.push_back({row_at(values, 2, leaves_), row_at(values, 0, leaves_), DatumGetTransactionId(values[4])});
    else
      is_full = true;
  }
  bool is_full = false;

private:
  std::vector<Known>& known_;
  core::Leaves& leaves_;
  std::size_t most_;
};

Kin::Kin(const Resolved& resolved, std::vector<RowKey> parents, core::Leaves& leaves, std::size_t memory)
    : parents_(std::move(parents)) {
  // A vector that grows is there twice for a moment.
  std::size_t room = memory / sizeof(Known) / 2;
  const std::vector<Oid> targets = catalog::relatives(resolved.rule.target.oid);
  for (const Edge& edge : resolved.edges) {
    edges_.push_back({edge.bond, {}, {}});
    Relatives& relatives = edges_.back();
    if (std::find(targets.begin(), targets.end(), edge.bond.parent.oid) == targets.end())
      continue;
    relatives.arrivals.emplace_back(edge.bond.child, leaves);
    KnownSink sink(relatives.known, leaves, room);
    for (const auto& [part, rows] : by_parent(edge.bond, parents_, leaves))
      boundary::stream(core::child_versions_select(part), {tid_array(rows)}, sink);
    fits_ = !sink.is_full;
    if (!fits_)
      return;
    room -= relatives.known.size();
    std::sort(relatives.known.begin(), relatives.known.end(),
              [](const Known& a, const Known& b) { return a.parent < b.parent; });
  }
}

std::size_t Kin::memory() const {
  std::size_t bytes = parents_.capacity() * sizeof(RowKey);
  for (const Relatives& edge : edges_)
    bytes += edge.known.capacity() * sizeof(Known);
  return bytes;
}

bool Kin::is_about(const Resolved& resolved) const {
  return resolved.edges.size() == edges_.size() &&
         std::equal(edges_.begin(), edges_.end(), resolved.edges.begin(), [](const Relatives& was, const Edge& is) {
           return was.bond.child.oid == is.bond.child.oid && was.bond.parent.oid == is.bond.parent.oid &&
                  was.bond.is_key == is.bond.is_key && was.bond.condition == is.bond.condition &&
                  (was.arrivals.empty() || was.arrivals.front().is_about(is.bond.child));
         });
}

bool Kin::knows(const std::vector<RowKey>& rows) const {
  return std::includes(parents_.begin(), parents_.end(), rows.begin(), rows.end());
}

/// The known references of rows that are the versions that were read, or that somebody is changing just now.
std::vector<Reference> Kin::still_standing(const Relatives& edge, const std::vector<RowKey>& rows,
                                           const core::Leaves& leaves) {
  std::vector<Known> known;
  auto from = edge.known.begin();
  for (const RowKey row : rows) {
    from = std::lower_bound(from, edge.known.end(), row, [](const Known& a, RowKey b) { return a.parent < b; });
    for (; from != edge.known.end() && from->parent == row; ++from)
      known.push_back(*from);
  }
  std::sort(known.begin(), known.end(), [](const Known& a, const Known& b) { return a.child < b.child; });
  std::vector<RowKey> children;
  std::vector<std::uint32_t> xmins;
  for (const Known& each : known) {
    children.push_back(each.child);
    xmins.push_back(each.xmin);
  }
  const std::vector<Fate> fates = look_at_rows(children, &xmins, leaves);
  std::vector<Reference> standing;
  for (std::size_t i = 0; i < known.size(); ++i)
    if (fates[i] == Fate::goes || fates[i] == Fate::locked)
      standing.push_back({known[i].child, known[i].parent});
  sort_once(standing);
  return standing;
}

std::optional<std::vector<Reference>> Kin::references(const Edge& edge, std::size_t number,
                                                      const std::vector<RowKey>& rows, core::Leaves& leaves) {
  Relatives& relatives = edges_.at(number);
  if (relatives.arrivals.empty() || !knows(rows))
    return std::nullopt;
  // In this order: of a row that changes in between, the next version has come by the time that the arrivals are looked
  // for.
  std::vector<Reference> references = still_standing(relatives, rows, leaves);
  const auto come = arrived(relatives.arrivals, rows.size() * pages_a_look_up, rows.size());
  if (!come) {
    ++misses_;
    return std::nullopt;
  }
  if (come->empty())
    return references;
  push_latest_snapshot();
  for (const auto& [part, parents] : by_parent(edge.bond, rows, leaves)) {
    const std::vector<Reference> added =
        select_references(core::children_among_select(part), {tid_array(parents), tid_array(*come)}, leaves);
    references.insert(references.end(), added.begin(), added.end());
  }
  pop_snapshot();
  sort_once(references);
  return references;
}

} // namespace pg_retention::server
