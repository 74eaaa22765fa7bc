// An executor on each backend, and what tests ask of it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "backends.hpp"
#include "support.hpp"

namespace brigade::network {

class ExecutorTest : public ::testing::TestWithParam<std::string> {
 protected:
  ops::Backend& backend() { return tests::backend_named(GetParam()); }
  std::vector<float> read(const ConstTensorView& view) { return tests::read(backend(), view); }
  void write(const TensorView& view, const std::vector<float>& values) { tests::write(backend(), view, values); }
  // Everything on.
  Passes all_passes() const {
    Passes all;
    for (const PassName& pass : pass_names()) all.*pass.enabled = true;
    return all;
  }

  // The gradients (without header and statistics) of a micro-batch.
  std::vector<float> gradients(Executor& executor, const MicroBatch& batch, float scale) {
    executor.forward(batch);
    executor.backward(scale, {});
    std::vector<float> all = read(executor.reduction());
    all.erase(all.begin(), all.begin() + executor.gradients_offset());
    return all;
  }
};

inline void expect_near(const std::vector<float>& actual, const std::vector<float>& expected, double error) {
  ASSERT_EQ(actual.size(), expected.size());
  double largest = 0;
  for (const float value : expected) largest = std::max<double>(largest, std::abs(value));
  for (std::size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], error * largest) << i;
}

inline constexpr auto name_of_backend = [](const auto& backend) { return backend.param; };

}  // namespace brigade::network
