#pragma once
#include "extension/boundary/spi.hpp"

#include <cstdint>
#include <string>

/// Placing and releasing holds.
namespace pg_retention::server::hold_define {

/// Places a hold on the rows of a table that satisfy a condition, or on the row with a key (a JSON object), and returns
/// its id. The caller must be able to read the table. A condition is judged with the caller's rights, a superuser's
/// with those of the table's owner, as a key is. Waits until the batches under way are committed.
[[nodiscard]] std::int64_t add_by_condition(Oid relation, const std::string& condition, const std::string& reason,
                                            const boundary::Text& until);
[[nodiscard]] std::int64_t add_by_key(Oid relation, const std::string& key, const std::string& reason,
                                      const boundary::Text& until);

/// Releases a hold; for the role that placed it, and superusers.
void release(std::int64_t id, const std::string& reason);

} // namespace pg_retention::server::hold_define
