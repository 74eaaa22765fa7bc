// Dropout. The mask is recomputed from its Philox counters wherever it is needed, so it is never stored, and backward
// is the same call. Memory passes: reads 1, writes 1. The generator is the cost: ten rounds give four draws, and it
// runs in vectors of blocks.
#include "brigade/ops/dropout.hpp"

#include <cmath>

#include "host_backend.hpp"
#include "lanes.hpp"

namespace brigade::host {
namespace {

constexpr int kBlocks = 64;  // Philox blocks at a time: 256 draws, a few L1 lines

// Draws 4 * first_block ... of the stream: random_block() for kBlocks neighbours, written as loops over blocks that
// the compiler vectorises.
void draw(const RandomKey& key, std::uint64_t first_block, std::uint32_t* draws) {
  for (int i = 0; i < kBlocks; ++i) {
    const PhiloxBlock block = random_block(key, first_block + static_cast<std::uint64_t>(i));
    for (int j = 0; j < 4; ++j) draws[4 * i + j] = block[static_cast<std::size_t>(j)];
  }
}

}  // namespace

void HostBackend::apply(const ops::Dropout& op, const ops::Dropout::Apply& t) {
  EXPECT(t.x.shape == t.y.shape && op.rate >= 0 && op.rate < 1);
  const float* all_x = t.x.f32();
  float* all_y = t.y.f32();
  // to_uniform(draw) < rate, in integers: (draw >> 8) * 2^-24 < rate exactly where draw < ceil(rate * 2^24) << 8.
  const auto threshold = static_cast<std::uint32_t>(std::ceil(op.rate * 0x1p24)) << 8;
  const float scale = 1 / (1 - op.rate);
  const auto first = static_cast<std::uint64_t>(t.mask.first_sample * t.x.shape.sample_size());
  const std::int64_t channels = t.x.shape.back();
  for_each_run(t.x.shape, t.x.dense() && t.y.dense(), [&](std::int64_t row, std::int64_t column, std::int64_t count) {
    const float* x = all_x + row * t.x.pitch + column;
    float* y = all_y + row * t.y.pitch + column;
    const std::uint64_t index = first + static_cast<std::uint64_t>(row * channels + column);
    std::uint32_t draws[4 * kBlocks];
    // Elements done at once; only the first lot may begin inside of a block.
    std::int64_t lot = std::min<std::int64_t>(count, 4 * kBlocks - static_cast<std::int64_t>(index % 4));
    for (std::int64_t done = 0; done < count; done += lot, lot = std::min<std::int64_t>(count - done, 4 * kBlocks)) {
      const std::uint64_t at = index + static_cast<std::uint64_t>(done);
      draw(t.mask.key, at / 4, draws);
      const std::uint32_t* draw_of = draws + at % 4;
      for (std::int64_t i = 0; i < lot; ++i) y[done + i] = draw_of[i] >= threshold ? x[done + i] * scale : 0.0F;
    }
  });
}

}  // namespace brigade::host
