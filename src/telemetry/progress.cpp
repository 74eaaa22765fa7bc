#include "brigade/telemetry/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "brigade/core/clock.hpp"

namespace brigade::telemetry {
namespace {

constexpr double kTerminalInterval_s = 0.1, kPlainInterval_s = 10;
constexpr std::size_t kColumns = 79;  // one less than a narrow terminal, whose cursor needs a place too
constexpr int kBarCells = 10;

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
  if (s < 10) return fmt::format("{:.1f} s", s);
  if (s < 100) return fmt::format("{:.0f} s", s);
  const std::int64_t minutes = std::llround(std::min(s, 1e9) / 60);
  return minutes < 100 ? fmt::format("{} min", minutes) : fmt::format("{} h {} min", minutes / 60, minutes % 60);
}

// At most `columns` columns, never half a UTF-8 character.
std::string cut(std::string line, std::size_t columns) {
  const auto begins_character = [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; };
  std::size_t at = 0;
  for (; at < line.size(); ++at)
    if (begins_character(line[at]) && columns-- == 0) break;
  line.resize(at);
  return line;
}

std::size_t columns_of(std::string_view line) {
  return static_cast<std::size_t>(
      std::count_if(line.begin(), line.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace

ProgressLine::ProgressLine(std::string title, std::string unit, std::int64_t total, std::FILE* out)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      total_(total),
      out_(out),
      terminal_(is_terminal(out)),
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
    counts += fmt::format(", {}", duration(elapsed_s));
  else if (total_ > done && per_second > 0)
    counts += fmt::format(", {} left", duration(static_cast<double>(total_ - done) / per_second));
  if (!note.empty()) counts += fmt::format(", {}", note);

  std::string line = fmt::format("{}: {}", title_, counts);
  if (terminal_ && total_ > 0) {
    const auto full = static_cast<std::size_t>(std::clamp<std::int64_t>(kBarCells * done / total_, 0, kBarCells));
    const std::string barred =
        fmt::format("{} [{}{}] {}", title_, std::string(full, '#'), std::string(kBarCells - full, '.'), counts);
    if (columns_of(barred) <= kColumns) line = barred;
  }
  line = cut(std::move(line), kColumns);

  if (terminal_)
    fmt::print(out_, "\r{}\x1b[K{}", line, last ? "\n" : "");  // [K: clears what a longer line left behind
  else
    fmt::print(out_, "{}\n", line);
  std::fflush(out_);
  open_ = terminal_ && !last;
}

}  // namespace brigade::telemetry
