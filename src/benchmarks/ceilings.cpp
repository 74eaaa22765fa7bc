// Each probe is a short piece of work that all threads start together; the fastest of many pieces
// counts, because whatever disturbs a piece only makes it slower. The threads are the standard
// library's: a probe that ran on the kernels' own thread pool would share its faults.
#include "ceilings.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#include "brigade/core/bf16.hpp"
#include "brigade/core/clock.hpp"
#include "brigade/core/error.hpp"
#include "brigade/core/memory.hpp"
#include "brigade/core/processors.hpp"

namespace brigade::benchmarks {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

// Enough independent chains to hide the latency of an FMA (4 cycles, up to 4 a cycle), few enough to stay in registers.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kChains = 24;
#else
constexpr int kChains = 12;
#endif

using Vec = float __attribute__((vector_size(4 * kLanes)));

// Seconds of the fastest piece. Each thread calls make_piece() once, which gives what it runs in every piece: so
// memory belongs to the thread that uses it.
template <class MakePiece>
double fastest_piece_s(int threads, int pieces, const MakePiece& make_piece) {
  std::barrier together(threads);
  double fastest = std::numeric_limits<double>::infinity();
  const auto work = [&](int thread) {
    auto piece = make_piece();
    for (int p = 0; p < pieces; ++p) {
      together.arrive_and_wait();
      const double start = now_s();
      piece();
      together.arrive_and_wait();
      if (thread == 0) fastest = std::min(fastest, now_s() - start);
    }
  };
  std::vector<std::jthread> others;
  for (int thread = 1; thread < threads; ++thread)
    others.emplace_back([&work, thread] {
      unpin_this_thread();
      work(thread);
    });
  work(0);
  others.clear();  // joins
  return fastest;
}

// Whether all chains have counted, after `rounds` of x = step(x), which adds `gain`: exactly, below 2^24.
template <class Step>
__attribute__((noinline)) bool chains_count(std::int64_t rounds, float gain, const Step step) {
  Vec chains[kChains];
  for (int c = 0; c < kChains; ++c) chains[c] = Vec{} + static_cast<float>(c);
  for (std::int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 32
    for (int c = 0; c < kChains; ++c) chains[c] = step(chains[c]);
  bool right = true;
  for (int c = 0; c < kChains; ++c)
    for (int lane = 0; lane < kLanes; ++lane)
      right = right && chains[c][lane] == static_cast<float>(rounds) * gain + static_cast<float>(c);
  return right;
}

// Of `threads` threads that run steps which make_step() gives, of so many operations a lane.
template <class MakeStep>
double flops_per_s(int threads, Probe probe, int flops_of_lane, float gain, const MakeStep& make_step) {
  constexpr std::int64_t kRounds = 1 << 20;  // some 10 ms
  const int pieces = probe == Probe::thorough ? 25 : 4;
  std::atomic<bool> right = true;
  const double seconds = fastest_piece_s(threads, pieces, [&] {
    return [&] {
      if (!chains_count(kRounds, gain, make_step())) right = false;
    };
  });
  require<std::runtime_error>(
      right, "the probe of arithmetic counted wrongly (its sums are exact). Is the processor or the compiler faulty?");
  return static_cast<double>(flops_of_lane) * kLanes * kChains * static_cast<double>(kRounds) * threads / seconds;
}

// Floats of each array and thread: the arrays together are several times the last-level cache a thread can reach
// (virtual machines may report more than they have, hence the limit).
std::size_t array_floats(int threads) {
  const long cache = std::max(0L, sysconf(_SC_LEVEL3_CACHE_SIZE));
  const std::size_t all = std::clamp<std::size_t>(2 * static_cast<std::size_t>(cache), 64U << 20, 128U << 20);
  return std::max<std::size_t>(8U << 20, all / static_cast<std::size_t>(threads)) / sizeof(float);
}

}  // namespace

double measure_fma_flops_per_s(int threads, Probe probe) {
  volatile float one = 1;  // the compiler must not know
  return flops_per_s(threads, probe, 2, 1, [&] {
    const Vec factor = Vec{} + one, term = Vec{} + one;
    return [factor, term](Vec x) { return x * factor + term; };
  });
}

double measure_bf16_flops_per_s([[maybe_unused]] int threads, [[maybe_unused]] Probe probe) {
#if defined(__AVX512BF16__)
  volatile std::uint32_t ones = Bf16(1).bits * 0x10001U;
  return flops_per_s(threads, probe, 4, 2, [&] {
    const auto pairs = (__m512bh)_mm512_set1_epi32(static_cast<int>(ones));
    return [pairs](Vec x) { return (Vec)_mm512_dpbf16_ps((__m512)x, pairs, pairs); };
  });
#else
  return 0;
#endif
}

Bandwidth measure_bandwidth(int threads, Probe probe) {
  const int pieces = probe == Probe::thorough ? 9 : 3;
  constexpr float kFactor = 3;
  const std::size_t n = array_floats(threads);
  std::atomic<bool> right = true;

  const auto make_arrays = [n](float b, float c) {
    std::vector<Buffer> arrays;
    for (const float value : {0.0F, b, c}) {
      arrays.emplace_back(host_memory(), n * sizeof(float));
      std::fill_n(arrays.back().as<float>(), n, value);
    }
    return arrays;
  };
  const double copy_s = fastest_piece_s(threads, pieces, [&] {
    return [&right, n, arrays = make_arrays(5, 0)] {
      std::memcpy(arrays[0].data(), arrays[1].data(), n * sizeof(float));
      if (arrays[0].as<float>()[n - 1] != 5) right = false;
    };
  });
  const double triad_s = fastest_piece_s(threads, pieces, [&] {
    return [&right, n, arrays = make_arrays(1, 2)] {
      float* const a = arrays[0].as<float>();
      const float* const b = arrays[1].as<float>();
      const float* const c = arrays[2].as<float>();
#pragma GCC ivdep
      for (std::size_t i = 0; i < n; ++i) a[i] = b[i] + kFactor * c[i];
      if (a[n - 1] != 7) right = false;
    };
  });
  require<std::runtime_error>(right, "the probe of memory read back what it had not written. Is the memory faulty?");
  const auto moved = static_cast<double>(n * sizeof(float)) * threads;
  return {.copy_bytes_per_s = 2 * moved / copy_s, .triad_bytes_per_s = 3 * moved / triad_s};
}

Ceilings measure_arithmetic(int threads, Probe probe, network::Precision precision) {
  return {.flops_per_s = measure_fma_flops_per_s(threads, probe),
          .bf16_flops_per_s = precision == network::Precision::bf16 ? measure_bf16_flops_per_s(threads, probe) : 0};
}

Ceilings measure_ceilings(int threads, Probe probe, network::Precision precision) {
  Ceilings ceilings = measure_arithmetic(threads, probe, precision);
  ceilings.bandwidth = measure_bandwidth(threads, probe);
  return ceilings;
}

Ceilings better_of(const Ceilings& before, const Ceilings& after) {
  const auto& a = before.bandwidth;
  const auto& b = after.bandwidth;
  return {.flops_per_s = std::max(before.flops_per_s, after.flops_per_s),
          .bf16_flops_per_s = std::max(before.bf16_flops_per_s, after.bf16_flops_per_s),
          .bandwidth = {.copy_bytes_per_s = std::max(a.copy_bytes_per_s, b.copy_bytes_per_s),
                        .triad_bytes_per_s = std::max(a.triad_bytes_per_s, b.triad_bytes_per_s)}};
}

}  // namespace brigade::benchmarks
