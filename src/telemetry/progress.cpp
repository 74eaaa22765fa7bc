#include "brigade/telemetry/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "brigade/core/clock.hpp"

namespace brigade::telemetry {
namespace {

constexpr double kTerminalInterval_s = 0.1, kPlainInterval_s = 10;
constexpr std::size_t kBarCells = 10, kLeastBarCells = 3;

bool is_terminal(std::FILE* out) {
  const char* term = std::getenv("TERM");
  return isatty(fileno(out)) == 1 && (term == nullptr || std::string_view(term) != "dumb");
}

std::string with_thousands(std::int64_t number) {
  std::string digits = fmt::format("{}", std::abs(number));
  for (auto at = std::ssize(digits) - 3; at > 0; at -= 3) digits.insert(static_cast<std::size_t>(at), 1, ',');
  return number < 0 ? fmt::format("-{}", digits) : digits;
}

std::string rate(double per_second) {
  return per_second < 100 ? fmt::format("{:.3g}", per_second) : with_thousands(std::llround(per_second));
}

std::string duration(double s) {
  if (s < 100) return fmt::format("{:.0f} s", s);
  const std::int64_t minutes = std::llround(std::min(s, 1e9) / 60);
  return minutes < 100 ? fmt::format("{} min", minutes) : fmt::format("{} h {} min", minutes / 60, minutes % 60);
}

// Columns of a UTF-8 text: its bytes but those that continue a character.
std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// At most `columns` columns, never half a character.
std::string cut(std::string text, std::size_t columns) {
  while (columns_of(text) > columns) text.pop_back();
  return text;
}

// One less than the terminal has, for the cursor needs a place too; and never more than 79.
std::size_t usable_columns(std::FILE* terminal) {
  winsize size{};
  if (ioctl(fileno(terminal), TIOCGWINSZ, &size) != 0 || size.ws_col < 2) return 79;
  return std::min<std::size_t>(size.ws_col - 1, 79);
}

// "[#####.....] " as wide as `columns` allow; nothing if there is too little room.
std::string bar(std::int64_t done, std::int64_t total, std::size_t columns) {
  constexpr std::size_t kFrame = 3;  // brackets and a blank
  if (total <= 0 || columns < kLeastBarCells + kFrame) return "";
  const std::size_t cells = std::min(kBarCells, columns - kFrame);
  const double part = std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0);
  const auto full = static_cast<std::size_t>(part * static_cast<double>(cells));
  return fmt::format("[{}{}] ", std::string(full, '#'), std::string(cells - full, '.'));
}

}  // namespace

ProgressLine::ProgressLine(std::string title, std::string unit, std::int64_t total, std::FILE* out)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      total_(total),
      out_(out),
      terminal_(out != nullptr && is_terminal(out)),
      start_s_(now_s()),
      drawn_s_(terminal_ ? 0 : start_s_) {}

ProgressLine::~ProgressLine() {
  if (open_) std::fputc('\n', out_);  // left by an error: its message gets a line of its own
}

void ProgressLine::update(std::int64_t done, std::string_view note) {
  if (out_ == nullptr) return;
  done_ = done;
  const double now = now_s();
  if (now - drawn_s_ < (terminal_ ? kTerminalInterval_s : kPlainInterval_s)) return;
  drawn_s_ = now;
  draw(done, note, false);
}

void ProgressLine::finish(std::string_view note) {
  if (out_ == nullptr) return;
  draw(done_, note, true);
  out_ = nullptr;
  open_ = false;
}

void ProgressLine::draw(std::int64_t done, std::string_view note, bool last) {
  const double elapsed_s = now_s() - start_s_;
  const double per_second = elapsed_s > 0 ? static_cast<double>(done) / elapsed_s : 0;

  std::string counts = with_thousands(done);
  if (total_ > 0) counts += fmt::format("/{}", with_thousands(total_));
  counts += fmt::format(" {}, {} {}/s", unit_, rate(per_second), unit_);
  if (last)
    counts += elapsed_s < 10 ? fmt::format(", {:.1f} s", elapsed_s) : fmt::format(", {}", duration(elapsed_s));
  else if (total_ > done && per_second > 0)
    counts += fmt::format(", {} left", duration(static_cast<double>(total_ - done) / per_second));
  if (!note.empty()) counts += fmt::format(", {}", note);

  if (!terminal_) {
    fmt::print(out_, "{}: {}\n", title_, counts);
  } else {
    const std::size_t columns = usable_columns(out_);
    const std::size_t used = columns_of(title_) + 1 + columns_of(counts);
    const std::string line =
        fmt::format("{} {}{}", title_, bar(done, total_, columns - std::min(columns, used)), counts);
    fmt::print(out_, "\r{}\x1b[K{}", cut(line, columns), last ? "\n" : "");  // [K: clears what a longer line left
  }
  std::fflush(out_);
  open_ = terminal_ && !last;
}

}  // namespace brigade::telemetry
