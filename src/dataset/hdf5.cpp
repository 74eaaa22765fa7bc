#include "hdf5.hpp"

namespace brigade::dataset {

std::unique_lock<std::recursive_mutex> lock_hdf5() {
  static std::recursive_mutex mutex;
  return std::unique_lock(mutex);
}

std::string hdf5_error_text() {
  std::string text;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
        auto& innermost = *static_cast<std::string*>(out);
        if (innermost.empty() && error->desc != nullptr) innermost = error->desc;
        return 0;
      },
      &text);
  return text.empty() ? "no details" : text;
}

void silence_hdf5() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

}  // namespace brigade::dataset
