#include <algorithm>
#include <cstring>
#include <system_error>

#include "shard.hpp"
#include "source_support.hpp"

namespace brigade::dataset {
namespace {

constexpr hsize_t kMostSamples = hsize_t{1} << 32;  // in one shard; more is taken for damage
constexpr hsize_t kMostBlobBytes = hsize_t{1} << 50;
constexpr hsize_t kLargestSide = 1 << 16;  // of an image
constexpr std::size_t kLongestName = 1 << 16;
constexpr std::size_t kLongestText = 1 << 16;  // of an attribute

// HDF5 trusts what it reads where no checksum guards it: damage has been seen to keep it busy for ever. A superblock of
// version 2 or later and what it leads to, object headers with all attributes, have checksums, and shards keep nothing
// in the global heap, which has none. What remains is a file made with intent, and the index of compressed chunks.
void check_superblock(const std::filesystem::path& path) {
  const InputFile file(path);
  std::array<std::byte, 9> beginning{};
  constexpr std::array kSignature{0x89, 0x48, 0x44, 0x46, 0x0D, 0x0A, 0x1A, 0x0A};
  if (file.size() >= beginning.size()) file.read(0, beginning);
  require(std::equal(kSignature.begin(), kSignature.end(), beginning.begin(),
                     [](int expected, std::byte found) { return expected == std::to_integer<int>(found); }),
          "shard {} is no HDF5 file. Run `brigade shard` again?", path.string());
  require(
      std::to_integer<int>(beginning.back()) >= 2,
      "shard {} has no checksums over its structure (superblock version {}, expected 2 or later). Was it rewritten by "
      "another program?",
      path.string(), std::to_integer<int>(beginning.back()));
}

// Shards are written once and renamed into place, so readers need no lock; several parallel file systems refuse it.
Hdf5File open_file(const std::filesystem::path& path) {
  silence_hdf5();
  const Hdf5Properties access(check_hdf5(H5Pcreate(H5P_FILE_ACCESS), "cannot prepare {}", path.string()));
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
  check_hdf5(H5Pset_file_locking(access, false, true), "cannot prepare {}", path.string());
#endif
  return Hdf5File(check_hdf5(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access),
                             "shard {} cannot be opened. Run `brigade shard` again?", path.string()));
}

constexpr hsize_t kMostChunkBytes = hsize_t{1} << 28;

// What a dataset is, before anything of it is believed.
struct Extents {
  int rank = 0;
  std::array<hsize_t, 4> size{};
  hsize_t items() const { return size[0]; }
};

Extents extents_of(hid_t dataset, const std::string& what, hsize_t most = kMostSamples) {
  const Hdf5Space space(check_hdf5(H5Dget_space(dataset), "{} has no shape", what));
  Extents extents;
  extents.rank = check_hdf5(H5Sget_simple_extent_ndims(space), "{} has no shape", what);
  require(extents.rank >= 1 && extents.rank <= 4, "{} has {} dimensions (expected 1 to 4)", what, extents.rank);
  check_hdf5(H5Sget_simple_extent_dims(space, extents.size.data(), nullptr), "{} has no shape", what);
  require(extents.items() <= most, "{} claims {} items (damaged?)", what, extents.items());
  return extents;
}

// Where the dataset lies, after checking that it is contiguous and ends within the file.
ShardFile::Place place_of(hid_t dataset, const Extents& extents, std::uint64_t item_bytes, std::uint64_t file_bytes,
                          const std::string& what) {
  const Hdf5Properties creation(check_hdf5(H5Dget_create_plist(dataset), "{} has no properties", what));
  require(H5Pget_layout(creation) == H5D_CONTIGUOUS && H5Pget_external_count(creation) == 0,
          "{} is not contiguous in its file (brigade_shard_version {} demands it)", what, kShardVersion);
  if (extents.items() == 0 || item_bytes == 0) return {.offset = 0, .item_bytes = item_bytes};
  const haddr_t offset = H5Dget_offset(dataset);
  require(offset != HADDR_UNDEF, "{} has no place in its file (damaged?)", what);
  require(offset <= file_bytes && extents.items() <= (file_bytes - offset) / item_bytes,
          "{} is truncated (it needs {} bytes from {}, the file holds {}). Run `brigade shard` again?", what,
          extents.items() * item_bytes, offset, file_bytes);
  return {.offset = offset, .item_bytes = item_bytes};
}

// Whether the images are in chunks; only such as this program writes, so that no foreign filter is loaded and no false
// size is allocated.
bool is_chunked(hid_t images, const Extents& extents, std::uint64_t item_bytes) {
  const Hdf5Properties creation(check_hdf5(H5Dget_create_plist(images), "/images has no properties"));
  if (H5Pget_layout(creation) != H5D_CHUNKED) return false;
  std::array<hsize_t, 4> chunk{};
  check_hdf5(H5Pget_chunk(creation, 4, chunk.data()), "/images has no chunks");
  require(std::equal(chunk.begin() + 1, chunk.end(), extents.size.begin() + 1) && chunk[0] >= 1 &&
              chunk[0] <= std::max<hsize_t>(1, kMostChunkBytes / item_bytes) && item_bytes <= kMostChunkBytes,
          "/images has chunks of {}x{}x{}x{} (expected whole images, of {} bytes together at most)", chunk[0], chunk[1],
          chunk[2], chunk[3], kMostChunkBytes);
  for (int i = 0; i < H5Pget_nfilters(creation); ++i) {
    unsigned flags = 0;
    std::size_t values = 0;
    const auto filter =
        H5Pget_filter2(creation, static_cast<unsigned>(i), &flags, &values, nullptr, 0, nullptr, nullptr);
    require(filter == H5Z_FILTER_DEFLATE, "/images is compressed by HDF5's filter {} (this program reads deflate)",
            static_cast<int>(filter));
  }
  return true;
}

Hdf5Dataset open_dataset(hid_t file, const char* name, const std::string& what) {
  return Hdf5Dataset(check_hdf5(H5Dopen2(file, name, H5P_DEFAULT), "{} is missing", what));
}

bool stored_as(hid_t dataset, hid_t type) {
  const Hdf5Type stored(check_hdf5(H5Dget_type(dataset), "a dataset has no type"));
  return H5Tequal(stored, type) > 0;
}

// A whole dataset of one dimension; `expected` items, or any number if negative.
template <class T>
std::vector<T> read_dataset(hid_t file, const char* name, hid_t stored, hid_t native, std::int64_t expected,
                            std::uint64_t file_bytes, const std::string& what) {
  const auto dataset = open_dataset(file, name, what);
  const auto extents = extents_of(dataset, what);
  require(extents.rank == 1 && stored_as(dataset, stored), "{} has an unexpected type or shape", what);
  require(expected < 0 || extents.items() == static_cast<hsize_t>(expected), "{} has {} items (expected {})", what,
          extents.items(), expected);
  place_of(dataset, extents, sizeof(T), file_bytes, what);  // so that no false size is allocated
  std::vector<T> values(extents.items());
  if (!values.empty())
    check_hdf5(H5Dread(dataset, native, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), "{} cannot be read", what);
  return values;
}

Hdf5Attribute open_attribute(hid_t file, const char* name) {
  return Hdf5Attribute(check_hdf5(H5Aopen(file, name, H5P_DEFAULT), "attribute {} is missing", name));
}

template <class T>
void read_numbers(hid_t file, const char* name, hid_t native, std::span<T> values) {
  const auto attribute = open_attribute(file, name);
  const Hdf5Space space(check_hdf5(H5Aget_space(attribute), "attribute {} has no shape", name));
  const Hdf5Type type(check_hdf5(H5Aget_type(attribute), "attribute {} has no type", name));
  require(
      H5Tget_class(type) == H5T_INTEGER && H5Sget_simple_extent_npoints(space) == static_cast<hssize_t>(values.size()),
      "attribute {} is not {} integers", name, values.size());
  check_hdf5(H5Aread(attribute, native, values.data()), "attribute {} cannot be read", name);
}

template <class T>
T read_number(hid_t file, const char* name, hid_t native) {
  T value{};
  read_numbers(file, name, native, std::span(&value, 1));
  return value;
}

std::string read_text(hid_t file, const char* name) {
  const auto attribute = open_attribute(file, name);
  const Hdf5Type type(check_hdf5(H5Aget_type(attribute), "attribute {} has no type", name));
  const Hdf5Space space(check_hdf5(H5Aget_space(attribute), "attribute {} has no shape", name));
  const std::size_t bytes = H5Tget_size(type);
  require(H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 && bytes >= 1 && bytes <= kLongestText &&
              H5Sget_simple_extent_npoints(space) == 1,
          "attribute {} is not one text of fixed length", name);
  std::string text(bytes, '\0');
  check_hdf5(H5Aread(attribute, type, text.data()), "attribute {} cannot be read", name);
  return text.substr(0, text.find('\0'));
}

}  // namespace

