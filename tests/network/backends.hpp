// The backends a network test runs on, by name: "reference" and "host".
#pragma once

#include <string>
#include <vector>

#include "brigade/ops/backend.hpp"

namespace brigade::tests {

std::vector<std::string> backend_names();
/// Lives as long as the program's tests.
ops::Backend& backend_named(const std::string& name);

}  // namespace brigade::tests
