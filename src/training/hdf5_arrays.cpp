#include "hdf5_arrays.hpp"

#include <algorithm>
#include <array>

#include "brigade/core/error.hpp"

namespace brigade::training {
namespace {

std::string hdf5_error_text() {
  std::string text;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
        auto& result = *static_cast<std::string*>(out);
        if (result.empty() && error->desc != nullptr) result = error->desc;
        return 0;
      },
      &text);
  return text.empty() ? "no details" : text;
}

void check_hdf5(herr_t status, const char* what) { require(status >= 0, "{} failed ({})", what, hdf5_error_text()); }

// Errors are thrown as exceptions; HDF5 need not print them too.
hid_t quietly(hid_t (*open)(const char*), const std::filesystem::path& path) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  return open(path.c_str());
}

constexpr std::int64_t kLargestArray = std::int64_t{1} << 31;  // elements; more is taken for damage

}  // namespace

Hdf5Id::Hdf5Id(hid_t id, herr_t (*close)(hid_t), const char* what) : id_(id), close_(close) {
  require(id >= 0, "{} failed ({})", what, hdf5_error_text());
}

ArrayWriter::ArrayWriter(const std::filesystem::path& path)
    : file_(quietly([](const char* p) { return H5Fcreate(p, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT); }, path),
            H5Fclose, "creating a checkpoint file") {}

void ArrayWriter::array(const std::string& name, const Shape& shape, const float* values) {
  std::array<hsize_t, Shape::kMaxRank> extents{};
  for (int axis = 0; axis < shape.rank(); ++axis)
    extents[static_cast<std::size_t>(axis)] = static_cast<hsize_t>(shape[axis]);
  const Hdf5Id links(H5Pcreate(H5P_LINK_CREATE), H5Pclose, "H5Pcreate");
  check_hdf5(H5Pset_create_intermediate_group(links, 1), "H5Pset_create_intermediate_group");
  const Hdf5Id creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "H5Pcreate");
  check_hdf5(H5Pset_obj_track_times(creation, false), "H5Pset_obj_track_times");  // the same bytes at any hour
  const Hdf5Id space(H5Screate_simple(shape.rank(), extents.data(), nullptr), H5Sclose, "H5Screate_simple");
  const Hdf5Id data(H5Dcreate2(file_, name.c_str(), H5T_IEEE_F32LE, space, links, creation, H5P_DEFAULT), H5Dclose,
                    "H5Dcreate");
  check_hdf5(H5Dwrite(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), "writing a checkpoint array");
}

void ArrayWriter::arrays(const std::string& group, const std::vector<NamedArray>& arrays) {
  std::string names;
  for (const auto& item : arrays) {
    array(group + "/" + item.name, item.shape, item.values.data());
    names += item.name + "\n";
  }
  attribute(group, names);
}

void ArrayWriter::attribute(const std::string& name, const std::string& value) {
  const Hdf5Id type(H5Tcopy(H5T_C_S1), H5Tclose, "H5Tcopy");
  check_hdf5(H5Tset_size(type, value.size() + 1), "H5Tset_size");
  const Hdf5Id space(H5Screate(H5S_SCALAR), H5Sclose, "H5Screate");
  const Hdf5Id attribute(H5Acreate2(file_, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose, "H5Acreate");
  check_hdf5(H5Awrite(attribute, type, value.c_str()), "H5Awrite");
}

ArrayReader::ArrayReader(const std::filesystem::path& path)
    : path_(path.string()),
      file_(quietly([](const char* p) { return H5Fopen(p, H5F_ACC_RDONLY, H5P_DEFAULT); }, path), H5Fclose,
            ("opening " + path.string()).c_str()) {}

NamedArray ArrayReader::array(const std::string& name) const {
  const Hdf5Id data(H5Dopen2(file_, name.c_str(), H5P_DEFAULT), H5Dclose,
                    ("opening array " + name + " of " + path_).c_str());
  const Hdf5Id space(H5Dget_space(data), H5Sclose, "H5Dget_space");
  const int rank = H5Sget_simple_extent_ndims(space);
  require(rank >= 0 && rank <= Shape::kMaxRank, "array {} of {} has {} dimensions (damaged?)", name, path_, rank);
  std::array<hsize_t, Shape::kMaxRank> extents{};
  check_hdf5(H5Sget_simple_extent_dims(space, extents.data(), nullptr), "H5Sget_simple_extent_dims");
  const hssize_t size = H5Sget_simple_extent_npoints(space);
  require(size >= 0 && size < kLargestArray, "array {} of {} has {} elements (damaged?)", name, path_, size);

  NamedArray result{.name = name, .shape = {}, .values = std::vector<float>(static_cast<std::size_t>(size))};
  const auto extent = [&](std::size_t axis) { return static_cast<std::int64_t>(extents[axis]); };
  switch (rank) {
    case 1: result.shape = {extent(0)}; break;
    case 2: result.shape = {extent(0), extent(1)}; break;
    case 3: result.shape = {extent(0), extent(1), extent(2)}; break;
    case 4: result.shape = {extent(0), extent(1), extent(2), extent(3)}; break;
    default: break;
  }
  check_hdf5(H5Dread(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, result.values.data()),
             ("reading array " + name + " of " + path_).c_str());
  return result;
}

std::vector<NamedArray> ArrayReader::arrays(const std::string& group) const {
  const std::string names = attribute(group);
  std::vector<NamedArray> result;
  for (std::size_t begin = 0; begin < names.size();) {
    const std::size_t end = std::min(names.find('\n', begin), names.size());
    const std::string name = names.substr(begin, end - begin);
    result.push_back(array(fmt::format("{}/{}", group, name)));
    result.back().name = name;
    begin = end + 1;
  }
  return result;
}

std::string ArrayReader::attribute(const std::string& name) const {
  const Hdf5Id attribute(H5Aopen(file_, name.c_str(), H5P_DEFAULT), H5Aclose,
                         ("opening attribute " + name + " of " + path_).c_str());
  const Hdf5Id stored(H5Aget_type(attribute), H5Tclose, "H5Aget_type");
  const std::size_t bytes = H5Tget_size(stored);
  require(H5Tget_class(stored) == H5T_STRING && H5Tis_variable_str(stored) == 0 && bytes > 0 && bytes < (64U << 20),
          "attribute {} of {} is no text (damaged?)", name, path_);
  std::string value(bytes, '\0');
  check_hdf5(H5Aread(attribute, stored, value.data()), "H5Aread");
  value.resize(std::min(value.find('\0'), value.size()));
  return value;
}

}  // namespace brigade::training
