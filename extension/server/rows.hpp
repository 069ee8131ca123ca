#pragma once
#include "extension/boundary/spi.hpp"
#include "extension/server/batches.hpp"

#include <optional>
#include <string>
#include <vector>

/// Values on their way between SQL and the engine: arguments in, rows and dictionaries out.
namespace pg_retention::server {

/// An argument as text, by its type's output function; nullopt is NULL.
[[nodiscard]] boundary::Text argument(FunctionCallInfo fcinfo, int position);

/// The same, and Failure 22004 for NULL.
[[nodiscard]] std::string required_argument(FunctionCallInfo fcinfo, int position, const char* name);

/// The arguments from `first` on that are not NULL, by their names, as text (a regclass as its oid).
[[nodiscard]] core::Fields named_arguments(FunctionCallInfo fcinfo, int first);

/// A timestamptz argument as ISO 8601; nullopt is NULL.
[[nodiscard]] boundary::Text instant_argument(FunctionCallInfo fcinfo, int position);

/// An int argument; nullopt is NULL.
[[nodiscard]] std::optional<std::int32_t> int_argument(FunctionCallInfo fcinfo, int position);

/// A jsonb value from its text.
[[nodiscard]] Datum jsonb(const std::string& text);

/// An instant as ISO 8601 with a numeric offset: read back rightly under every DateStyle and TimeZone.
[[nodiscard]] std::string iso(TimestampTz instant);

/// The instant of a text, as timestamptz reads it.
[[nodiscard]] TimestampTz instant(const std::string& text);

/// Counts by name as a JSON object.
[[nodiscard]] std::string json_counts(const std::map<std::string, std::uint64_t>& counts);

/// An outcome as a row of retention.result.
[[nodiscard]] boundary::Row result_row(const Outcome& outcome);

/// One row as the function's composite result.
[[nodiscard]] Datum composite(FunctionCallInfo fcinfo, const boundary::Row& row);

/// One row as the composite value in the procedure's only result column.
[[nodiscard]] Datum composite_column(FunctionCallInfo fcinfo, const boundary::Row& row);

/// JSON as the jsonb value in the procedure's only result column.
[[nodiscard]] Datum jsonb_column(FunctionCallInfo fcinfo, const std::string& text);

/// An interval argument in microseconds; nullopt is NULL. Throws Failure 22023 for one that is not positive.
[[nodiscard]] std::optional<std::int64_t> microseconds_argument(FunctionCallInfo fcinfo, int position,
                                                                const char* name);

/// A bigint argument; nullopt is NULL. Throws Failure 22023 for less than one.
[[nodiscard]] std::optional<std::int64_t> positive_argument(FunctionCallInfo fcinfo, int position, const char* name);

/// The arguments of retention.run after the policy; those that the procedure of 0.1.0 did not have are as if not given.
[[nodiscard]] BatchLimits batch_limits(FunctionCallInfo fcinfo);

/// Rows as the function's set of results (materialized).
Datum set_of(FunctionCallInfo fcinfo, const boundary::Rows& rows);

} // namespace pg_retention::server
