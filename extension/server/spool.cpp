#include "extension/server/spool.hpp"

#include "extension/boundary/guard.hpp"
#include "extension/core/turns.hpp"

#include <algorithm>

namespace pg_retention::server {

using boundary::server;

void Spool::sort() {
  const auto in_place = [](const Candidate& a, const Candidate& b) { return a.row < b.row; };
  if (!std::is_sorted(rows_.begin(), rows_.end(), in_place))
    std::sort(rows_.begin(), rows_.end(), in_place);
  if (in_turns_ != 0)
    core::take_turns(rows_, in_turns_, [](const Candidate& candidate) { return candidate.row; });
}

void Spool::settle() {
  if (rows_.size() >= most_)
    write_out();
}

void Spool::close() { sort(); }

/// Each part is in order; the whole need not be.
void Spool::write_out() {
  sort();
  file_ = server([&] {
    MemoryContext const before = MemoryContextSwitchTo(TopMemoryContext);
    BufFile* file = file_;
    if (file == nullptr) {
      PrepareTempTablespaces();
      file = BufFileCreateTemp(true);
    }
    BufFileWrite(file, rows_.data(), rows_.size() * sizeof(Candidate));
    MemoryContextSwitchTo(before);
    return file;
  });
  written_ += rows_.size();
  rows_.clear();
}

std::vector<Candidate> Spool::read(std::uint64_t first, std::size_t most) {
  std::vector<Candidate> out;
  if (first >= written_) {
    const std::size_t begin = std::min<std::uint64_t>(first - written_, rows_.size());
    const std::size_t count = std::min(most, rows_.size() - begin);
    out.assign(rows_.begin() + static_cast<std::ptrdiff_t>(begin),
               rows_.begin() + static_cast<std::ptrdiff_t>(begin + count));
    return out;
  }
  out.resize(std::min<std::uint64_t>(most, written_ - first));
  constexpr std::uint64_t segment = 1024 * 1024 * 1024; // of a temporary file
  server([&] {
    const std::uint64_t at = first * sizeof(Candidate);
    if (BufFileSeek(file_, static_cast<int>(at / segment), static_cast<off_t>(at % segment), SEEK_SET) != 0 ||
        BufFileRead(file_, out.data(), out.size() * sizeof(Candidate)) != out.size() * sizeof(Candidate))
      ereport(ERROR, (errcode_for_file_access(), errmsg("could not read the list of chosen rows back")));
  });
  return out;
}

void Spool::drop() noexcept {
  rows_ = {};
  written_ = 0;
  if (file_ != nullptr)
    (void)boundary::protect([](void* file) { BufFileClose(static_cast<BufFile*>(file)); }, file_);
  file_ = nullptr;
}

} // namespace pg_retention::server
