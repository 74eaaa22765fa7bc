#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "shard.hpp"

namespace brigade::dataset {
namespace {

constexpr hsize_t kPageBytes = 4096;
constexpr std::uint64_t kChunkBytes = 16 << 10;  // of pixels: a random read decompresses no more, if images are smaller
constexpr std::uint64_t kCopyBytes = 4 << 20;

// The format of HDF5 1.8: its metadata carries checksums, and every HDF5 in use reads it. Chunks are of any size, and
// pages would waste what compression has saved.
Hdf5File create_file(const std::filesystem::path& path, bool in_pages) {
  silence_hdf5();
  const Hdf5Properties access(check_hdf5(H5Pcreate(H5P_FILE_ACCESS), "cannot prepare {}", path.string()));
  check_hdf5(H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18), "cannot prepare {}", path.string());
  if (in_pages) check_hdf5(H5Pset_alignment(access, kPageBytes, kPageBytes), "cannot prepare {}", path.string());
  const Hdf5Properties creation(check_hdf5(H5Pcreate(H5P_FILE_CREATE), "cannot prepare {}", path.string()));
  check_hdf5(H5Pset_obj_track_times(creation, false), "cannot prepare {}", path.string());
  check_hdf5(H5Pset_attr_phase_change(creation, 64, 32), "cannot prepare {}", path.string());  // all in the header
  return Hdf5File(
      check_hdf5(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, access), "cannot create {}", path.string()));
}

// Contiguous, or in compressed chunks of `chunk` items along the first axis.
struct Compression {
  hsize_t chunk = 0;
  int deflate = 0;
};

Hdf5Dataset create_dataset(hid_t file, const char* name, hid_t type, std::span<const hsize_t> extents,
                           const Compression& compression = {}) {
  const Hdf5Properties creation(check_hdf5(H5Pcreate(H5P_DATASET_CREATE), "cannot prepare {}", name));
  if (compression.deflate > 0) {
    std::vector<hsize_t> chunk(extents.begin(), extents.end());
    chunk[0] = compression.chunk;
    check_hdf5(H5Pset_chunk(creation, static_cast<int>(chunk.size()), chunk.data()), "cannot prepare {}", name);
    check_hdf5(H5Pset_deflate(creation, static_cast<unsigned>(compression.deflate)), "cannot prepare {}", name);
  } else {
    check_hdf5(H5Pset_layout(creation, H5D_CONTIGUOUS), "cannot prepare {}", name);
    check_hdf5(H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY), "cannot prepare {}", name);
  }
  check_hdf5(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), "cannot prepare {}", name);
  check_hdf5(H5Pset_obj_track_times(creation, false), "cannot prepare {}", name);
  const Hdf5Space space(
      check_hdf5(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr), "cannot shape {}", name));
  return Hdf5Dataset(
      check_hdf5(H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT), "cannot create {}", name));
}

// A failed write of bytes: whatever HDF5 says (its text goes on with time, file and addresses), the usual reason is a
// full disk or a quota.
void check_write(herr_t result, const std::filesystem::path& path) {
  const int why = errno;
  if (result >= 0) return;
  const auto text = hdf5_error_text();
  throw WriteError(fmt::format("cannot write {} (HDF5: {}; {}). Is the disk full?", path.string(),
                               text.substr(0, text.find(": time")), why == 0 ? "no details" : std::strerror(why)));
}

template <class T>
void write_dataset(hid_t file, const char* name, hid_t stored, hid_t native, std::span<const T> values) {
  const std::array<hsize_t, 1> extents{values.size()};
  const auto dataset = create_dataset(file, name, stored, extents);
  if (!values.empty())
    check_hdf5(H5Dwrite(dataset, native, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), "cannot write {}", name);
}

Hdf5Type text_type(std::size_t bytes) {
  Hdf5Type type(check_hdf5(H5Tcopy(H5T_C_S1), "cannot make a text type"));
  check_hdf5(H5Tset_size(type, bytes), "cannot make a text type of {} bytes", bytes);
  check_hdf5(H5Tset_cset(type, H5T_CSET_UTF8), "cannot make a text type");
  check_hdf5(H5Tset_strpad(type, H5T_STR_NULLPAD), "cannot make a text type");
  return type;
}

// Padded with zeros to `name_bytes` each, so that name i is found by its place.
void write_names(hid_t file, std::span<const std::string> names, std::size_t name_bytes) {
  std::vector<char> text(names.size() * name_bytes, '\0');
  for (std::size_t i = 0; i < names.size(); ++i)
    std::memcpy(text.data() + i * name_bytes, names[i].data(), std::min(names[i].size(), name_bytes));
  const auto type = text_type(name_bytes);
  const std::array<hsize_t, 1> extents{names.size()};
  const auto dataset = create_dataset(file, "names", type, extents);
  if (!names.empty())
    check_hdf5(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()), "cannot write names");
}

