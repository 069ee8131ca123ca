#pragma once
#include <exception>
#include <string>
#include <utility>

namespace pg_retention::core {

/// What went wrong, in the words a user reads: SQLSTATE, message, detail and hint.
/// Thrown by core and server code; the boundary turns it into one server ERROR.
class Failure : public std::exception {
public:
  /// `sqlstate` has five characters; detail and hint may be empty.
  Failure(const char* sqlstate, std::string message, std::string detail = {}, std::string hint = {})
      : sqlstate_(sqlstate), message_(std::move(message)), detail_(std::move(detail)), hint_(std::move(hint)) {}

  [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }
  [[nodiscard]] const std::string& sqlstate() const noexcept { return sqlstate_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }
  [[nodiscard]] const std::string& detail() const noexcept { return detail_; }
  [[nodiscard]] const std::string& hint() const noexcept { return hint_; }

private:
  std::string sqlstate_, message_, detail_, hint_;
};

/// The SQLSTATEs the project raises itself, by their names in the PostgreSQL manual.
namespace sqlstate {
inline constexpr const char* invalid_parameter_value = "22023";
inline constexpr const char* null_value_not_allowed = "22004";
inline constexpr const char* undefined_object = "42704";
inline constexpr const char* duplicate_object = "42710";
inline constexpr const char* duplicate_column = "42701";
inline constexpr const char* undefined_table = "42P01";
inline constexpr const char* undefined_column = "42703";
inline constexpr const char* ambiguous_parameter = "42P08";
inline constexpr const char* wrong_object_type = "42809";
inline constexpr const char* datatype_mismatch = "42804";
inline constexpr const char* insufficient_privilege = "42501";
inline constexpr const char* feature_not_supported = "0A000";
inline constexpr const char* not_in_prerequisite_state = "55000";
inline constexpr const char* syntax_error = "42601";
inline constexpr const char* internal_error = "XX000";
inline constexpr const char* serialization_failure = "40001";
inline constexpr const char* deadlock_detected = "40P01";
inline constexpr const char* lock_not_available = "55P03";
inline constexpr const char* foreign_key_violation = "23503";
inline constexpr const char* restrict_violation = "23001";
inline constexpr const char* query_canceled = "57014";
/// Our own, of the class "object not in prerequisite state": it is not known what legal holds keep, so nothing goes.
inline constexpr const char* hold_in_doubt = "55H01";

/// Whether what was in the way may be gone with another try: a lock, a deadlock, a change in between.
[[nodiscard]] inline bool is_passing(const std::string& sqlstate) {
  return sqlstate == deadlock_detected || sqlstate == lock_not_available || sqlstate == serialization_failure;
}
} // namespace sqlstate

} // namespace pg_retention::core
