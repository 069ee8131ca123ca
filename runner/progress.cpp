#include "progress.hpp"

#include "message.hpp"
#include "terminal.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace pg_retention::runner {
namespace {

constexpr std::chrono::milliseconds first_look{1000};
constexpr std::chrono::milliseconds between_redraws{500};
constexpr std::chrono::milliseconds between_lines{5000};

double number_or_zero(const std::optional<std::string>& text) { return text ? std::strtod(text->c_str(), nullptr) : 0; }

/// Hours, minutes and seconds.
std::string time_text(double seconds) {
  const auto whole = static_cast<long long>(std::llround(std::min(seconds, 1e9)));
  char text[48];
  std::snprintf(text, sizeof text, "%02lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
  return text;
}

/// The numbers behind the bar, and of a line.
std::string numbers(std::int64_t rows, double rows_per_second, const std::optional<double>& seconds_left) {
  char rate[48];
  std::snprintf(rate, sizeof rate, "%.0f", rows_per_second);
  std::string text = std::to_string(rows) + (rows == 1 ? " row, " : " rows, ") + rate + " rows/s";
  if (seconds_left)
    text += ", about " + time_text(*seconds_left) + " left";
  return text;
}

std::string percent(double part) {
  char text[16];
  std::snprintf(text, sizeof text, "%3.0f %%", std::floor(part * 100));
  return text;
}

/// The first characters of a text: as many as surely fit into so many columns, where a character beyond ASCII may need
/// two.
std::string fitting(const std::string& text, std::size_t columns) {
  std::size_t used = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto code = static_cast<unsigned char>(text[i]);
    if ((code & 0xC0) == 0x80)
      continue;
    used += code < 0x80 ? 1 : 2;
    if (used > columns)
      return text.substr(0, i);
  }
  return text;
}

} // namespace

Progress::Progress(Connection connection)
    : connection_(std::move(connection)), is_bar_(can_show_status_line()), next_look_(Clock::now() + first_look) {}

Progress::~Progress() { withdraw_status_line(); }

void Progress::begun(const Share& share, int backend) {
  under_way_[backend] = share.policy;
  Standing& standing = policies_[share.policy];
  standing.shares = std::max(1, share.slices);
  standing.looks[backend];
}

void Progress::ended(int backend, const Outcome& outcome) {
  under_way_.erase(backend);
  Standing& standing = policies_[outcome.policy];
  standing.looks.erase(backend);
  standing.rows_of_ended += static_cast<std::int64_t>(number_or_zero(outcome.affected));
  if (++standing.ended == standing.shares)
    policies_.erase(outcome.policy);
}

int Progress::descriptor() const { return is_asked_ ? connection_.descriptor() : -1; }

std::optional<std::chrono::milliseconds> Progress::due() const {
  if (is_asked_ || is_silent_)
    return std::nullopt;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_look_ - Clock::now());
  return std::max(left, std::chrono::milliseconds(0));
}

void Progress::attend() {
  if (is_silent_ || (!is_asked_ && Clock::now() < next_look_))
    return;
  try {
    if (!is_asked_) {
      connection_.send({"SELECT p.pid, p.affected, p.share, p.rows_per_second, "
                        "pg_catalog.date_part('epoch', p.remaining) AS seconds_left FROM retention.progress AS p"});
      is_asked_ = true;
    }
    const std::optional<Rows> rows = connection_.receive();
    if (!rows)
      return;
    is_asked_ = false;
    next_look_ = Clock::now() + (is_bar_ ? between_redraws : between_lines);
    take_in(*rows);
    show();
  } catch (const DatabaseError& failure) {
    is_silent_ = true;
    is_asked_ = false;
    withdraw_status_line();
    note(std::string("cannot show progress: ") + failure.what());
  }
}

/// Keeps what the view says of the shares of this program.
void Progress::take_in(const Rows& rows) {
  for (int row = 0; row < rows.count(); ++row) {
    const auto found = under_way_.find(static_cast<int>(number_or_zero(rows.value(row, "pid"))));
    if (found == under_way_.end())
      continue;
    Look& look = policies_[found->second].looks[found->first];
    look.rows = static_cast<std::int64_t>(number_or_zero(rows.value(row, "affected")));
    look.part_done = std::clamp(number_or_zero(rows.value(row, "share")), 0.0, 1.0);
    look.rows_per_second = number_or_zero(rows.value(row, "rows_per_second"));
    look.seconds_left.reset();
    if (const auto seconds = rows.value(row, "seconds_left"))
      look.seconds_left = number_or_zero(seconds);
  }
}

/// A policy's slices together: the slowest says how long it takes.
Progress::Look Progress::sum_of(const Standing& standing) {
  Look sum;
  sum.rows = standing.rows_of_ended;
  sum.part_done = standing.ended;
  for (const auto& [backend, look] : standing.looks) {
    sum.rows += look.rows;
    sum.part_done += look.part_done;
    sum.rows_per_second += look.rows_per_second;
    if (look.seconds_left)
      sum.seconds_left = std::max(sum.seconds_left.value_or(0), *look.seconds_left);
  }
  sum.part_done /= standing.shares;
  return sum;
}

void Progress::show() const {
  if (policies_.empty())
    return;
  Look all;
  for (const auto& [name, standing] : policies_) {
    const Look look = sum_of(standing);
    if (!is_bar_)
      note("progress: policy \"" + name + "\": " + percent(look.part_done) + ", " +
           numbers(look.rows, look.rows_per_second, look.seconds_left));
    all.rows += look.rows;
    all.part_done += look.part_done / static_cast<double>(policies_.size());
    all.rows_per_second += look.rows_per_second;
    if (look.seconds_left)
      all.seconds_left = std::max(all.seconds_left.value_or(0), *look.seconds_left);
  }
  if (!is_bar_)
    return;
  const auto width = static_cast<std::size_t>(std::max(status_line_width(), 20));
  const std::string name =
      policies_.size() == 1 ? one_line(policies_.begin()->first) : std::to_string(policies_.size()) + " policies";
  const std::string begin = fitting(name, width / 4) + " ";
  const std::string end = percent(all.part_done) + " " + numbers(all.rows, all.rows_per_second, all.seconds_left);
  std::string bar;
  if (constexpr std::size_t smallest = 7; begin.size() + end.size() + smallest <= width) {
    const std::size_t room = std::min<std::size_t>(width - begin.size() - end.size() - 3, 40);
    const auto filled = static_cast<std::size_t>(all.part_done * static_cast<double>(room));
    bar = "[" + std::string(filled, '#') + std::string(room - filled, '.') + "] ";
  }
  show_status_line(fitting(begin + bar + end, width));
}

} // namespace pg_retention::runner
