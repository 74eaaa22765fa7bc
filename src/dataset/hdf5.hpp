// HDF5, thinly: an identifier that closes itself, and a check that turns a failed call into a DataError in
// HDF5's own words.
//
// HDF5 is usually built without thread safety. Whatever calls it holds lock_hdf5() (hdf5_lock.hpp), because a
// BatchStream reads on a thread of its own while another one writes a checkpoint.
#pragma once

#include <hdf5.h>

#include <string>
#include <utility>

#include "brigade/core/error.hpp"
#include "brigade/dataset/hdf5_lock.hpp"

namespace brigade::dataset {

// The innermost message of HDF5's error stack.
std::string hdf5_error_text();

// Switches off HDF5's own printing of errors; they are thrown instead.
void silence_hdf5();

// Returns `result`, or throws "problem (HDF5: text)" if it is negative.
template <class Result, class... Args>
Result check_hdf5(Result result, fmt::format_string<Args...> problem, Args&&... args) {
  if (result < 0) [[unlikely]]
    throw DataError(fmt::format("{} (HDF5: {})", fmt::format(problem, std::forward<Args>(args)...), hdf5_error_text()));
  return result;
}

template <herr_t (*Close)(hid_t)>
class Hdf5Id {
 public:
  Hdf5Id() = default;
  explicit Hdf5Id(hid_t id) : id_(id) {}
  Hdf5Id(Hdf5Id&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)) {}
  Hdf5Id& operator=(Hdf5Id&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }
  Hdf5Id(const Hdf5Id&) = delete;
  Hdf5Id& operator=(const Hdf5Id&) = delete;
  ~Hdf5Id() { close(); }

  void close() {
    if (id_ < 0) return;
    const auto lock = lock_hdf5();
    Close(std::exchange(id_, H5I_INVALID_HID));
  }
  operator hid_t() const { return id_; }  // NOLINT(google-explicit-constructor): made to be passed to H5*

 private:
  hid_t id_ = H5I_INVALID_HID;
};

using Hdf5File = Hdf5Id<H5Fclose>;
using Hdf5Dataset = Hdf5Id<H5Dclose>;
using Hdf5Attribute = Hdf5Id<H5Aclose>;
using Hdf5Space = Hdf5Id<H5Sclose>;
using Hdf5Type = Hdf5Id<H5Tclose>;
using Hdf5Properties = Hdf5Id<H5Pclose>;

}  // namespace brigade::dataset
