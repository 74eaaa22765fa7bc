// Event files are read back by a parser of their own: the framing, and protobuf's wire format by hand.
#include "brigade/telemetry/tensorboard.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "brigade/core/atomic_file.hpp"
#include "brigade/core/clock.hpp"
#include "scratch.hpp"

namespace brigade::telemetry {
namespace {

using TensorBoard = Scratch;

// CRC-32C bit by bit.
std::uint32_t naive_masked_crc(std::string_view bytes) {
  std::uint32_t crc = ~0U;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) ? 0x82F63B78U : 0U);
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8U;
}

template <class T>
T take(std::string_view& bytes) {
  T value{};
  if (bytes.size() < sizeof value) throw std::runtime_error("too short");
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes.remove_prefix(sizeof value);
  return value;
}

std::uint64_t take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = take<std::uint8_t>(bytes);
    value |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return value;
  }
}

std::string_view take_bytes(std::string_view& bytes) {
  const auto count = take_varint(bytes);
  const auto result = bytes.substr(0, count);
  bytes.remove_prefix(count);
  return result;
}

struct ParsedEvent {
  double wall_time = 0;
  std::int64_t step = 0;
  std::string file_version, tag;
  std::optional<float> simple_value;
};

void parse_value(std::string_view value, ParsedEvent& event) {
  while (!value.empty()) switch (take_varint(value)) {
      case 1 << 3 | 2: event.tag = take_bytes(value); break;
      case 2 << 3 | 5: event.simple_value = take<float>(value); break;
      default: throw std::runtime_error("unexpected field of Value");
    }
}

ParsedEvent parse_event(std::string_view bytes) {
  ParsedEvent event;
  while (!bytes.empty()) switch (take_varint(bytes)) {
      case 1 << 3 | 1: event.wall_time = take<double>(bytes); break;
      case 2 << 3 | 0: event.step = static_cast<std::int64_t>(take_varint(bytes)); break;
      case 3 << 3 | 2: event.file_version = take_bytes(bytes); break;
      case 5 << 3 | 2: {
        auto summary = take_bytes(bytes);
        if (take_varint(summary) != (1 << 3 | 2)) throw std::runtime_error("unexpected field of Summary");
        parse_value(take_bytes(summary), event);
        break;
      }
      default: throw std::runtime_error("unexpected field of Event");
    }
  return event;
}

std::vector<ParsedEvent> read_events(const std::filesystem::path& directory) {
  const auto path = std::filesystem::directory_iterator(directory)->path();
  EXPECT_TRUE(path.filename().string().starts_with("events.out.tfevents.")) << path;
  const std::string file = read_file(path);
  std::vector<ParsedEvent> events;
  for (std::string_view rest = file; !rest.empty();) {
    const auto length_bytes = rest.substr(0, 8);
    const auto length = take<std::uint64_t>(rest);
    EXPECT_EQ(take<std::uint32_t>(rest), naive_masked_crc(length_bytes));
    const auto event = rest.substr(0, length);
    rest.remove_prefix(length);
    EXPECT_EQ(take<std::uint32_t>(rest), naive_masked_crc(event));
    events.push_back(parse_event(event));
  }
  return events;
}

TEST_F(TensorBoard, FilesBeginWithTheirVersionAndHoldEveryScalar) {
  const double before_s = wall_clock_s();
  {
    TensorBoardWriter writer(directory);
    writer.scalar("train/loss", 0, 2.5);
    writer.scalar("train/loss", 1000, 0.0);  // zero is a value, not an absence
    writer.scalar("val/accuracy", std::int64_t{1} << 40, 0.1);
  }
  const auto events = read_events(directory);
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events[0].file_version, "brain.Event:2");
  EXPECT_FALSE(events[0].simple_value);
  struct Case {
    std::string tag;
    std::int64_t step;
    float value;
  };
  const Case expected[] = {
      {"train/loss", 0, 2.5F}, {"train/loss", 1000, 0}, {"val/accuracy", std::int64_t{1} << 40, 0.1F}};
  for (std::size_t i = 0; i < 3; ++i) {
    const ParsedEvent& event = events[i + 1];
    EXPECT_EQ(event.tag, expected[i].tag);
    EXPECT_EQ(event.step, expected[i].step);
    EXPECT_EQ(event.simple_value, expected[i].value);
    EXPECT_GE(event.wall_time, before_s);
    EXPECT_LE(event.wall_time, wall_clock_s());
  }
}

TEST_F(TensorBoard, FlushedEventsCanBeReadWhileTheRunGoesOn) {
  TensorBoardWriter writer(directory);
  writer.scalar("loss", 1, 1);
  writer.flush();
  EXPECT_EQ(read_events(directory).size(), 2U);
}

TEST(TensorBoardWriter, OfNothingWritesNothing) {
  TensorBoardWriter writer;
  writer.scalar("loss", 1, 1);
  writer.flush();
}

}  // namespace
}  // namespace brigade::telemetry
