// Shapes, views of tensors, and the memory behind them.
#include "brigade/core/tensor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "brigade/core/memory.hpp"

namespace brigade {
namespace {

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