Hdf5Attribute create_attribute(hid_t file, const char* name, hid_t type, hid_t space) {
  return Hdf5Attribute(
      check_hdf5(H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT), "cannot create attribute {}", name));
}

void write_attribute(hid_t file, const char* name, const std::string& value) {
  const Hdf5Space scalar(check_hdf5(H5Screate(H5S_SCALAR), "cannot shape attribute {}", name));
  const auto type = text_type(std::max<std::size_t>(1, value.size()));
  check_hdf5(H5Awrite(create_attribute(file, name, type, scalar), type, value.c_str()), "cannot write attribute {}",
             name);
}

template <class T>
void write_attribute(hid_t file, const char* name, hid_t stored, hid_t native, const T& value) {
  const Hdf5Space scalar(check_hdf5(H5Screate(H5S_SCALAR), "cannot shape attribute {}", name));
  check_hdf5(H5Awrite(create_attribute(file, name, stored, scalar), native, &value), "cannot write attribute {}", name);
}

void write_numbers(hid_t file, const char* name, std::span<const std::uint64_t> values) {
  const hsize_t extent = values.size();
  const Hdf5Space line(check_hdf5(H5Screate_simple(1, &extent, nullptr), "cannot shape attribute {}", name));
  check_hdf5(H5Awrite(create_attribute(file, name, H5T_STD_U64LE, line), H5T_NATIVE_UINT64, values.data()),
             "cannot write attribute {}", name);
}

}  // namespace

ChannelSums& ChannelSums::operator+=(const ChannelSums& other) {
  for (std::size_t c = 0; c < sum.size(); ++c) {
    sum[c] += other.sum[c];
    squares[c] += other.squares[c];
  }
  return *this;
}

ChannelSums channel_sums(std::span<const std::uint8_t> pixels, std::int64_t channels) {
  ChannelSums sums;
  const auto step = static_cast<std::size_t>(channels);
  for (std::size_t c = 0; c < step; ++c)
    for (std::size_t i = c; i < pixels.size(); i += step) {
      const std::uint64_t pixel = pixels[i];
      sums.sum[c] += pixel;
      sums.squares[c] += pixel * pixel;
    }
  return sums;
}

ShardWriter::ShardWriter(const std::filesystem::path& path, const ShardHeader& header, std::size_t name_bytes,
                         int deflate)
    : atomic_(path), header_(header), name_bytes_(std::max<std::size_t>(name_bytes, 1)) {
  const bool chunked = deflate > 0 && header.samples > 0;  // HDF5 has no chunks in a dataset without extent
  EXPECT(!chunked || header.layout == Layout::raw);
  const auto lock = lock_hdf5();
  file_ = create_file(atomic_.path(), !chunked);
  checksums_.reserve(static_cast<std::size_t>(header.samples));
  if (header.layout == Layout::encoded) {
    spool_.emplace(atomic_.path());
    return;
  }
  const auto extent = [](std::int64_t n) { return static_cast<hsize_t>(n); };
  const std::array extents{extent(header.samples), extent(header.image.height), extent(header.image.width),
                           extent(header.image.channels)};
  const auto in_chunk =
      std::clamp<hsize_t>(kChunkBytes / extent(header.image.size()), 1, std::max<hsize_t>(1, extents[0]));
  images_ = create_dataset(file_, "images", H5T_STD_U8LE, extents,
                           Compression{.chunk = in_chunk, .deflate = chunked ? deflate : 0});
}

void ShardWriter::append(std::span<const std::uint8_t> bytes, std::span<const StoredSample> samples) {
  if (samples.empty()) return;
  const auto first = static_cast<std::int64_t>(checksums_.size());
  EXPECT(first + static_cast<std::int64_t>(samples.size()) <= header_.samples);
  for (const auto& sample : samples) {
    checksums_.push_back(sample.checksum);
    offsets_.push_back(offsets_.back() + sample.bytes);
    header_.sums += sample.sums;
  }
  if (spool_)
    spool_->append(bytes);
  else
    write_pixels(bytes, first, static_cast<std::int64_t>(samples.size()));
}

