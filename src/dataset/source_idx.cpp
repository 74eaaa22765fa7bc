// IDX, the format of MNIST and its relatives (http://yann.lecun.com/exdb/mnist): big-endian magic 0x00 0x00 type
// rank, one 32-bit extent per dimension, then the numbers; gzip or plain. The header is distrusted: a plain file must
// be exactly as long as it says, and a gzip file must be able to hold as much (deflate expands at most 1032 times).
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <span>

#include "source_support.hpp"
#include "spool.hpp"

namespace brigade::dataset {
namespace {

namespace fs = std::filesystem;

constexpr std::array kFashion{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                              "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
constexpr std::uint64_t kLargestExpansion = 1032;
constexpr std::uint64_t kLargestSide = 1 << 16;
constexpr std::uint8_t kUnsignedBytes = 0x08;

// A gzip or plain file (zlib reads both), read from front to back.
class GzipFile {
 public:
  explicit GzipFile(const fs::path& path) : path_(path.string()), file_(gzopen(path_.c_str(), "rb")) {
    require<SourceError>(file_ != nullptr, "cannot open {} ({})", path_, std::strerror(errno));
    gzbuffer(file_, 1 << 18);
  }
  ~GzipFile() { gzclose(file_); }
  GzipFile(const GzipFile&) = delete;
  GzipFile& operator=(const GzipFile&) = delete;

  void read(std::span<std::uint8_t> bytes) {
    while (!bytes.empty()) {
      const auto piece = static_cast<unsigned>(std::min<std::size_t>(bytes.size(), 1U << 30));
      const int got = gzread(file_, bytes.data(), piece);
      int code = Z_OK;
      const char* text = gzerror(file_, &code);
      require<SourceError>(got > 0, "{} is truncated or damaged ({} bytes are missing{}{})", path_, bytes.size(),
                           code == Z_OK ? "" : "; ", code == Z_OK ? "" : text);
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    }
  }
  bool at_end() {
    std::uint8_t byte = 0;
    return gzread(file_, &byte, 1) == 0;
  }
  bool plain() const { return gzdirect(file_) != 0; }

 private:
  std::string path_;
  gzFile file_;
};

// An IDX file of unsigned bytes; extents[0] items.
struct IdxFile {
  fs::path path;
  bool plain = false;
  std::vector<std::uint64_t> extents;

  std::uint64_t item_bytes() const {
    std::uint64_t bytes = 1;
    for (std::size_t axis = 1; axis < extents.size(); ++axis) bytes *= extents[axis];
    return bytes;
  }
  std::uint64_t header_bytes() const { return 4 + 4 * extents.size(); }

  // All items, some after others.
  template <class Take>
  auto read_items(Take&& take) const {
    GzipFile file(path);
    std::vector<std::uint8_t> header(header_bytes());
    file.read(header);
    auto taken = take(file);
    require<SourceError>(file.at_end(), "{} is longer than its header says ({} items)", path.string(), extents[0]);
    return taken;
  }
};

IdxFile open_file(const fs::path& path, std::size_t rank) {
  GzipFile file(path);
  std::array<std::uint8_t, 4> magic{};
  file.read(magic);
  require(magic[0] == 0 && magic[1] == 0 && magic[2] == kUnsignedBytes && magic[3] == rank,
          "{} is not an IDX file of {}-dimensional unsigned bytes (its first bytes are {:02x} {:02x} {:02x} {:02x})",
          path.string(), rank, magic[0], magic[1], magic[2], magic[3]);
  IdxFile idx{.path = path, .plain = file.plain(), .extents = {}};
  for (std::size_t axis = 0; axis < rank; ++axis) {
    std::array<std::uint8_t, 4> big{};
    file.read(big);
    idx.extents.push_back(std::uint64_t{big[0]} << 24 | big[1] << 16 | big[2] << 8 | big[3]);
  }
  for (std::size_t axis = 1; axis < rank; ++axis)
    require(idx.extents[axis] >= 1 && idx.extents[axis] <= kLargestSide,
            "{} claims items of {} pixels a side (damaged?)", path.string(), idx.extents[axis]);
  const std::uint64_t claimed = idx.header_bytes() + idx.extents[0] * idx.item_bytes();
  const std::uint64_t stored = fs::file_size(path);
  require(file.plain() ? stored == claimed : claimed / kLargestExpansion <= stored,
          "{} does not hold the {} items its header claims ({} bytes claimed, the file has {}). Download it again?",
          path.string(), idx.extents[0], claimed, stored);
  return idx;
}

class IdxSource final : public Source {
 public:
  IdxSource(const fs::path& images, const fs::path& labels) : images_(open_file(images, 3)), file_(images) {
    const IdxFile label_file = open_file(labels, 1);
    require(label_file.extents[0] == images_.extents[0], "{} has {} labels, but {} has {} images", labels.string(),
            label_file.extents[0], images.string(), images_.extents[0]);
    labels_ = label_file.read_items([&](GzipFile& file) {
      std::vector<std::uint8_t> items(label_file.extents[0]);
      file.read(items);
      return items;
    });
  }
  std::int64_t samples() const override { return static_cast<std::int64_t>(labels_.size()); }
  std::optional<ImageShape> pixels() const override {
    return ImageShape{static_cast<std::int64_t>(images_.extents[1]), static_cast<std::int64_t>(images_.extents[2]), 1};
  }
  std::vector<std::string> classes() const override { return classes_; }
  std::int32_t label(std::int64_t index) const override { return labels_[static_cast<std::size_t>(index)]; }
  std::string name(std::int64_t index) const override {
    return fmt::format("{}#{}", images_.path.filename().string(), index);
  }
  void fetch(std::int64_t index, std::vector<std::byte>& bytes) const override {
    bytes.resize(images_.item_bytes());
    const std::uint64_t place = static_cast<std::uint64_t>(index) * bytes.size();
    if (images_.plain) return file_.read(images_.header_bytes() + place, bytes);
    std::call_once(loaded_, [&] {
      unpacked_ = images_.read_items([&](GzipFile& file) {
        return unpacked(images_.extents[0] * images_.item_bytes(),
                        [&](std::span<std::uint8_t> next) { file.read(next); });
      });
    });
    unpacked_->read(place, std::span(bytes));
  }

  std::int64_t largest_label() const { return labels_.empty() ? 0 : *std::max_element(labels_.begin(), labels_.end()); }
  void set_classes(std::vector<std::string> classes) {
    const auto count = static_cast<std::int64_t>(classes.size());
    for (std::size_t i = 0; i < labels_.size(); ++i)
      require(labels_[i] < count, "{} has label {} (there are {} classes)", name(static_cast<std::int64_t>(i)),
              labels_[i], count);
    classes_ = std::move(classes);
  }

 private:
  IdxFile images_;
  std::vector<std::uint8_t> labels_;
  std::vector<std::string> classes_;
  InputFile file_;
  // Of a gzip file: pixels are unpacked when the first is asked for; a restart may need none.
  mutable std::once_flag loaded_;
  mutable std::unique_ptr<Spool> unpacked_;
};

fs::path gzip_or_plain(const fs::path& directory, const std::string& name) {
  const auto plain = directory / name, gzip = directory / (name + ".gz");
  return fs::exists(plain) ? plain : gzip;
}

const std::map<std::string, std::string> kPrefixes{{"test", "t10k"}, {"train", "train"}};

}  // namespace

bool is_idx(const fs::path& directory) {
  return std::any_of(kPrefixes.begin(), kPrefixes.end(), [&](const auto& split) {
    return fs::exists(gzip_or_plain(directory, split.second + "-images-idx3-ubyte"));
  });
}

Sources open_idx(const fs::path& directory) {
  std::map<std::string, std::shared_ptr<IdxSource>> found;
  std::int64_t classes = 10;
  for (const auto& [split, prefix] : kPrefixes) {
    const auto images = gzip_or_plain(directory, prefix + "-images-idx3-ubyte");
    if (!fs::exists(images)) continue;
    const auto labels = gzip_or_plain(directory, prefix + "-labels-idx1-ubyte");
    require(fs::exists(labels), "{} has no labels ({} is missing)", images.string(), labels.string());
    found[split] = std::make_shared<IdxSource>(images, labels);
    classes = std::max(classes, found[split]->largest_label() + 1);
  }
  require(!found.empty(), "{} holds no IDX images (train-images-idx3-ubyte[.gz] or t10k-images-idx3-ubyte[.gz])",
          directory.string());
  const bool fashion = fs::absolute(directory).string().find("fashion-mnist") != std::string::npos;
  Sources sources;
  for (auto& [split, source] : found) {
    source->set_classes(fashion ? std::vector<std::string>(kFashion.begin(), kFashion.end())
                                : numbered_classes(classes));
    sources[split] = std::move(source);
  }
  return sources;
}

}  // namespace brigade::dataset