ShardFile::ShardFile(const std::filesystem::path& path) : path_(path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  require(!error, "shard {} cannot be read ({}). Run `brigade shard` again?", path.string(), error.message());
  bytes_ = static_cast<std::int64_t>(size);
  check_superblock(path);

  const auto lock = lock_hdf5();
  file_ = open_file(path);
  try {
    read_attributes();
    open_datasets();
  } catch (const DataError& damage) {
    throw DataError(fmt::format("shard {}: {}", path.string(), damage.what()));
  }
}

void ShardFile::read_attributes() {
  const auto version = read_number<std::int32_t>(file_, "brigade_shard_version", H5T_NATIVE_INT32);
  require(version == kShardVersion, "it has format version {} (this program reads version {}). Ingest it again?",
          version, kShardVersion);
  const std::string layout = read_text(file_, "layout");
  require(layout == "raw" || layout == "encoded", "it has layout '{}' (this program reads 'raw' and 'encoded')",
          layout);
  header_.layout = layout == "raw" ? Layout::raw : Layout::encoded;
  header_.split = read_text(file_, "split");
  header_.index = read_number<std::int64_t>(file_, "shard_index", H5T_NATIVE_INT64);
  header_.classes = read_number<std::int64_t>(file_, "classes", H5T_NATIVE_INT64);
  header_.plan = read_text(file_, "plan");
  header_.plan_checksum = read_number<std::uint32_t>(file_, "plan_checksum", H5T_NATIVE_UINT32);
}

