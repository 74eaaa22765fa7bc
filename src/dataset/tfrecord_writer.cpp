// The formats are described in source_tfrecord.cpp, the wire format in tfrecord.cpp.
#include "brigade/core/error.hpp"
#include "tfrecord.hpp"

namespace brigade::dataset {
namespace {

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

// Field `number` of type 2: a length, and as many bytes.
std::string field(std::uint64_t number, std::string_view content) {
  std::string out;
  append_varint(out, number << 3 | 2);
  append_varint(out, content.size());
  return out.append(content);
}

// One entry of Features' map: the key, and a Feature with a list of one value.
std::string feature(std::string_view key, std::uint64_t kind, std::string_view value) {
  constexpr std::uint64_t kEntry = 1, kKey = 1, kValue = 2, kListValue = 1;
  return field(kEntry, field(kKey, key) + field(kValue, field(kind, field(kListValue, value))));
}

std::string little_endian(std::uint64_t value, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += static_cast<char>(value >> 8 * i);
  return out;
}

std::string checksum(std::string_view bytes) {
  return little_endian(tfrecord_checksum(std::as_bytes(std::span(bytes))), 4);
}

}  // namespace

std::string write_example(std::span<const std::byte> image, std::int64_t label, std::string_view text) {
  constexpr std::uint64_t kFeatures = 1, kBytesList = 1, kInt64List = 3;
  std::string number;
  append_varint(number, static_cast<std::uint64_t>(label));
  const std::string_view bytes(reinterpret_cast<const char*>(image.data()), image.size());
  return field(kFeatures, feature("image/encoded", kBytesList, bytes) + feature("image/class/text", kBytesList, text) +
                              feature("image/class/label", kInt64List, number));
}

std::string tfrecord(std::string_view data) {
  const std::string length = little_endian(data.size(), 8);
  std::string out = length + checksum(length);
  return out.append(data).append(checksum(data));
}

}  // namespace brigade::dataset
