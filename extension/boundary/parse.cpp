#include "extension/boundary/parse.hpp"

#include "extension/boundary/guard.hpp"
#include "extension/core/identifier.hpp"

extern "C" {
#include "nodes/parsenodes.h"
#include "parser/parser.h"
}

namespace pg_retention::boundary {
namespace {

/// Whether a parsed SELECT is its one expression alone.
bool is_bare(const SelectStmt* select) {
  return select->op == SETOP_NONE && list_length(select->targetList) == 1 && select->distinctClause == NIL &&
         select->intoClause == nullptr && select->fromClause == NIL && select->whereClause == nullptr &&
         select->groupClause == NIL && select->havingClause == nullptr && select->windowClause == NIL &&
         select->valuesLists == NIL && select->sortClause == NIL && select->limitOffset == nullptr &&
         select->limitCount == nullptr && select->lockingClause == NIL && select->withClause == nullptr;
}

/// The only statement in `text`; nullptr where there is not exactly one.
Node* only_statement(const std::string& text, RawParseMode mode) {
  List* const statements = raw_parser(text.c_str(), mode);
  return list_length(statements) == 1 ? linitial_node(RawStmt, statements)->stmt : nullptr;
}

[[noreturn]] void refuse(const std::string& text, const std::string& what, const char* expected) {
  throw core::Failure(core::sqlstate::syntax_error, what + " is not " + expected + ": " + core::quote_literal(text), "",
                      "It becomes part of one statement and can hold no other.");
}

} // namespace

void require_expression(const std::string& text, const std::string& what) {
  const bool is_expression = server([&] {
    Node* const statement = only_statement(text, RAW_PARSE_PLPGSQL_EXPR);
    return statement != nullptr && IsA(statement, SelectStmt) && is_bare(castNode(SelectStmt, statement)) &&
           linitial_node(ResTarget, castNode(SelectStmt, statement)->targetList)->name == nullptr;
  });
  if (!is_expression) refuse(text, what, "a single expression");
}

void require_assignments(const std::string& text, const std::string& what) {
  const std::string statement = "UPDATE t SET " + text + "\n";
  const bool is_assignments = server([&] {
    Node* const parsed = only_statement(statement, RAW_PARSE_DEFAULT);
    if (parsed == nullptr || !IsA(parsed, UpdateStmt)) return false;
    const auto* update = castNode(UpdateStmt, parsed);
    return update->whereClause == nullptr && update->fromClause == NIL && update->returningList == NIL &&
           update->withClause == nullptr;
  });
  if (!is_assignments) refuse(text, what, "a list of assignments");
}

} // namespace pg_retention::boundary
