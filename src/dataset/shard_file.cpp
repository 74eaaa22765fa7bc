#include <cstring>
#include <system_error>

#include "brigade/core/checksum.hpp"
#include "shard.hpp"

namespace brigade::dataset {
namespace {

constexpr hsize_t kMostSamples = hsize_t{1} << 32;  // in one shard; more is taken for damage
constexpr hsize_t kLargestSide = 1 << 16;           // of an image
constexpr std::size_t kLongestName = 1 << 16;

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

// What a dataset is, before anything of it is believed.
struct Extents {
  int rank = 0;
  std::array<hsize_t, 4> size{};
  hsize_t items() const { return size[0]; }
};

Extents extents_of(hid_t dataset, const std::string& what) {
  const Hdf5Space space(check_hdf5(H5Dget_space(dataset), "{} has no shape", what));
  Extents extents;
  extents.rank = check_hdf5(H5Sget_simple_extent_ndims(space), "{} has no shape", what);
  require(extents.rank >= 1 && extents.rank <= 4, "{} has {} dimensions (expected 1 to 4)", what, extents.rank);
  check_hdf5(H5Sget_simple_extent_dims(space, extents.size.data(), nullptr), "{} has no shape", what);
  require(extents.items() <= kMostSamples, "{} claims {} items (damaged?)", what, extents.items());
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
  require(H5Tis_variable_str(type) > 0 && H5Sget_simple_extent_npoints(space) == 1, "attribute {} is not one text",
          name);
  char* text = nullptr;
  check_hdf5(H5Aread(attribute, type, &text), "attribute {} cannot be read", name);
  std::string value = text == nullptr ? "" : text;
  H5free_memory(text);
  return value;
}

}  // namespace

ShardFile::ShardFile(const std::filesystem::path& path) : path_(path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  require(!error, "shard {} cannot be read ({}). Run `brigade shard` again?", path.string(), error.message());
  bytes_ = static_cast<std::int64_t>(size);

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
  require(layout == "raw", "it has layout '{}' (this program reads 'raw')", layout);
  header_.split = read_text(file_, "split");
  header_.index = read_number<std::int64_t>(file_, "shard_index", H5T_NATIVE_INT64);
  header_.classes = read_number<std::int64_t>(file_, "classes", H5T_NATIVE_INT64);
  header_.plan = read_text(file_, "plan");
  header_.plan_checksum = read_number<std::uint32_t>(file_, "plan_checksum", H5T_NATIVE_UINT32);
}

void ShardFile::open_datasets() {
  images_ = open_dataset(file_, "images", "/images");
  const auto extents = extents_of(images_, "/images");
  require(extents.rank == 4 && stored_as(images_, H5T_STD_U8LE), "/images is not uint8 [n, h, w, c]");
  const auto [n, height, width, channels] = extents.size;
  require(
      height >= 1 && height <= kLargestSide && width >= 1 && width <= kLargestSide && (channels == 1 || channels == 3),
      "/images holds images of {}x{}x{} (expected 1 to {} pixels a side, 1 or 3 channels)", height, width, channels,
      kLargestSide);
  const auto file_bytes = static_cast<std::uint64_t>(bytes_);
  header_.samples = static_cast<std::int64_t>(n);
  header_.image = {static_cast<std::int64_t>(height), static_cast<std::int64_t>(width),
                   static_cast<std::int64_t>(channels)};
  images_place_ = place_of(images_, extents, height * width * channels, file_bytes, "/images");

  names_ = open_dataset(file_, "names", "/names");
  const auto name_extents = extents_of(names_, "/names");
  const Hdf5Type text(check_hdf5(H5Dget_type(names_), "/names has no type"));
  const std::size_t name_bytes = H5Tget_size(text);
  require(name_extents.rank == 1 && name_extents.items() == n && H5Tget_class(text) == H5T_STRING &&
              H5Tis_variable_str(text) == 0 && name_bytes >= 1 && name_bytes <= kLongestName,
          "/names is not {} texts of fixed length", n);
  names_place_ = place_of(names_, name_extents, name_bytes, file_bytes, "/names");

  labels_ = read_dataset<std::int32_t>(file_, "labels", H5T_STD_I32LE, H5T_NATIVE_INT32, header_.samples, file_bytes,
                                       "/labels");
  checksums_ = read_dataset<std::uint32_t>(file_, "checksums", H5T_STD_U32LE, H5T_NATIVE_UINT32, header_.samples,
                                           file_bytes, "/checksums");
  skipped_ = read_dataset<std::int64_t>(file_, "skipped", H5T_STD_I64LE, H5T_NATIVE_INT64, -1, file_bytes, "/skipped");
  for (std::size_t i = 0; i < labels_.size(); ++i)
    require(labels_[i] >= 0 && labels_[i] < header_.classes, "sample {} has label {} (there are {} classes)", i,
            labels_[i], header_.classes);
  read_numbers(file_, "channel_sum", H5T_NATIVE_UINT64, std::span(header_.channel_sum).first(channels));
  read_numbers(file_, "channel_square_sum", H5T_NATIVE_UINT64, std::span(header_.channel_square_sum).first(channels));
}

bool ShardFile::matches(std::int64_t row, std::span<const std::byte> pixels) const {
  return crc32c(pixels) == checksums_[static_cast<std::size_t>(row)];
}

void ShardFile::report_damage(std::int64_t row, const std::string& name) const {
  throw DataError(
      fmt::format("shard {}: sample {} ({}) is damaged (its bytes do not match its CRC-32C). Delete the shard and run "
                  "`brigade shard` again?",
                  path_.string(), row, name));
}

void ShardFile::close_hdf5() {
  images_.close();
  names_.close();
  file_.close();
}

MappedShard::MappedShard(ShardFile file) : file_(std::move(file)), mapping_(file_.path()) {
  file_.close_hdf5();
  require(static_cast<std::int64_t>(mapping_.bytes().size()) == file_.bytes(), "shard {} changed while it was opened",
          file_.path().string());
}

std::span<const std::byte> MappedShard::pixels(std::int64_t row) const {
  const auto [offset, bytes] = file_.images_place();
  return mapping_.bytes().subspan(offset + static_cast<std::uint64_t>(row) * bytes, bytes);
}

std::string MappedShard::name(std::int64_t row) const {
  const auto [offset, bytes] = file_.names_place();
  const auto text = mapping_.bytes().subspan(offset + static_cast<std::uint64_t>(row) * bytes, bytes);
  const auto* begin = reinterpret_cast<const char*>(text.data());
  return {begin, strnlen(begin, bytes)};
}

void MappedShard::will_need(std::int64_t row) const {
  const auto [offset, bytes] = file_.images_place();
  mapping_.will_need(offset + static_cast<std::uint64_t>(row) * bytes, bytes);
}

void MappedShard::verify_all() const {
  mapping_.sequential();
  for (std::int64_t row = 0; row < file_.header().samples; ++row)
    file_.verify(row, pixels(row), [&] { return name(row); });
}

}  // namespace brigade::dataset
