#pragma once
#include "extension/boundary/postgres.hpp"
#include "extension/core/rows.hpp"

#include <vector>

/// Room for new versions of rows on the pages where the rows are.
namespace pg_retention::server {

/// Gives back, on the pages of these rows of one leaf (in physical order), what earlier transactions have replaced and
/// nobody can see any more, as a reader of the page would; pages that somebody is using are left as they are. A
/// statement that goes to rows by their places does not do so itself. Nothing where the leaf is no heap.
void make_room(Oid leaf, const std::vector<core::RowKey>& rows);

} // namespace pg_retention::server
