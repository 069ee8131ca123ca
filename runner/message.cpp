#include "message.hpp"

#include "connection.hpp"
#include "terminal.hpp"

#include <cstdio>
#include <iostream>

namespace pg_retention::runner {
namespace {

/// Keeps a text away from the terminal's control: names and messages come from the database.
std::string visible(std::string_view text, std::string_view allowed) {
  std::string shown;
  for (const char c : text) {
    const unsigned code = static_cast<unsigned char>(c);
    if ((code >= 0x20 && code != 0x7f) || allowed.find(c) != std::string_view::npos) {
      shown += c;
    } else if (c == '\n') {
      shown += "\\n";
    } else if (c == '\t') {
      shown += "\\t";
    } else {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\x%02x", code);
      shown += escape;
    }
  }
  return shown;
}

/// Writes one message; a status line on the terminal makes room for it.
void say(std::string_view kind, std::string_view text) {
  withdraw_status_line();
  std::cerr << "pg_retention: " << kind << visible(text, "\n\t") << std::endl;
}

} // namespace

void note(std::string_view text) { say("", text); }

void error(std::string_view text) { say("error: ", text); }

void hint(std::string_view text) {
  if (!text.empty())
    say("hint: ", text);
}

std::string whole(const ServerError& failure) {
  std::string text = failure.severity.empty() ? std::string() : failure.severity + ":  ";
  text += failure.what();
  if (!failure.sqlstate().empty())
    text += " (SQLSTATE " + failure.sqlstate() + ")";
  if (!failure.detail.empty())
    text += "\nDETAIL:  " + failure.detail;
  if (!failure.hint.empty())
    text += "\nHINT:  " + failure.hint;
  if (!failure.context.empty())
    text += "\nCONTEXT:  " + failure.context;
  return text;
}

std::string one_line(std::string_view text) { return visible(text, {}); }

} // namespace pg_retention::runner
