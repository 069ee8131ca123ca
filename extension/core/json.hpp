#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// A JSON object written field by field. Bytes above 127 pass through, so it serves every server encoding.
namespace pg_retention::core {

/// `text` as a JSON string.
[[nodiscard]] std::string json_string(std::string_view text);

class JsonObject {
public:
  JsonObject& set(std::string_view key, std::string_view text) { return raw(key, json_string(text)); }
  JsonObject& set(std::string_view key, const std::string& text) { return set(key, std::string_view(text)); }
  JsonObject& set(std::string_view key, const char* text) { return set(key, std::string_view(text)); }
  JsonObject& set(std::string_view key, std::int64_t number) { return raw(key, std::to_string(number)); }
  JsonObject& set(std::string_view key, bool truth) { return raw(key, truth ? "true" : "false"); }
  JsonObject& set(std::string_view key, const std::optional<std::string>& text) {
    return text ? set(key, *text) : raw(key, "null");
  }
  /// A value that is JSON already.
  JsonObject& raw(std::string_view key, std::string_view json);

  [[nodiscard]] std::string text() const { return "{" + body_ + "}"; }

private:
  std::string body_;
};

} // namespace pg_retention::core
