#include <algorithm>
#include <cstring>

#include "brigade/core/checksum.hpp"
#include "shard.hpp"

namespace brigade::dataset {
namespace {

constexpr hsize_t kPageBytes = 4096;

// The format of HDF5 1.8: its metadata carries checksums, and every HDF5 in use reads it.
Hdf5File create_file(const std::filesystem::path& path) {
  silence_hdf5();
  const Hdf5Properties access(check_hdf5(H5Pcreate(H5P_FILE_ACCESS), "cannot prepare {}", path.string()));
  check_hdf5(H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18), "cannot prepare {}", path.string());
  check_hdf5(H5Pset_alignment(access, kPageBytes, kPageBytes), "cannot prepare {}", path.string());
  const Hdf5Properties creation(check_hdf5(H5Pcreate(H5P_FILE_CREATE), "cannot prepare {}", path.string()));
  check_hdf5(H5Pset_obj_track_times(creation, false), "cannot prepare {}", path.string());
  check_hdf5(H5Pset_attr_phase_change(creation, 64, 32), "cannot prepare {}", path.string());  // all in the header
  return Hdf5File(
      check_hdf5(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, access), "cannot create {}", path.string()));
}

Hdf5Dataset create_dataset(hid_t file, const char* name, hid_t type, std::span<const hsize_t> extents) {
  const Hdf5Properties creation(check_hdf5(H5Pcreate(H5P_DATASET_CREATE), "cannot prepare {}", name));
  check_hdf5(H5Pset_layout(creation, H5D_CONTIGUOUS), "cannot prepare {}", name);
  check_hdf5(H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY), "cannot prepare {}", name);
  check_hdf5(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), "cannot prepare {}", name);
  check_hdf5(H5Pset_obj_track_times(creation, false), "cannot prepare {}", name);
  const Hdf5Space space(
      check_hdf5(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr), "cannot shape {}", name));
  return Hdf5Dataset(
      check_hdf5(H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT), "cannot create {}", name));
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
  check_hdf5(H5Tset_strpad(type, bytes == H5T_VARIABLE ? H5T_STR_NULLTERM : H5T_STR_NULLPAD),
             "cannot make a text type");
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
  const auto type = text_type(H5T_VARIABLE);
  const char* text = value.c_str();
  check_hdf5(H5Awrite(create_attribute(file, name, type, scalar), type, &text), "cannot write attribute {}", name);
}

template <class T>
void write_attribute(hid_t file, const char* name, hid_t stored, hid_t native, const T& value) {
  const Hdf5Space scalar(check_hdf5(H5Screate(H5S_SCALAR), "cannot shape attribute {}", name));
  check_hdf5(H5Awrite(create_attribute(file, name, stored, scalar), native, &value), "cannot write attribute {}", name);
}

void write_attribute(hid_t file, const char* name, std::span<const std::uint64_t> values) {
  const hsize_t extent = values.size();
  const Hdf5Space line(check_hdf5(H5Screate_simple(1, &extent, nullptr), "cannot shape attribute {}", name));
  check_hdf5(H5Awrite(create_attribute(file, name, H5T_STD_U64LE, line), H5T_NATIVE_UINT64, values.data()),
             "cannot write attribute {}", name);
}

}  // namespace

ShardWriter::ShardWriter(const std::filesystem::path& path, const ShardHeader& header, std::size_t name_bytes)
    : atomic_(path), header_(header), name_bytes_(std::max<std::size_t>(name_bytes, 1)) {
  const auto lock = lock_hdf5();
  file_ = create_file(atomic_.path());
  const auto extent = [](std::int64_t n) { return static_cast<hsize_t>(n); };
  const std::array extents{extent(header.samples), extent(header.image.height), extent(header.image.width),
                           extent(header.image.channels)};
  images_ = create_dataset(file_, "images", H5T_STD_U8LE, extents);
  checksums_.reserve(static_cast<std::size_t>(header.samples));
}

