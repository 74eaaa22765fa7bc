// tar (POSIX.1-2017, pax "ustar interchange format", and GNU's long names): blocks of 512 bytes. A member is a header
// block and its content, padded to whole blocks; two blocks of zeros end the archive. Without them it is taken for
// truncated: nothing else tells a whole archive from one cut between two members.
#include "tar_file.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace brigade::dataset {
namespace {

constexpr std::uint64_t kBlock = 512;
constexpr std::uint64_t kMostExtraBytes = 1 << 20;  // of a pax header or a long name

using Header = std::array<std::byte, kBlock>;

struct Field {
  std::size_t offset, bytes;
};
constexpr Field kName{0, 100}, kSize{124, 12}, kChecksum{148, 8}, kType{156, 1}, kMagic{257, 5}, kPrefix{345, 155};

std::string_view text(const Header& header, Field field) {
  const std::string_view all(reinterpret_cast<const char*>(header.data()) + field.offset, field.bytes);
  return all.substr(0, all.find('\0'));
}

// Octal digits between blanks; or, if the first bit is set, a big-endian binary number (GNU, for 8 GiB and more).
std::uint64_t number(const Header& header, Field field, const std::string& where) {
  const std::span bytes(header.data() + field.offset, field.bytes);
  std::uint64_t value = 0;
  if (std::to_integer<int>(bytes[0]) == 0x80) {
    for (const std::byte byte : bytes.last(8)) value = value << 8 | std::to_integer<std::uint64_t>(byte);
    return value;
  }
  auto digits = text(header, field);
  digits.remove_prefix(std::min(digits.find_first_not_of(' '), digits.size()));
  digits = digits.substr(0, digits.find(' '));
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
  require(error == std::errc{} && end == digits.data() + digits.size(), "{} has a damaged header (\"{}\" is no number)",
          where, digits);
  return value;
}

// The sum of all bytes of the header, those of the sum itself counted as blanks.
std::uint64_t checksum_of(const Header& header) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < header.size(); ++i)
    sum += i - kChecksum.offset < kChecksum.bytes ? std::uint64_t{' '} : std::to_integer<std::uint64_t>(header[i]);
  return sum;
}

// What pax records ("27 path=a/long/name\n") or GNU's "L" say of the next member.
struct Extra {
  std::string name;
  std::string size;
};

void read_pax(std::string_view records, Extra& extra, const std::string& where) {
  while (!records.empty()) {
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(records.data(), records.data() + records.size(), length);
    const auto blank = static_cast<std::size_t>(end - records.data());
    require(error == std::errc{} && length > blank + 1 && length <= records.size() && records[blank] == ' ',
            "{} has a damaged pax header", where);
    const auto record = records.substr(blank + 1, length - blank - 2);
    const auto equals = record.find('=');
    if (record.substr(0, equals) == "path") extra.name = record.substr(equals + 1);
    if (record.substr(0, equals) == "size") extra.size = record.substr(equals + 1);
    records.remove_prefix(length);
  }
}

std::string name_of(const Header& header, const Extra& extra) {
  if (!extra.name.empty()) return extra.name;
  std::string name(text(header, kName));
  const bool ustar = text(header, kMagic) == "ustar" && std::to_integer<char>(header[262]) == '\0';
  if (ustar && !text(header, kPrefix).empty()) name = fmt::format("{}/{}", text(header, kPrefix), name);
  return name;
}

}  // namespace

void for_each_member(const InputFile& archive, const std::function<void(const TarMember&)>& visit) {
  Extra extra;
  for (std::uint64_t at = 0;;) {
    const auto where = fmt::format("{} (at byte {})", archive.path().string(), at);
    require(archive.size() >= at + kBlock, "{} ends before its end mark (truncated?). Copy it again?", where);
    Header header;
    archive.read(at, header);
    if (std::all_of(header.begin(), header.end(), [](std::byte byte) { return byte == std::byte{0}; })) return;
    require(checksum_of(header) == number(header, kChecksum, where),
            "{} is no tar header (its checksum is wrong). Is the archive damaged, or compressed? Then unpack it first?",
            where);
    std::uint64_t bytes = number(header, kSize, where);
    if (!extra.size.empty()) {
      const auto [end, error] = std::from_chars(extra.size.data(), extra.size.data() + extra.size.size(), bytes);
      require(error == std::errc{}, "{} has a damaged pax size", where);
    }
    const std::uint64_t content = at + kBlock, left = archive.size() - content;
    require(bytes <= left, "{} claims {} bytes (the archive has {} left; truncated?). Copy it again?", where, bytes,
            left);
    const char type = std::to_integer<char>(header[kType.offset]);
    if (type == 'x' || type == 'L') {
      require(bytes <= kMostExtraBytes, "{} claims a header of {} bytes (damaged?)", where, bytes);
      std::string records(bytes, '\0');
      archive.read(content, std::as_writable_bytes(std::span(records)));
      if (type == 'x')
        read_pax(records, extra, where);
      else
        extra.name = records.substr(0, records.find('\0'));
    } else {
      if (type == '0' || type == '\0') visit({.name = name_of(header, extra), .offset = content, .bytes = bytes});
      extra = {};
    }
    at = content + (bytes + kBlock - 1) / kBlock * kBlock;
  }
}

}  // namespace brigade::dataset
