// The formats: numpy.lib.format (NEP 1) for .npy, PKWARE's APPNOTE for zip, which minizip reads. Sizes are distrusted:
// the data of an array must be as long as its shape says, and deflate expands at most 1032 times.
#include "npz_file.hpp"

#include <unzip.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>
#include <mutex>

#include "spool.hpp"

namespace brigade::dataset {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kLargestExpansion = 1032;
constexpr std::size_t kMostHeaderBytes = 1 << 16;
constexpr std::size_t kPieceBytes = 1 << 20;

// The text after 'key': in the header's dictionary.
std::string_view value_of(std::string_view dictionary, std::string_view key) {
  const auto place = dictionary.find(fmt::format("'{}':", key));
  require(place != std::string_view::npos, "its header has no '{}'", key);
  auto value = dictionary.substr(place + key.size() + 3);
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  return value;
}

std::vector<std::uint64_t> parse_shape(std::string_view text) {
  require(text.starts_with('(') && text.find(')') != std::string_view::npos, "its header has a damaged shape");
  text = text.substr(1, text.find(')') - 1);
  std::vector<std::uint64_t> shape;
  while (!text.empty()) {
    const auto begin = text.find_first_not_of(" ,");
    if (begin == std::string_view::npos) break;
    text.remove_prefix(begin);
    std::uint64_t extent = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), extent);
    require(error == std::errc{} && extent <= std::uint64_t{1} << 40 && shape.size() < 8,
            "its header has a damaged shape");
    shape.push_back(extent);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  }
  return shape;
}

// A zip archive positioned on one member.
class ZipMember {
 public:
  ZipMember(const fs::path& archive, const std::string& name)
      : where_(fmt::format("{}: {}", archive.string(), name)), zip_(unzOpen64(archive.c_str())) {
    require(zip_ != nullptr, "{} is no zip archive, or truncated (its directory is missing). Copy it again?",
            archive.string());
    found_ = unzLocateFile(zip_.get(), name.c_str(), 1) == UNZ_OK;
    if (!found_) return;
    unz_file_info64 info{};
    check(unzGetCurrentFileInfo64(zip_.get(), &info, nullptr, 0, nullptr, 0, nullptr, 0), "cannot be found");
    require(info.compression_method == 0 || info.compression_method == Z_DEFLATED,
            "{} is compressed by method {} (expected stored or deflated)", where_, info.compression_method);
    require((info.flag & 1) == 0, "{} is encrypted", where_);
    stored_ = info.compression_method == 0;
    bytes_ = info.uncompressed_size;
    const std::uint64_t archive_bytes = fs::file_size(archive);
    require(info.compressed_size <= archive_bytes && bytes_ / kLargestExpansion <= info.compressed_size &&
                (!stored_ || bytes_ == info.compressed_size),
            "{} does not hold the {} bytes it claims (the archive has {}). Copy it again?", where_, bytes_,
            archive_bytes);
    check(unzOpenCurrentFile(zip_.get()), "cannot be opened");
  }

  bool found() const { return found_; }
  bool stored() const { return stored_; }
  std::uint64_t bytes() const { return bytes_; }
  const std::string& where() const { return where_; }
  // Of the content in the archive, before anything was read.
  std::uint64_t offset() const { return unzGetCurrentFileZStreamPos64(zip_.get()); }

  // The next bytes, as many as are left and fit.
  std::size_t read(std::span<std::byte> bytes) {
    std::size_t got = 0;
    while (got < bytes.size()) {
      const auto piece = static_cast<unsigned>(std::min(bytes.size() - got, kPieceBytes));
      const int count = unzReadCurrentFile(zip_.get(), bytes.data() + got, piece);
      check(std::min(count, 0), "is truncated or damaged");
      if (count == 0) break;
      got += static_cast<std::size_t>(count);
    }
    return got;
  }
  // Call when everything was read.
  void check_checksum() { check(unzCloseCurrentFile(zip_.get()), "is damaged"); }

 private:
  void check(int result, const char* problem) const {
    require<SourceError>(result == UNZ_OK, "{} {} ({}). Copy it again?", where_, problem,
                         result == UNZ_CRCERROR ? "its bytes do not match its CRC-32" : fmt::format("zip {}", result));
  }

  struct Close {
    void operator()(unzFile zip) const {
      unzCloseCurrentFile(zip);
      unzClose(zip);
    }
  };

  std::string where_;
  std::unique_ptr<void, Close> zip_;
  bool found_ = false, stored_ = false;
  std::uint64_t bytes_ = 0;
};

