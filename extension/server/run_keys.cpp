#include "extension/server/run_keys.hpp"

#include "extension/server/authority.hpp"
#include "extension/server/catalog.hpp"

#include <map>

namespace pg_retention::server {
namespace {

using boundary::Arg;
using core::RowKey;

/// Rows that are read at once, each by its place: what the memory for their keys is bounded by.
constexpr std::size_t rows_at_once = 20000;

/// Collects texts.
class TextSink final : public boundary::Sink {
public:
  void accept(const Datum* values, const bool*) override {
    const auto* text = reinterpret_cast<const struct varlena*>(DatumGetPointer(values[0]));
    texts.emplace_back(VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
  }
  std::vector<std::string> texts;
};

/// SQL for the key of a row: the value of its one column, or an array of values.
std::string key_of(const std::vector<std::string>& columns) {
  std::vector<std::string> values;
  for (const std::string& column : columns)
    values.push_back("target." + core::quote(column));
  return columns.size() == 1 ? "pg_catalog.to_jsonb(" + values.front() + ")"
                             : "pg_catalog.jsonb_build_array(" + core::join(values, ", ") + ")";
}

/// The keys of rows of one leaf as JSON arrays of 1,000 each, in the text form of an SQL array.
std::string keys_of(const core::Relation& leaf, const std::vector<std::string>& key, const std::vector<RowKey>& rows) {
  TextSink sink;
  boundary::stream("SELECT pg_catalog.jsonb_agg(k.key)::pg_catalog.text FROM (SELECT " + key_of(key) +
                       " AS key, (pg_catalog.row_number() OVER () - 1) / 1000 AS part FROM " +
                       catalog::rows_of_leaf(leaf, "target", "WHERE") + "target.ctid = ANY ($1)) AS k GROUP BY k.part",
                   {tid_array(rows)}, sink);
  return core::array_text(sink.texts);
}

void write(const Outcome& outcome, const std::string& keys) {
  const Authority before = act_as_keeper();
  boundary::execute("INSERT INTO retention.run_key (run, batch, relation, keys) "
                    "SELECT $1, $2, $3, k::pg_catalog.jsonb FROM pg_catalog.unnest($4::pg_catalog.text[]) AS k",
                    {Arg::of(outcome.run_id), Arg::of(static_cast<std::int32_t>(outcome.batches + 1)),
                     Arg::of(outcome.target), Arg::of(keys)});
  give_back(before);
}

} // namespace

void record_keys(const Resolved& resolved, const Selection& selection, const Outcome& outcome) {
  std::map<std::uint16_t, std::vector<RowKey>> rows;
  const auto flush = [&](std::uint16_t leaf) {
    const core::Relation table = catalog::relation(selection.leaves.oid(leaf), "of a victim");
    write(outcome, keys_of(table, resolved.recorded_key, rows[leaf]));
    rows[leaf].clear();
  };
  for (const Victim& victim : selection.victims) {
    if (victim.fate != core::Fate::goes)
      continue;
    const std::uint16_t leaf = core::leaf_of(victim.key);
    rows[leaf].push_back(victim.key);
    if (rows[leaf].size() == rows_at_once)
      flush(leaf);
  }
  for (const auto& [leaf, left] : rows)
    if (!left.empty())
      flush(leaf);
}

} // namespace pg_retention::server
