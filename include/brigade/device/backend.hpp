/// The GPU backend: CUDA and cuDNN. This version has none: make_backend() throws NotCompiled.
#pragma once

#include <memory>

#include "brigade/ops/backend.hpp"

namespace brigade::device {

std::unique_ptr<ops::Backend> make_backend();

}  // namespace brigade::device
