// What stands in for the GPU backend, which this version does not have.
#include "brigade/core/error.hpp"
#include "brigade/device/backend.hpp"

namespace brigade::device {

std::unique_ptr<ops::Backend> make_backend() {
  throw NotCompiled("this version of Brigade has no GPU backend. Use --backend host?");
}

}  // namespace brigade::device
