// Dropout. The mask is recomputed from its Philox counters wherever it is needed, so it is never stored, and backward
// is the same call. Memory passes: reads 1, writes 1.
//
// The generator is the cost, so it runs in vectors: a lane of 64 bits is a Philox block, and holds one of its four
// words in the lower half. The upper half may hold anything, because the 32 x 32 -> 64 bit product ignores it; then a
// round is two products, two shifts and four exclusive ors for kLanes / 2 blocks.
#include "brigade/ops/dropout.hpp"

#include <cmath>

#include "host_backend.hpp"
#include "lanes.hpp"

namespace brigade::host {
namespace {

constexpr int kBlocks = kLanes / 2;   // Philox blocks in a vector
constexpr std::int64_t kDraws = 256;  // at a time: a few L1 lines
using Words = std::uint64_t __attribute__((vector_size(4 * kLanes)));
using Draws = std::uint32_t __attribute__((vector_size(4 * kLanes)));

// The product of the lower halves.
inline Words multiply(Words a, std::uint64_t b) {
#if defined(__AVX512F__)
  // (GCC 12 warns about the form without a mask.)
  return (Words)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, _mm512_set1_epi64(static_cast<std::int64_t>(b)));
#else
  return (a & 0xFFFFFFFFULL) * b;
#endif
}

// random_block() of core/random.hpp for kBlocks neighbours: draws 4 * first_block, 4 * first_block + 1, ...
inline void draw_vector(const RandomKey& key, std::uint64_t first_block, std::uint32_t* draws) {
  Words block{};
  for (int i = 0; i < kBlocks; ++i) block[i] = first_block + static_cast<unsigned>(i);
  const std::uint64_t purpose = static_cast<std::uint64_t>(key.purpose) << 24;
  Words c0 = block, c1 = (block >> 32) ^ purpose, c2 = Words{} + key.stream, c3 = Words{} + key.position;
  std::uint64_t k0 = key.seed & 0xFFFFFFFF, k1 = (key.seed >> 32) ^ purpose;
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
    const Words product0 = multiply(c0, 0xD2511F53), product1 = multiply(c2, 0xCD9E8D57);
    c0 = (product1 >> 32) ^ c1 ^ k0;
    c1 = product1;
    c2 = (product0 >> 32) ^ c3 ^ k1;
    c3 = product0;
  }
  const Words first = (c0 & 0xFFFFFFFF) | (c1 << 32), second = (c2 & 0xFFFFFFFF) | (c3 << 32);
  std::uint64_t pairs[2 * kBlocks];
  for (int i = 0; i < kBlocks; ++i) {
    pairs[2 * i] = first[i];
    pairs[2 * i + 1] = second[i];
  }
  std::memcpy(draws, pairs, sizeof pairs);
}

template <class T>
void apply_as(const ops::Dropout& op, const ops::Dropout::Apply& t) {
  const T* all_x = t.x.as<T>();
  T* all_y = t.y.as<T>();
  // to_uniform(draw) < rate, in integers: (draw >> 8) * 2^-24 < rate exactly where draw < ceil(rate * 2^24) << 8.
  const Draws threshold = Draws{} + (static_cast<std::uint32_t>(std::ceil(op.rate * 0x1p24)) << 8);
  const Vec scale = broadcast(1 / (1 - op.rate));
  const auto first = static_cast<std::uint64_t>(t.mask.first_sample * t.x.shape.sample_size());
  const std::int64_t channels = t.x.shape.back();
  for_each_run(t.x.shape, t.x.dense() && t.y.dense(), [&](std::int64_t row, std::int64_t column, std::int64_t count) {
    const T* x = all_x + row * t.x.pitch + column;
    T* y = all_y + row * t.y.pitch + column;
    const std::uint64_t index = first + static_cast<std::uint64_t>(row * channels + column);
    std::uint32_t draws[kDraws + kLanes] = {};  // a last, partial vector reads past the draws
    // Elements done at once; only the first lot may begin inside of a block.
    std::int64_t lot = std::min(count, kDraws - static_cast<std::int64_t>(index % 4));
    for (std::int64_t done = 0; done < count; done += lot, lot = std::min(count - done, kDraws)) {
      const std::uint64_t at = index + static_cast<std::uint64_t>(done);
      const auto needed = static_cast<std::int64_t>(at % 4) + lot;
      for (std::int64_t i = 0; i < needed; i += 2 * kLanes)
        draw_vector(t.mask.key, (at + static_cast<std::uint64_t>(i)) / 4, draws + i);
      over_lanes(lot, [&](std::int64_t i, auto lanes) {
        Draws draw;
        std::memcpy(&draw, draws + at % 4 + i, sizeof draw);
        lanes.store(y + done + i, where(draw >= threshold, lanes.load(x + done + i) * scale));
      });
    }
  });
}

}  // namespace

void HostBackend::apply(const ops::Dropout& op, const ops::Dropout::Apply& t) {
  EXPECT(t.x.shape == t.y.shape && op.rate >= 0 && op.rate < 1);
  with_element(t.x.dtype, [&](auto element) { apply_as<typename decltype(element)::Type>(op, t); });
}

}  // namespace brigade::host