class ZippedArray final : public NpzArray {
 public:
  ZippedArray(const fs::path& archive, std::string name, ZipMember& member)
      : name_(std::move(name)), stored_(member.stored()), file_(archive), offset_(member.offset()) {
    std::vector<std::byte> beginning(std::min<std::uint64_t>(kMostHeaderBytes, member.bytes()));
    beginning.resize(member.read(beginning));
    try {
      header_ = parse_npy(beginning);
    } catch (const DataError& error) {
      throw DataError(fmt::format("{} is no array ({})", member.where(), error.what()));
    }
    require(header_.data_bytes() == member.bytes() - header_.bytes,
            "{} has {} bytes (its shape asks for {}). Copy it again?", member.where(), member.bytes() - header_.bytes,
            header_.data_bytes());
  }

  void read(std::uint64_t index, std::vector<std::byte>& bytes) const override {
    std::call_once(loaded_, [&] { load(); });
    const std::uint64_t size = header_.item_bytes();
    bytes.resize(size);
    if (stored_)
      file_.read(offset_ + header_.bytes + index * size, bytes);
    else
      unpacked_->read(index * size, std::span(bytes));
  }

 private:
  void load() const {
    ZipMember member(file_.path(), name_);
    std::vector<std::byte> header(header_.bytes), piece(stored_ ? kPieceBytes : 0);
    member.read(header);
    if (stored_) {
      while (member.read(piece) == piece.size()) {
      }
    } else {
      unpacked_ = unpacked(header_.data_bytes(), [&](std::span<std::uint8_t> next) {
        require<SourceError>(member.read(std::as_writable_bytes(next)) == next.size(),
                             "{} is truncated. Copy it again?", member.where());
      });
    }
    member.check_checksum();
  }

  std::string name_;
  bool stored_;
  InputFile file_;
  std::uint64_t offset_;
  mutable std::once_flag loaded_;
  mutable std::unique_ptr<Spool> unpacked_;  // unless stored
};

}  // namespace

NpyHeader parse_npy(std::span<const std::byte> beginning) {
  const std::string_view text(reinterpret_cast<const char*>(beginning.data()), beginning.size());
  constexpr std::string_view kMagic = "\x93NUMPY";
  require(text.starts_with(kMagic) && text.size() >= 12, "it does not begin as a .npy file does");
  const auto byte = [&](std::size_t i) { return std::to_integer<std::size_t>(beginning[i]); };
  const bool wide = byte(6) >= 2;  // of format 2 and 3 the header's length has four bytes
  const std::size_t prefix = wide ? 12 : 10;
  std::size_t length = byte(8) | byte(9) << 8;
  if (wide) length |= byte(10) << 16 | byte(11) << 24;
  require(byte(6) >= 1 && byte(6) <= 3 && length <= text.size() - prefix, "its header is truncated or too long");
  const auto dictionary = text.substr(prefix, length);
  NpyHeader header;
  const auto type = value_of(dictionary, "descr");
  require(type.starts_with('\'') && type.find('\'', 1) != std::string_view::npos, "its numbers are structures");
  header.type = type.substr(1, type.find('\'', 1) - 1);
  require(header.type.size() == 3 && std::isdigit(static_cast<unsigned char>(header.type[2])) != 0,
          "its numbers are of type '{}'", header.type);
  require(value_of(dictionary, "fortran_order").starts_with("False"), "it is in Fortran's order (expected C's)");
  header.shape = parse_shape(value_of(dictionary, "shape"));
  require(!header.shape.empty(), "it is a single number");
  header.bytes = prefix + length;
  return header;
}

std::uint64_t NpyHeader::item_bytes() const {
  auto size = static_cast<std::uint64_t>(type[2] - '0');
  for (std::size_t axis = 1; axis < shape.size(); ++axis) {
    require(shape[axis] == 0 || size <= kLargestFile / shape[axis], "an array claims items of more than {} bytes",
            kLargestFile);
    size *= shape[axis];
  }
  return size;
}

std::uint64_t NpyHeader::data_bytes() const { return item_bytes() * shape[0]; }

std::shared_ptr<const NpzArray> NpzArray::open(const fs::path& archive, const std::string& name) {
  const std::string member_name = name + ".npy";
  ZipMember member(archive, member_name);
  if (!member.found()) return nullptr;
  return std::make_shared<ZippedArray>(archive, member_name, member);
}

}  // namespace brigade::dataset
