#pragma once
#include <string>

/// SQL that users give as part of a definition, held to be what it says it is by the server's own parser.
namespace pg_retention::boundary {

/// Throws Failure 42601 unless `text` is one SQL expression and nothing else; `what` names it in the message.
void require_expression(const std::string& text, const std::string& what);

/// Throws Failure 42601 unless `text` is a list of assignments, as after SET in UPDATE, and nothing else.
void require_assignments(const std::string& text, const std::string& what);

} // namespace pg_retention::boundary