void ShardWriter::write_pixels(std::span<const std::uint8_t> pixels, std::int64_t first, std::int64_t count) {
  const auto lock = lock_hdf5();
  const auto extent = [](std::int64_t n) { return static_cast<hsize_t>(n); };
  const auto& image = header_.image;
  EXPECT(static_cast<std::int64_t>(pixels.size()) == count * image.size());
  const std::array<hsize_t, 4> start{extent(first), 0, 0, 0};
  const std::array extents{extent(count), extent(image.height), extent(image.width), extent(image.channels)};
  const Hdf5Space memory(check_hdf5(H5Screate_simple(4, extents.data(), nullptr), "cannot shape images"));
  const Hdf5Space place(check_hdf5(H5Dget_space(images_), "cannot shape images"));
  check_hdf5(H5Sselect_hyperslab(place, H5S_SELECT_SET, start.data(), nullptr, extents.data(), nullptr),
             "cannot select images");
  check_write(H5Dwrite(images_, H5T_NATIVE_UINT8, memory, place, H5P_DEFAULT, pixels.data()), atomic_.path());
}

// `/encoded` is made when its size is known, and filled from the spool.
void ShardWriter::write_blob() {
  const hsize_t size = offsets_.back();
  const auto blob = create_dataset(file_, "encoded", H5T_STD_U8LE, std::span(&size, 1));
  const Hdf5Space place(check_hdf5(H5Dget_space(blob), "cannot shape encoded images"));
  std::vector<std::uint8_t> piece(std::min<std::uint64_t>(size, kCopyBytes));
  for (hsize_t begin = 0; begin < size; begin += piece.size()) {
    piece.resize(std::min<std::uint64_t>(size - begin, kCopyBytes));
    spool_->read(begin, piece);
    const hsize_t count = piece.size();
    const Hdf5Space memory(check_hdf5(H5Screate_simple(1, &count, nullptr), "cannot shape encoded images"));
    check_hdf5(H5Sselect_hyperslab(place, H5S_SELECT_SET, &begin, nullptr, &count, nullptr),
               "cannot select encoded images");
    check_write(H5Dwrite(blob, H5T_NATIVE_UINT8, memory, place, H5P_DEFAULT, piece.data()), atomic_.path());
  }
  write_dataset(file_, "offsets", H5T_STD_U64LE, H5T_NATIVE_UINT64, std::span<const std::uint64_t>(offsets_));
}

void ShardWriter::finish(std::span<const std::int32_t> labels, std::span<const std::string> names,
                         std::span<const std::int64_t> skipped) {
  EXPECT(static_cast<std::int64_t>(labels.size()) == header_.samples && names.size() == labels.size());
  EXPECT(static_cast<std::int64_t>(checksums_.size()) == header_.samples);
  const auto lock = lock_hdf5();
  if (spool_) write_blob();
  write_dataset(file_, "labels", H5T_STD_I32LE, H5T_NATIVE_INT32, labels);
  write_dataset(file_, "checksums", H5T_STD_U32LE, H5T_NATIVE_UINT32, std::span<const std::uint32_t>(checksums_));
  write_dataset(file_, "skipped", H5T_STD_I64LE, H5T_NATIVE_INT64, skipped);
  write_names(file_, names, name_bytes_);
  write_attributes();

  images_.close();
  check_write(H5Fflush(file_, H5F_SCOPE_LOCAL), atomic_.path());
  file_.close();
  atomic_.commit();
}

void ShardWriter::write_attributes() {
  const auto channels = static_cast<std::size_t>(header_.image.channels);
  const bool raw = header_.layout == Layout::raw;
  write_attribute(file_, "brigade_shard_version", H5T_STD_I32LE, H5T_NATIVE_INT32, kShardVersion);
  write_attribute(file_, "layout", raw ? "raw" : "encoded");
  if (!raw) {
    const auto extent = [](std::int64_t n) { return static_cast<std::uint64_t>(n); };
    const auto& image = header_.image;
    write_numbers(file_, "image", std::array{extent(image.height), extent(image.width), extent(image.channels)});
  }
  write_attribute(file_, "split", header_.split);
  write_attribute(file_, "shard_index", H5T_STD_I64LE, H5T_NATIVE_INT64, header_.index);
  write_attribute(file_, "classes", H5T_STD_I64LE, H5T_NATIVE_INT64, header_.classes);
  write_attribute(file_, "plan", header_.plan);
  write_attribute(file_, "plan_checksum", H5T_STD_U32LE, H5T_NATIVE_UINT32, header_.plan_checksum);
  write_numbers(file_, "channel_sum", std::span(header_.sums.sum).first(channels));
  write_numbers(file_, "channel_square_sum", std::span(header_.sums.squares).first(channels));
}

}  // namespace brigade::dataset
