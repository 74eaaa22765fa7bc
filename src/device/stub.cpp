// What stands in for room `device` in a build without CUDA.
#include "brigade/core/error.hpp"
#include "brigade/device/backend.hpp"

namespace brigade::device {

std::unique_ptr<ops::Backend> make_backend() {
  throw NotCompiled("this brigade has no GPU support (it was built without CUDA). Use --backend host?");
}

}  // namespace brigade::device
