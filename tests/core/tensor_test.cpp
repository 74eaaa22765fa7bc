// Shapes, views of tensors, and the memory behind them.
#include "brigade/core/tensor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include "brigade/core/bf16.hpp"
#include "brigade/core/memory.hpp"

namespace brigade {
namespace {

TEST(Bf16, RoundsToNearestEven) {
  const struct {
    float value, rounded;
  } cases[] = {{0.0F, 0.0F},
               {-1.5F, -1.5F},
               {1.0F + 0x1p-8F, 1.0F},                           // a tie: to even, down
               {1.0F + 0x1.8p-7F, 1.0F + 0x1p-6F},               // a tie: to even, up
               {0x1.010002p0F, 0x1.02p0F},                       // just above a tie
               {-0x1.00fffep0F, -1.0F},                          // just below
               {0x1.fffp0F, 2.0F},                               // into the next power of two
               {0x1p-140F, 0x1p-133F * 0},                       // below the smallest
               {std::numeric_limits<float>::max(), HUGE_VALF}};  // above the largest
  for (const auto& c : cases) EXPECT_EQ(static_cast<float>(Bf16(c.value)), c.rounded) << c.value;
  EXPECT_TRUE(std::signbit(static_cast<float>(Bf16(-0.0F))));
}

TEST(Bf16, EveryValueSurvives) {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    Bf16 value;
    value.bits = static_cast<std::uint16_t>(bits);
    const auto wide = static_cast<float>(value);
    if (std::isnan(wide))
      ASSERT_TRUE(std::isnan(static_cast<float>(Bf16(wide)))) << bits;
    else
      ASSERT_EQ(Bf16(wide).bits, bits);
  }
  const auto quiet = std::bit_cast<float>(0x7F800001U);  // a NaN whose only bit lies in the lower half
  EXPECT_TRUE(std::isnan(static_cast<float>(Bf16(quiet))));
}

TEST(Shape, CountsElements) {
  struct Case {
    Shape shape;
    std::int64_t size, sample_size, back;
    const char* text;
  };
  for (const auto& [shape, size, sample_size, back, text] :
       {Case{{}, 1, 1, 1, "[]"}, Case{{7}, 7, 1, 7, "[7]"}, Case{{64, 28, 27, 3}, 145152, 2268, 3, "[64, 28, 27, 3]"},
        Case{{0, 5}, 0, 5, 5, "[0, 5]"}, Case{{1 << 20, 1 << 20}, 1LL << 40, 1 << 20, 1 << 20, "[1048576, 1048576]"}}) {
    EXPECT_EQ(shape.size(), size) << text;
    EXPECT_EQ(shape.sample_size(), sample_size) << text;
    EXPECT_EQ(shape.back(), back) << text;
    EXPECT_EQ(to_string(shape), text);
  }
}

TEST(Shape, ComparesRankAndExtents) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE((Shape{2}), (Shape{2, 0}));
  EXPECT_EQ((Shape{2, 3, 4}).with_batch(9), (Shape{9, 3, 4}));
}

TEST(TensorView, KnowsPitchAndType) {
  float values[12] = {};
  const TensorView dense(values, {3, 4});
  EXPECT_EQ(dense.pitch, 4);
  EXPECT_TRUE(dense.dense());
  EXPECT_EQ(dense.bytes(), 48U);
  const TensorView slice(values, {3, 2}, DType::f32, 4);
  EXPECT_FALSE(slice.dense());
  const ConstTensorView read_only = slice;
  EXPECT_EQ(read_only.f32(), values);
  EXPECT_EQ(read_only.pitch, 4);
  EXPECT_FALSE(TensorView());
  EXPECT_EQ(TensorView(values, {3, 4}, DType::u8).bytes(), 12U);
  EXPECT_EQ(TensorView(values, {3, 4}, DType::bf16).bytes(), 24U);
}

TEST(Buffer, OwnsZeroedAlignedBytes) {
  constexpr std::size_t kBytes = (5U << 20) + 3;
  Buffer buffer(host_memory(), kBytes);
  EXPECT_EQ(buffer.bytes(), kBytes);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0U);
  const auto* bytes = buffer.as<std::uint8_t>();
  EXPECT_TRUE(std::all_of(bytes, bytes + kBytes, [](std::uint8_t byte) { return byte == 0; }));
  void* data = buffer.data();
  const Buffer moved = std::move(buffer);
  EXPECT_EQ(moved.data(), data);
  EXPECT_EQ(Buffer().data(), nullptr);
}

}  // namespace
}  // namespace brigade
