#include "extension/boundary/parse.hpp"

#include "extension/boundary/guard.hpp"
#include "extension/core/identifier.hpp"

extern "C" {
#include "catalog/pg_operator.h"
#include "optimizer/optimizer.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "utils/ruleutils.h"
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

/// The only statement in `text`; nullptr where there is not exactly one, or where a semicolon ends it: the parser knows
/// the length of such a one.
Node* only_statement(const std::string& text, RawParseMode mode) {
  List* const statements = raw_parser(text.c_str(), mode);
  if (list_length(statements) != 1 || linitial_node(RawStmt, statements)->stmt_len != 0)
    return nullptr;
  return linitial_node(RawStmt, statements)->stmt;
}

[[noreturn]] void refuse(const std::string& text, const std::string& what, const char* expected) {
  throw core::Failure(core::sqlstate::syntax_error, what + " is not " + expected + ": " + core::quote_literal(text), "",
                      "It becomes part of one statement and can hold no other.");
}

/// Settings under which text means the same whoever reads it. Runs inside server().
int fix_styles() {
  const int level = NewGUCNestLevel();
  constexpr const char* settings[][2] = {{"search_path", "pg_catalog"},   {"DateStyle", "ISO"},
                                         {"IntervalStyle", "postgres"},   {"extra_float_digits", "1"},
                                         {"bytea_output", "hex"},         {"standard_conforming_strings", "on"},
                                         {"quote_all_identifiers", "off"}};
  for (const auto& [name, value] : settings)
    set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
  return level;
}

/// A statement analysed with the session's search_path and styles, and written out under fixed ones, in the server's
/// memory.
const char* written_out(const std::string& statement) {
  return server([&] {
    List* const parsed = raw_parser(statement.c_str(), RAW_PARSE_DEFAULT);
    Query* const query =
        parse_analyze_fixedparams(linitial_node(RawStmt, parsed), statement.c_str(), nullptr, 0, nullptr);
    const int level = fix_styles();
    const char* text = pg_get_querydef(query, false);
    AtEOXact_GUC(true, level);
    return text;
  });
}

[[noreturn]] void cannot_write_out(const std::string& text) {
  throw core::Failure(core::sqlstate::feature_not_supported, "cannot write out " + core::quote_literal(text));
}

/// Whether `text` occurs exactly once.
bool is_unique(const std::string& whole, const std::string& text) {
  const std::size_t first = whole.find(text);
  return first != std::string::npos && whole.find(text, first + 1) == std::string::npos;
}

/// Writes a text out until that changes nothing any more: a constant of a sub-query gets a cast first, and from the
/// cast a name. An export must be what an import stores.
template <class Write>
std::string until_settled(std::string text, Write write) {
  constexpr int most = 4;
  for (int round = 0; round < most; ++round) {
    const std::string out = write(text);
    if (out == text)
      break;
    text = out;
  }
  return text;
}

std::string expression_once(const std::string& text, const std::string& from) {
  const std::string select = "SELECT";
  // Names and strings of the statement may hold any words; the mark is one that they do not.
  std::string mark = "pg_retention_expression",
              out = written_out(select + " (" + text + "\n) AS " + mark + " FROM " + from);
  while (!is_unique(out, " AS " + mark) && mark.size() < NAMEDATALEN - 1) {
    mark += "_";
    out = written_out(select + " (" + text + "\n) AS " + mark + " FROM " + from);
  }
  const std::size_t begin = out.find(select), end = out.find(" AS " + mark);
  if (begin == std::string::npos || !is_unique(out, " AS " + mark))
    cannot_write_out(text);
  // White space follows SELECT, a line break before some expressions.
  const std::size_t first = out.find_first_not_of(" \n", begin + select.size());
  return out.substr(first, end - first);
}

std::string assignments_once(const std::string& text, const std::string& table) {
  const std::string set = " target SET ", out = written_out("UPDATE " + table + " AS target SET " + text + "\n");
  // The table's own name comes first, in quotes or without them, and might hold the words looked for.
  const std::size_t begin = out.find(set, table.size() - 4);
  if (begin == std::string::npos)
    cannot_write_out(text);
  return out.substr(begin + set.size());
}

} // namespace

std::string qualified_expression(const std::string& text, const std::string& from) {
  return until_settled(text, [&](const std::string& now) { return expression_once(now, from); });
}

bool follows_from_rows(const std::string& select) {
  return server([&] {
    List* const parsed = raw_parser(select.c_str(), RAW_PARSE_DEFAULT);
    Query* const query = parse_analyze_fixedparams(linitial_node(RawStmt, parsed), select.c_str(), nullptr, 0, nullptr);
    return !query->hasSubLinks && !contain_mutable_functions(reinterpret_cast<Node*>(query->targetList));
  });
}

