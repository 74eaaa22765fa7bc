// Named float arrays and attributes in an HDF5 file; the little of HDF5 that checkpoints need.
#pragma once

#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "brigade/dataset/hdf5_lock.hpp"
#include "brigade/training/checkpoint.hpp"

namespace brigade::training {

// An HDF5 identifier that closes itself.
class Hdf5Id {
 public:
  Hdf5Id(hid_t id, herr_t (*close)(hid_t), const char* what);  // throws DataError with HDF5's text if id < 0
  ~Hdf5Id() { close_(id_); }
  Hdf5Id(const Hdf5Id&) = delete;
  Hdf5Id& operator=(const Hdf5Id&) = delete;
  operator hid_t() const { return id_; }  // NOLINT(google-explicit-constructor): made to be passed to H5*

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

class ArrayWriter {
 public:
  explicit ArrayWriter(const std::filesystem::path& path);
  // `name` may hold slashes: groups are made.
  void array(const std::string& name, const Shape& shape, const float* values);
  void arrays(const std::string& group, const std::vector<NamedArray>& arrays);
  void attribute(const std::string& name, const std::string& value);

 private:
  std::unique_lock<std::recursive_mutex> lock_ = dataset::lock_hdf5();  // a reading thread may be in HDF5, too
  Hdf5Id file_;
};

class ArrayReader {
 public:
  explicit ArrayReader(const std::filesystem::path& path);
  NamedArray array(const std::string& name) const;
  // All arrays below the group, in the order they were written; names are relative to it.
  std::vector<NamedArray> arrays(const std::string& group) const;
  std::string attribute(const std::string& name) const;

 private:
  std::unique_lock<std::recursive_mutex> lock_ = dataset::lock_hdf5();
  std::string path_;
  Hdf5Id file_;
};

}  // namespace brigade::training
