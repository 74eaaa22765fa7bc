// Protocol buffers' wire format (https://protobuf.dev/programming-guides/encoding): a message is a row of fields, a
// field is a varint (number << 3 | type) and then a varint (type 0), 8 bytes (1), a varint length and as many bytes
// (2), or 4 bytes (5). That is all that is needed to find three features.
#include "tfrecord.hpp"

#include <bit>

#include "brigade/core/checksum.hpp"
#include "brigade/core/error.hpp"

namespace brigade::dataset {
namespace {

constexpr std::size_t kHeader = 12;  // length and its checksum

std::uint64_t little_endian(std::span<const std::byte> bytes, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = count; i-- > 0;) value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  return value;
}

struct Field {
  std::uint64_t number = 0;
  std::uint64_t value = 0;             // types 0, 1 and 5
  std::span<const std::byte> content;  // type 2
};

// The fields of a message, one after another.
class Message {
 public:
  explicit Message(std::span<const std::byte> bytes) : rest_(bytes) {}

  std::optional<Field> next() {
    if (rest_.empty()) return std::nullopt;
    const std::uint64_t key = varint();
    Field field{.number = key >> 3, .value = 0, .content = {}};
    switch (key & 7) {
      case 0: field.value = varint(); break;
      case 1: field.value = little_endian(take(8), 8); break;
      case 2: field.content = take(varint()); break;
      case 5: field.value = little_endian(take(4), 4); break;
      default: throw DataError("unknown type of a field");
    }
    return field;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = std::to_integer<std::uint64_t>(take(1)[0]);
      value |= (byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    throw DataError("a number of more than 64 bits");
  }

 private:
  std::span<const std::byte> take(std::uint64_t count) {
    require(count <= rest_.size(), "a field of {} bytes where {} are left", count, rest_.size());
    const auto taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }

  std::span<const std::byte> rest_;
};

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The first value of a Feature: bytes, or a whole number.
struct Value {
  std::optional<std::span<const std::byte>> bytes;
  std::optional<std::int64_t> number;
};

Value first_value(std::span<const std::byte> feature) {
  constexpr std::uint64_t kBytesList = 1, kInt64List = 3, kValue = 1;
  Value value;
  Message message(feature);
  while (const auto list = message.next()) {
    Message values(list->content);
    const auto first = list->number == kBytesList || list->number == kInt64List ? values.next() : std::nullopt;
    if (!first || first->number != kValue) continue;
    if (list->number == kBytesList) value.bytes = first->content;
    if (list->number == kInt64List)  // packed, or one by one
      value.number =
          static_cast<std::int64_t>(first->content.empty() ? first->value : Message(first->content).varint());
  }
  return value;
}

void read_feature(std::span<const std::byte> entry, TfExample& example) {
  constexpr std::uint64_t kKey = 1, kValue = 2;
  std::string_view key;
  std::span<const std::byte> feature;
  Message message(entry);
  while (const auto field = message.next()) {
    if (field->number == kKey) key = as_text(field->content);
    if (field->number == kValue) feature = field->content;
  }
  const bool image = key == "image/encoded" || key == "image";
  const bool label = key == "image/class/label" || key == "label";
  const bool text = key == "image/class/text";
  if (!image && !label && !text) return;
  const Value value = first_value(feature);
  if (image && value.bytes) example.image = *value.bytes;
  if (label) example.label = value.number;
  if ((text || (label && !value.number)) && value.bytes) example.text = as_text(*value.bytes);
}

}  // namespace

std::uint32_t little_endian_32(std::span<const std::byte> bytes) {
  return static_cast<std::uint32_t>(little_endian(bytes, 4));
}

std::uint32_t tfrecord_checksum(std::span<const std::byte> bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8U; }

void for_each_record(std::span<const std::byte> file, const std::string& name,
                     const std::function<void(std::uint64_t, std::span<const std::byte>)>& visit) {
  std::uint64_t number = 0;
  for (std::uint64_t at = 0; at < file.size(); ++number) {
    const auto rest = file.subspan(at);
    require(rest.size() >= kHeader, "{} is truncated in record {} (at byte {})", name, number, at);
    const std::uint64_t length = little_endian(rest, 8);
    require(tfrecord_checksum(rest.first(8)) == little_endian_32(rest.subspan(8)),
            "{} is damaged at record {}, byte {} (the length does not match its CRC-32C). Is it a TFRecord file, and "
            "not compressed?",
            name, number, at);
    require(length <= rest.size() && rest.size() - length >= kHeader + kTfrecordFooter,
            "{} is truncated in record {} (it claims {} bytes from {}, the file has {}). Copy it again?", name, number,
            length, at + kHeader, file.size());
    visit(at + kHeader, rest.subspan(kHeader, length));
    at += kHeader + length + kTfrecordFooter;
  }
}

TfExample read_example(std::span<const std::byte> record, const std::string& where) {
  constexpr std::uint64_t kFeatures = 1, kFeature = 1;
  TfExample example;
  try {
    Message message(record);
    while (const auto features = message.next()) {
      if (features->number != kFeatures) continue;
      Message map(features->content);
      while (const auto entry = map.next())
        if (entry->number == kFeature) read_feature(entry->content, example);
    }
  } catch (const DataError& error) {
    throw DataError(fmt::format("{} is no tf.Example ({})", where, error.what()));
  }
  require(!example.image.empty(), "{} has no image (features looked for: image/encoded, image)", where);
  require(example.label || example.text, "{} has no label (features looked for: image/class/label, label)", where);
  return example;
}

}  // namespace brigade::dataset
