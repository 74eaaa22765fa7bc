#include "ops/support.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <span>

#include "brigade/core/checksum.hpp"
#include "brigade/core/random.hpp"
#include "brigade/host/backend.hpp"

namespace brigade::tests {
namespace {

std::unique_ptr<ops::Backend> the_backend;

float random_value(std::uint64_t seed, std::int64_t i) {
  return to_uniform(random_u32({.seed = seed, .purpose = Purpose::synthetic_data}, static_cast<std::uint64_t>(i)));
}

}  // namespace

ops::Backend& backend() { return *the_backend; }

Tensor::Tensor(const Shape& s, std::int64_t row_pitch)
    : shape(s),
      pitch(row_pitch == 0 ? s.back() : row_pitch),
      values(static_cast<std::size_t>(rows() * pitch), std::numeric_limits<float>::quiet_NaN()) {}

Tensor::Tensor(const oracle::Array& array, std::int64_t row_pitch) : Tensor(array.shape, row_pitch) {
  for (std::int64_t i = 0; i < shape.size(); ++i) (*this)[i] = static_cast<float>(array[i]);
}

float& Tensor::operator[](std::int64_t i) {
  return values[static_cast<std::size_t>(i / shape.back() * pitch + i % shape.back())];
}

Tensor random_tensor(const Shape& shape, std::uint64_t seed, float low, float high, std::int64_t pitch) {
  Tensor tensor(shape, pitch);
  for (std::int64_t i = 0; i < shape.size(); ++i) tensor[i] = low + (high - low) * random_value(seed, i);
  return tensor;
}

oracle::Array random_array(const Shape& shape, std::uint64_t seed, double low, double high) {
  oracle::Array array(shape);
  for (std::int64_t i = 0; i < shape.size(); ++i) array[i] = low + (high - low) * random_value(seed, i);
  return array;
}

oracle::Array to_array(const Tensor& tensor) {
  oracle::Array array(tensor.shape);
  for (std::int64_t i = 0; i < array.size(); ++i) array[i] = tensor[i];
  return array;
}

void expect_near(const Tensor& actual, const oracle::Array& expected, double error, const char* what) {
  ASSERT_EQ(to_string(actual.shape), to_string(expected.shape)) << what;
  fingerprint(actual.values.data(), actual.values.size() * sizeof(float));
  double largest = 0, worst = -1;
  std::int64_t where = 0;
  for (std::int64_t i = 0; i < expected.size(); ++i) {
    if (std::isfinite(expected[i])) largest = std::max(largest, std::abs(expected[i]));
    const bool same = actual[i] == expected[i] || (std::isnan(actual[i]) && std::isnan(expected[i]));
    double difference = same ? 0 : std::abs(actual[i] - expected[i]);
    if (std::isnan(difference)) difference = std::numeric_limits<double>::infinity();
    if (difference > worst) worst = difference, where = i;
  }
  EXPECT_LE(worst, error * largest) << what << ": element " << where << " of " << to_string(actual.shape) << " is "
                                    << actual[where] << ", should be " << expected[where] << " (largest " << largest
                                    << ")";
  for (std::int64_t row = 0; row < actual.rows(); ++row)
    for (std::int64_t i = actual.shape.back(); i < actual.pitch; ++i)
      ASSERT_TRUE(std::isnan(actual.values[static_cast<std::size_t>(row * actual.pitch + i)]))
          << what << ": the gap after row " << row << " was written";
}

void fingerprint(const void* data, std::size_t bytes) {
  static const char* path = std::getenv("BRIGADE_TEST_FINGERPRINTS");
  if (path == nullptr) return;
  static std::FILE* file = std::fopen(path, "w");
  const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
  std::fprintf(file, "%s.%s %08x\n", test->test_suite_name(), test->name(),
               crc32c({static_cast<const std::byte*>(data), bytes}));
  std::fflush(file);
}

void expect_gradient(const std::function<oracle::Array(const oracle::Array& x)>& f, const oracle::Array& x,
                     const oracle::Array& dy, const oracle::Array& dx, double error) {
  constexpr double kStep = 1e-5;
  ASSERT_EQ(to_string(x.shape), to_string(dx.shape));
  double largest = 0;
  for (const double value : dx.values) largest = std::max(largest, std::abs(value));
  ASSERT_GT(largest, 0) << "a gradient of zero proves nothing";
  for (std::int64_t i = 0; i < x.size(); ++i) {
    oracle::Array above = x, below = x;
    above[i] += kStep;
    below[i] -= kStep;
    const oracle::Array high = f(above), low = f(below);
    ASSERT_EQ(to_string(high.shape), to_string(dy.shape));
    double derivative = 0;
    for (std::int64_t k = 0; k < dy.size(); ++k) derivative += dy[k] * (high[k] - low[k]) / (2 * kStep);
    EXPECT_NEAR(dx[i], derivative, error * largest) << "element " << i;
  }
}

}  // namespace brigade::tests

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const char* threads = std::getenv("BRIGADE_TEST_THREADS");
  const brigade::host::Runtime runtime(threads == nullptr ? 2 : std::atoi(threads));
  brigade::tests::the_backend = brigade::host::make_backend();
  const int failed = RUN_ALL_TESTS();
  brigade::tests::the_backend.reset();
  return failed;
}