void ShardFile::open_datasets() {
  if (header_.layout == Layout::raw)
    open_images();
  else
    open_blob();
  open_names();
  const auto file_bytes = static_cast<std::uint64_t>(bytes_);
  labels_ = read_dataset<std::int32_t>(file_, "labels", H5T_STD_I32LE, H5T_NATIVE_INT32, header_.samples, file_bytes,
                                       "/labels");
  checksums_ = read_dataset<std::uint32_t>(file_, "checksums", H5T_STD_U32LE, H5T_NATIVE_UINT32, header_.samples,
                                           file_bytes, "/checksums");
  skipped_ = read_dataset<std::int64_t>(file_, "skipped", H5T_STD_I64LE, H5T_NATIVE_INT64, -1, file_bytes, "/skipped");
  for (std::size_t i = 0; i < labels_.size(); ++i)
    require(labels_[i] >= 0 && labels_[i] < header_.classes, "sample {} has label {} (there are {} classes)", i,
            labels_[i], header_.classes);
  const auto channels = static_cast<std::size_t>(header_.image.channels);
  read_numbers(file_, "channel_sum", H5T_NATIVE_UINT64, std::span(header_.sums.sum).first(channels));
  read_numbers(file_, "channel_square_sum", H5T_NATIVE_UINT64, std::span(header_.sums.squares).first(channels));
}