void ShardWriter::add_checksums(const std::uint8_t* pixels, std::int64_t count) {
  const auto size = static_cast<std::size_t>(header_.image.size());
  const auto channels = static_cast<std::size_t>(header_.image.channels);
  for (std::int64_t sample = 0; sample < count; ++sample, pixels += size) {
    checksums_.push_back(crc32c(std::as_bytes(std::span(pixels, size))));
    for (std::size_t c = 0; c < channels; ++c) {
      std::uint64_t sum = 0, squares = 0;
      for (std::size_t i = c; i < size; i += channels) {
        const std::uint64_t pixel = pixels[i];
        sum += pixel;
        squares += pixel * pixel;
      }
      header_.channel_sum[c] += sum;
      header_.channel_square_sum[c] += squares;
    }
  }
}

void ShardWriter::append(const std::uint8_t* pixels, std::int64_t count) {
  if (count == 0) return;
  const auto written = static_cast<std::int64_t>(checksums_.size());
  EXPECT(written + count <= header_.samples);
  add_checksums(pixels, count);

  const auto lock = lock_hdf5();
  const auto extent = [](std::int64_t n) { return static_cast<hsize_t>(n); };
  const auto& image = header_.image;
  const std::array<hsize_t, 4> start{extent(written), 0, 0, 0};
  const std::array extents{extent(count), extent(image.height), extent(image.width), extent(image.channels)};
  const Hdf5Space memory(check_hdf5(H5Screate_simple(4, extents.data(), nullptr), "cannot shape images"));
  const Hdf5Space place(check_hdf5(H5Dget_space(images_), "cannot shape images"));
  check_hdf5(H5Sselect_hyperslab(place, H5S_SELECT_SET, start.data(), nullptr, extents.data(), nullptr),
             "cannot select images");
  check_hdf5(H5Dwrite(images_, H5T_NATIVE_UINT8, memory, place, H5P_DEFAULT, pixels), "cannot write images to {}",
             atomic_.path().string());
}

void ShardWriter::finish(std::span<const std::int32_t> labels, std::span<const std::string> names,
                         std::span<const std::int64_t> skipped) {
  EXPECT(static_cast<std::int64_t>(labels.size()) == header_.samples && names.size() == labels.size());
  EXPECT(static_cast<std::int64_t>(checksums_.size()) == header_.samples);
  const auto lock = lock_hdf5();
  write_dataset(file_, "labels", H5T_STD_I32LE, H5T_NATIVE_INT32, labels);
  write_dataset(file_, "checksums", H5T_STD_U32LE, H5T_NATIVE_UINT32, std::span<const std::uint32_t>(checksums_));
  write_dataset(file_, "skipped", H5T_STD_I64LE, H5T_NATIVE_INT64, skipped);
  write_names(file_, names, name_bytes_);

  const auto channels = static_cast<std::size_t>(header_.image.channels);
  write_attribute(file_, "brigade_shard_version", H5T_STD_I32LE, H5T_NATIVE_INT32, kShardVersion);
  write_attribute(file_, "layout", "raw");
  write_attribute(file_, "split", header_.split);
  write_attribute(file_, "shard_index", H5T_STD_I64LE, H5T_NATIVE_INT64, header_.index);
  write_attribute(file_, "classes", H5T_STD_I64LE, H5T_NATIVE_INT64, header_.classes);
  write_attribute(file_, "plan", header_.plan);
  write_attribute(file_, "plan_checksum", H5T_STD_U32LE, H5T_NATIVE_UINT32, header_.plan_checksum);
  write_attribute(file_, "channel_sum", std::span(header_.channel_sum).first(channels));
  write_attribute(file_, "channel_square_sum", std::span(header_.channel_square_sum).first(channels));

  images_.close();
  check_hdf5(H5Fflush(file_, H5F_SCOPE_LOCAL), "cannot write {}", atomic_.path().string());
  file_.close();
  atomic_.commit();
}

}  // namespace brigade::dataset