namespace {

/// A whole-row variable: column 0 of its table.
bool has_whole_row(Node* node, void* context) {
  if (node == nullptr)
    return false;
  if (IsA(node, Var))
    return castNode(Var, node)->varattno == 0;
  return look_below(node, has_whole_row, context);
}

} // namespace

bool looks_at_whole_rows(const std::string& select) {
  return server([&] {
    List* const parsed = raw_parser(select.c_str(), RAW_PARSE_DEFAULT);
    Query* const query = parse_analyze_fixedparams(linitial_node(RawStmt, parsed), select.c_str(), nullptr, 0, nullptr);
    return has_whole_row(reinterpret_cast<Node*>(query), nullptr);
  });
}

std::optional<std::vector<std::string>> columns_set_from_row(const std::string& update) {
  List* const set = server([&]() -> List* {
    List* const parsed = raw_parser(update.c_str(), RAW_PARSE_DEFAULT);
    Query* const query = parse_analyze_fixedparams(linitial_node(RawStmt, parsed), update.c_str(), nullptr, 0, nullptr);
    if (query->hasSubLinks || has_whole_row(reinterpret_cast<Node*>(query->targetList), nullptr))
      return NIL;
    List* names = NIL;
    for (int i = 0; i < list_length(query->targetList); ++i) {
      const auto* entry = list_nth_node(TargetEntry, query->targetList, i);
      if (IsA(entry->expr, SetToDefault))
        return NIL;
      names = lappend(names, entry->resname);
    }
    return names;
  });
  if (set == NIL)
    return std::nullopt;
  std::vector<std::string> names;
  for (int i = 0; i < list_length(set); ++i)
    names.emplace_back(static_cast<const char*>(list_nth(set, i)));
  return names;
}

std::string equals(const std::string& column, const std::string& value, Oid type) {
  struct Names {
    const char* type;
    const char* schema;
    const char* equality;
  };
  const Names names = server([&]() -> Names {
    const int level = fix_styles();
    // With FORMAT_TYPE_TYPEMOD_GIVEN, a type of a default length is named as the one without.
    const char* name = format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
    AtEOXact_GUC(true, level);
    const Oid equality = lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;
    if (!OidIsValid(equality))
      return {name, nullptr, nullptr};
    HeapTuple const tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(equality));
    if (!HeapTupleIsValid(tuple))
      elog(ERROR, "cache lookup failed for operator %u", equality);
    const auto* found = reinterpret_cast<Form_pg_operator>(GETSTRUCT(tuple));
    const Names out{name, get_namespace_name(found->oprnamespace), pstrdup(NameStr(found->oprname))};
    ReleaseSysCache(tuple);
    return out;
  });
  if (names.equality == nullptr)
    throw core::Failure("42883", "type " + std::string(names.type) + " has no equality");
  return column + " OPERATOR(" + core::quote_identifier(names.schema) + "." + names.equality + ") " +
         core::quote_literal(value) + "::" + names.type;
}

std::string written_value(const std::string& value, Oid type) {
  return server([&] {
    Oid input = InvalidOid, argument = InvalidOid, output = InvalidOid;
    bool is_varlena = false;
    getTypeInputInfo(type, &input, &argument);
    getTypeOutputInfo(type, &output, &is_varlena);
    Datum const datum = OidInputFunctionCall(input, const_cast<char*>(value.c_str()), argument, -1);
    const int level = fix_styles();
    const char* text = OidOutputFunctionCall(output, datum);
    AtEOXact_GUC(true, level);
    return text;
  });
}

std::string qualified_assignments(const std::string& text, const std::string& schema, const std::string& name) {
  const std::string table = core::quote_identifier(schema) + "." + core::quote_identifier(name);
  return until_settled(text, [&](const std::string& now) { return assignments_once(now, table); });
}

void require_expression(const std::string& text, const std::string& what) {
  const bool is_expression = server([&] {
    Node* const statement = only_statement(text, RAW_PARSE_PLPGSQL_EXPR);
    return statement != nullptr && IsA(statement, SelectStmt) && is_bare(castNode(SelectStmt, statement)) &&
           linitial_node(ResTarget, castNode(SelectStmt, statement)->targetList)->name == nullptr;
  });
  if (!is_expression)
    refuse(text, what, "a single expression");
}

void require_assignments(const std::string& text, const std::string& what) {
  const std::string statement = "UPDATE t SET " + text + "\n";
  const bool is_assignments = server([&] {
    Node* const parsed = only_statement(statement, RAW_PARSE_DEFAULT);
    if (parsed == nullptr || !IsA(parsed, UpdateStmt))
      return false;
    const auto* update = castNode(UpdateStmt, parsed);
    return update->whereClause == nullptr && update->fromClause == NIL && !has_returning(update) &&
           update->withClause == nullptr;
  });
  if (!is_assignments)
    refuse(text, what, "a list of assignments");
}

} // namespace pg_retention::boundary