void ShardFile::open_images() {
  images_ = open_dataset(file_, "images", "/images");
  const auto extents = extents_of(images_, "/images");
  require(extents.rank == 4 && stored_as(images_, H5T_STD_U8LE), "/images is not uint8 [n, h, w, c]");
  header_.samples = static_cast<std::int64_t>(extents.items());
  set_image({extents.size[1], extents.size[2], extents.size[3]});
  const auto item_bytes = static_cast<std::uint64_t>(header_.image.size());
  mappable_ = !is_chunked(images_, extents, item_bytes);
  images_place_ = mappable_ ? place_of(images_, extents, item_bytes, static_cast<std::uint64_t>(bytes_), "/images")
                            : Place{.offset = 0, .item_bytes = item_bytes};
  images_space_ = Hdf5Space(check_hdf5(H5Dget_space(images_), "/images has no shape"));
}

void ShardFile::open_blob() {
  std::array<std::uint64_t, 3> image{};
  read_numbers(file_, "image", H5T_NATIVE_UINT64, std::span<std::uint64_t>(image));
  set_image({image[0], image[1], image[2]});
  images_ = open_dataset(file_, "encoded", "/encoded");
  const auto extents = extents_of(images_, "/encoded", kMostBlobBytes);
  require(extents.rank == 1 && stored_as(images_, H5T_STD_U8LE), "/encoded is not uint8 [bytes]");
  const auto file_bytes = static_cast<std::uint64_t>(bytes_);
  images_place_ = place_of(images_, extents, 1, file_bytes, "/encoded");
  images_space_ = Hdf5Space(check_hdf5(H5Dget_space(images_), "/encoded has no shape"));
  offsets_ =
      read_dataset<std::uint64_t>(file_, "offsets", H5T_STD_U64LE, H5T_NATIVE_UINT64, -1, file_bytes, "/offsets");
  require(!offsets_.empty() && offsets_.front() == 0 && offsets_.back() == extents.items() &&
              std::is_sorted(offsets_.begin(), offsets_.end()),
          "/offsets do not rise from 0 to the {} bytes of /encoded (damaged?)", extents.items());
  header_.samples = static_cast<std::int64_t>(offsets_.size()) - 1;
}

void ShardFile::open_names() {
  names_ = open_dataset(file_, "names", "/names");
  const auto extents = extents_of(names_, "/names");
  const Hdf5Type text(check_hdf5(H5Dget_type(names_), "/names has no type"));
  const std::size_t name_bytes = H5Tget_size(text);
  require(extents.rank == 1 && extents.items() == static_cast<hsize_t>(header_.samples) &&
              H5Tget_class(text) == H5T_STRING && H5Tis_variable_str(text) == 0 && name_bytes >= 1 &&
              name_bytes <= kLongestName,
          "/names is not {} texts of fixed length", header_.samples);
  names_place_ = place_of(names_, extents, name_bytes, static_cast<std::uint64_t>(bytes_), "/names");
}

void ShardFile::set_image(const std::array<std::uint64_t, 3>& extents) {
  const auto [height, width, channels] = extents;
  require(
      height >= 1 && height <= kLargestSide && width >= 1 && width <= kLargestSide && (channels == 1 || channels == 3),
      "it holds images of {}x{}x{} (expected 1 to {} pixels a side, 1 or 3 channels)", height, width, channels,
      kLargestSide);
  header_.image = {static_cast<std::int64_t>(height), static_cast<std::int64_t>(width),
                   static_cast<std::int64_t>(channels)};
}

void ShardFile::read_rows(std::int64_t first, std::int64_t count, std::uint8_t* bytes) const {
  const auto lock = lock_hdf5();
  const auto extent = [](std::int64_t n) { return static_cast<hsize_t>(n); };
  const auto& image = header_.image;
  std::array start{extent(first), hsize_t{0}, hsize_t{0}, hsize_t{0}};
  std::array extents{extent(count), extent(image.height), extent(image.width), extent(image.channels)};
  const bool raw = header_.layout == Layout::raw;
  if (!raw) {
    start[0] = offset_in_blob(first);
    extents[0] = offset_in_blob(first + count) - start[0];
  }
  const Hdf5Space memory(check_hdf5(H5Screate_simple(raw ? 4 : 1, extents.data(), nullptr), "cannot shape a batch"));
  check_hdf5(H5Sselect_hyperslab(images_space_, H5S_SELECT_SET, start.data(), nullptr, extents.data(), nullptr),
             "cannot select samples of {}", file_name());
  check_hdf5(H5Dread(images_, H5T_NATIVE_UINT8, memory, images_space_, H5P_DEFAULT, bytes),
             "shard {}: samples {} to {} cannot be read. Is the file damaged?", path_.string(), first,
             first + count - 1);
}

