/// One thread at a time in HDF5.
#pragma once

#include <mutex>

namespace brigade::dataset {

/// HDF5 is usually built without thread safety, and a BatchStream may read through it on a thread of its own.
/// Whoever calls HDF5 in the same process holds this lock; the same thread may take it again.
[[nodiscard]] std::unique_lock<std::recursive_mutex> lock_hdf5();

}  // namespace brigade::dataset
