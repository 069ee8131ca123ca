#pragma once
#include "extension/server/select.hpp"

#include <unordered_set>

/// Room for new versions of rows on the pages where the rows are.
namespace pg_retention::server {

/// Transactions that updated rows.
using Writers = std::unordered_set<TransactionId>;

/// Gives back, on the pages of victims that go, the versions that `ours` have replaced and nobody can see any more, as
/// a reader of the page would; a statement that goes to rows by their places does not do so itself. A page on which
/// somebody else has replaced or removed a row is left as it is: the run may have to follow that row to its present
/// version. So is one that is being used. Only for leaves of the access method heap.
void make_room(const Selection& selection, const Writers& ours);

} // namespace pg_retention::server