std::string ShardFile::read_name(std::int64_t row) const {
  const auto lock = lock_hdf5();
  const hsize_t start = static_cast<hsize_t>(row), one = 1;
  const Hdf5Space place(check_hdf5(H5Dget_space(names_), "cannot read names of {}", file_name()));
  const Hdf5Space memory(check_hdf5(H5Screate_simple(1, &one, nullptr), "cannot read names of {}", file_name()));
  const Hdf5Type type(check_hdf5(H5Dget_type(names_), "cannot read names of {}", file_name()));
  std::string text(names_place_.item_bytes, '\0');
  check_hdf5(H5Sselect_hyperslab(place, H5S_SELECT_SET, &start, nullptr, &one, nullptr), "cannot select a name of {}",
             file_name());
  check_hdf5(H5Dread(names_, type, memory, place, H5P_DEFAULT, text.data()), "cannot read names of {}", file_name());
  return text.substr(0, text.find('\0'));
}

std::string ShardFile::place(std::int64_t row, const std::string& name) const {
  return fmt::format("shard {}: sample {} ({})", path_.string(), row, name);
}

void ShardFile::report_damage(std::int64_t row, const std::string& name) const {
  throw DataError(
      fmt::format("{} is damaged (its bytes do not match its CRC-32C). Delete the shard and run `brigade shard` again?",
                  place(row, name)));
}

void ShardFile::close_hdf5() {
  images_space_.close();
  images_.close();
  names_.close();
  file_.close();
}

MappedShard::MappedShard(ShardFile file) : file_(std::move(file)), mapping_(file_.path()), bytes_(mapping_.bytes()) {
  if (file_.mappable()) file_.close_hdf5();
  require(static_cast<std::int64_t>(bytes_.size()) == file_.bytes(), "shard {} changed while it was opened",
          file_.path().string());
}

MappedShard::MappedShard(ShardFile file, std::span<const std::byte> bytes) : file_(std::move(file)), bytes_(bytes) {
  EXPECT(file_.mappable() && static_cast<std::int64_t>(bytes.size()) == file_.bytes());
  file_.close_hdf5();
}

std::span<const std::byte> MappedShard::sample(std::int64_t row, std::vector<std::uint8_t>& scratch) const {
  const auto bytes = file_.sample_bytes(row);
  if (file_.mappable()) return bytes_.subspan(file_.sample_offset(row), bytes);
  scratch.resize(bytes);
  file_.read_rows(row, 1, scratch.data());
  return std::as_bytes(std::span(scratch));
}

std::string MappedShard::name(std::int64_t row) const {
  const auto [offset, bytes] = file_.names_place();
  const auto text = bytes_.subspan(offset + static_cast<std::uint64_t>(row) * bytes, bytes);
  const auto* begin = reinterpret_cast<const char*>(text.data());
  return {begin, strnlen(begin, bytes)};
}

void MappedShard::will_need(std::int64_t row, std::int64_t rows) const {
  if (!file_.mappable() || mapping_.bytes().empty()) return;  // a copy is there already
  const std::uint64_t begin = file_.sample_offset(row), end = file_.sample_offset(row + rows - 1);
  mapping_.will_need(begin, end - begin + file_.sample_bytes(row + rows - 1));
}

void MappedShard::verify_all() const {
  mapping_.sequential();
  std::vector<std::uint8_t> scratch;
  for (std::int64_t row = 0; row < file_.header().samples; ++row)
    file_.verify(row, sample(row, scratch), [&] { return name(row); });
}

}  // namespace brigade::dataset
