// TFRecord framing and the few fields of tf.Example that an image classifier needs (formats in source_tfrecord.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace brigade::dataset {

inline constexpr std::size_t kTfrecordFooter = 4;

std::uint32_t little_endian_32(std::span<const std::byte> bytes);
// The masked CRC-32C.
std::uint32_t tfrecord_checksum(std::span<const std::byte> bytes);

// Calls `visit` with place and data of each record. The lengths' checksums are compared here, those of the data are
// not. Throws DataError, naming the file, if the framing is damaged or the last record is cut.
void for_each_record(std::span<const std::byte> file, const std::string& name,
                     const std::function<void(std::uint64_t offset, std::span<const std::byte> data)>& visit);

struct TfExample {
  std::span<const std::byte> image;  // within the record
  std::optional<std::int64_t> label;
  std::optional<std::string_view> text;
};

// Throws DataError, naming `where`, if the record is no Example, or has no image, or neither label nor text.
TfExample read_example(std::span<const std::byte> record, const std::string& where);

// The other way: an Example of an image file, its label and the name of its class, and a record around such data.
// tfrecord_writer.cpp.
std::string write_example(std::span<const std::byte> image, std::int64_t label, std::string_view text);
std::string tfrecord(std::string_view data);

}  // namespace brigade::dataset
