#include "backends.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "brigade/host/backend.hpp"
#include "reference_backend.hpp"

namespace brigade::tests {
namespace {

struct Backends {
  ReferenceBackend reference;
  host::Runtime runtime{2};
  std::unique_ptr<ops::Backend> host = host::make_backend();
};
std::unique_ptr<Backends> all;

// Kokkos starts before the first test and ends before main does.
class BackendsEnvironment final : public ::testing::Environment {
  void SetUp() override { all = std::make_unique<Backends>(); }
  void TearDown() override { all.reset(); }
};
[[maybe_unused]] const auto* const environment = ::testing::AddGlobalTestEnvironment(new BackendsEnvironment);

}  // namespace

std::vector<std::string> backend_names() { return {"reference", "host"}; }

ops::Backend& backend_named(const std::string& name) {
  if (name == "reference") return all->reference;
  return *all->host;
}

}  // namespace brigade::tests
