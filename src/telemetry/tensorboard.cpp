// TFRecord framing: each record is
//
//     uint64 length | uint32 masked CRC-32C of the length | bytes | uint32 masked CRC-32C of the bytes
//
// in little-endian order. The mask (a rotation and a constant) keeps a checksum over data that contains
// checksums from degenerating; it is TensorFlow's (core/lib/hash/crc32c.h).
#include "brigade/telemetry/tensorboard.hpp"

#include <unistd.h>

#include <array>
#include <bit>
#include <span>

#include "brigade/core/checksum.hpp"
#include "brigade/core/clock.hpp"
#include "brigade/core/error.hpp"
#include "brigade/core/host_name.hpp"
#include "event.pb.h"

namespace brigade::telemetry {
namespace {

static_assert(std::endian::native == std::endian::little, "records are written as they lie in memory");

std::uint32_t masked_crc(std::span<const std::byte> bytes) { return std::rotr(crc32c(bytes), 15) + 0xA282EAD8U; }

template <class T>
void write_raw(std::ofstream& out, const T& value) {
  out.write(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& directory) {
  std::filesystem::create_directories(directory);
  const auto path = directory / fmt::format("events.out.tfevents.{:010}.{}.{}",
                                            static_cast<std::int64_t>(wall_clock_s()), host_name(), getpid());
  out_.open(path, std::ios::binary | std::ios::trunc);
  require(out_.good(), "cannot create {}. Is there space, and may I write there?", path.string());

  Event version;
  version.set_wall_time(wall_clock_s());
  version.set_file_version("brain.Event:2");
  record(version.SerializeAsString());
  flush();
}

void TensorBoardWriter::scalar(const std::string& tag, std::int64_t step, double value) {
  if (!out_.is_open()) return;
  Event event;
  event.set_wall_time(wall_clock_s());
  event.set_step(step);
  Summary::Value& entry = *event.mutable_summary()->add_value();
  entry.set_tag(tag);
  entry.set_simple_value(static_cast<float>(value));
  record(event.SerializeAsString());
}

void TensorBoardWriter::flush() {
  if (out_.is_open()) out_.flush();
}

void TensorBoardWriter::record(const std::string& event) {
  const std::uint64_t bytes = event.size();
  write_raw(out_, bytes);
  write_raw(out_, masked_crc(std::as_bytes(std::span(&bytes, 1))));
  out_.write(event.data(), static_cast<std::streamsize>(event.size()));
  write_raw(out_, masked_crc(std::as_bytes(std::span(event))));
  require(out_.good(), "cannot write TensorBoard events. Is the disk full?");
}

}  // namespace brigade::telemetry
