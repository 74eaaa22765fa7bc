#include "brigade/telemetry/progress.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <sstream>
#include <thread>

namespace brigade::telemetry {
namespace {

using testing::MatchesRegex;

// The text that `use` draws on something that is no terminal.
template <class Use>
std::string drawn_on_file(Use&& use) {
  std::FILE* file = std::tmpfile();
  use(file);
  std::string text(static_cast<std::size_t>(std::ftell(file)), '\0');
  std::rewind(file);
  EXPECT_EQ(std::fread(text.data(), 1, text.size(), file), text.size());
  std::fclose(file);
  return text;
}

// The text that `use` draws on a (pseudo) terminal.
template <class Use>
std::string drawn_on_terminal(Use&& use) {
  setenv("TERM", "xterm", 1);
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  EXPECT_EQ(grantpt(master) | unlockpt(master), 0);
  std::FILE* terminal = std::fopen(ptsname(master), "w");
  if (terminal == nullptr) return "no terminal";
  use(terminal);
  std::fflush(terminal);
  std::string text;  // comes in pieces; every line ends in the end
  pollfd readable{.fd = master, .events = POLLIN, .revents = 0};
  while (!text.ends_with('\n') && poll(&readable, 1, 2000) == 1) {
    char piece[4096];
    const auto bytes = read(master, piece, sizeof piece);
    if (bytes <= 0) break;
    text.append(piece, static_cast<std::size_t>(bytes));
  }
  std::fclose(terminal);
  close(master);
  return text;
}

TEST(ProgressLine, OnAPipeIsALineAtTheEnd) {
  const std::string text = drawn_on_file([](std::FILE* file) {
    ProgressLine line("epoch 1/3", "images", 60000, file);
    for (int done = 0; done <= 60000; done += 1000) line.update(done, "loss 0.41");  // sooner than 10 s: silent
    line.finish("loss 0.41");
    line.finish("again");
    line.update(1);
  });
  EXPECT_THAT(text, MatchesRegex("epoch 1/3: 60,000/60,000 images, [0-9,]+ images/s, 0\\.[0-9] s, loss 0\\.41\n"));
}

TEST(ProgressLine, OnATerminalIsRedrawnInPlace) {
  const std::string text = drawn_on_terminal([](std::FILE* terminal) {
    ProgressLine line("epoch 1/3", "images", 600, terminal);
    std::this_thread::sleep_for(std::chrono::milliseconds(120));
    line.update(312, "loss 0.41");
    line.update(360, "loss 0.40");  // within a tenth of a second: not drawn
    line.finish("loss 0.39");
  });
  EXPECT_THAT(text, MatchesRegex("\r"
                                 "epoch 1/3 \\[#####\\.\\.\\.\\.\\.\\] 312/600 images, [0-9,]+ images/s, "
                                 "0 s left, loss 0\\.41.\\[K\r"
                                 "epoch 1/3 \\[######\\.\\.\\.\\.\\] 360/600 images, [0-9,]+ images/s, "
                                 "0\\.[0-9] s, loss 0\\.39.\\[K\r?\n"));
}

TEST(ProgressLine, NeverWrapsAnEightyColumnTerminal) {
  const std::string text = drawn_on_terminal([](std::FILE* terminal) {
    ProgressLine line("a title of some length (1/3)", "microscope images", 1'281'167, terminal);
    line.update(1'000'000, "loss 0.41, accuracy 0.87, and \u00B5\u00B5\u00B5\u00B5\u00B5\u00B5\u00B5\u00B5\u00B5");
    line.finish("loss 0.41, and much more to say about it");
  });
  std::istringstream lines(text);
  int drawn = 0;
  for (std::string line; std::getline(lines, line, '\r');) {
    line.resize(std::min(line.size(), line.find('\x1b')));
    EXPECT_LE(std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; }), 79) << line;
    EXPECT_EQ(line.find('#'), line.npos) << "the bar goes first: " << line;
    drawn += line.starts_with("a title");
  }
  EXPECT_EQ(drawn, 2);
}

TEST(ProgressLine, LeftByAnErrorEndsItsLine) {
  const std::string text =
      drawn_on_terminal([](std::FILE* terminal) { ProgressLine("x", "images", 10, terminal).update(5); });
  EXPECT_EQ(text.back(), '\n');
}

TEST(ProgressLine, WithoutATotalCounts) {
  const std::string text = drawn_on_file([](std::FILE* file) {
    ProgressLine line("ingest", "images", 0, file);
    line.update(1234567);
    line.finish();
  });
  EXPECT_THAT(text, MatchesRegex("ingest: 1,234,567 images, [0-9,]+ images/s, 0\\.[0-9] s\n"));
}

TEST(ProgressLine, OfOtherRanksIsSilent) {
  ProgressLine line;
  line.update(1, "note");
  line.finish();
}

}  // namespace
}  // namespace brigade::telemetry
