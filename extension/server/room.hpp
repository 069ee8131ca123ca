#pragma once
#include "extension/server/select.hpp"

#include <unordered_set>
#include <utility>

/// Room for new versions of rows on the pages where the rows are.
namespace pg_retention::server {

/// The latest transactions that updated rows for a run.
class Writers {
public:
  void add(TransactionId id) {
    if (latest_.size() == most)
      before_ = std::exchange(latest_, {});
    latest_.insert(id);
  }
  [[nodiscard]] bool has(TransactionId id) const { return latest_.count(id) != 0 || before_.count(id) != 0; }

private:
  static constexpr std::size_t most = 65536; ///< in each
  std::unordered_set<TransactionId> latest_, before_;
};

/// Gives back, on the pages of victims that go, the versions that `ours` have replaced and nobody can see any more, as
/// a reader of the page would; a statement that goes to rows by their places does not do so itself. A page on which
/// somebody else has replaced or removed a row is left as it is: the run may have to follow that row to its present
/// version. So is one that is being used. Only for leaves of the access method heap.
void make_room(const Selection& selection, const Writers& ours);

} // namespace pg_retention::server
