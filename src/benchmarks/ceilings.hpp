// What this machine can do at best, measured in the same run as what is compared with it: other
// tenants, power limits and virtual machines make data sheets useless.
#pragma once

#include <cstdint>

#include "brigade/network/precision.hpp"

namespace brigade::benchmarks {

// How many pieces a probe tries: enough for one of them to be undisturbed, or few, to be repeated between other
// measurements.
enum class Probe : std::uint8_t { thorough, quick };

// Multiplications and additions per second of `threads` threads that do nothing but fused
// multiply-adds on full vectors held in registers.
double measure_fma_flops_per_s(int threads, Probe probe = Probe::thorough);
// The same of sums of products of two pairs of bf16 (VDPBF16PS); 0 unless compiled for a processor with AVX512_BF16,
// as the kernels then multiply floats, too.
double measure_bf16_flops_per_s(int threads, Probe probe = Probe::thorough);

// Bytes per second from and to memory, counted as STREAM does: what the program reads and writes, not the lines
// a cache fetches before it overwrites them (McCalpin, "Memory bandwidth and machine balance", 1995).
struct Bandwidth {
  double copy_bytes_per_s = 0;   // a = b
  double triad_bytes_per_s = 0;  // a = b + s c
  double best_bytes_per_s() const {
    return copy_bytes_per_s > triad_bytes_per_s ? copy_bytes_per_s : triad_bytes_per_s;
  }
};
Bandwidth measure_bandwidth(int threads, Probe probe = Probe::thorough);

// All at one moment.
struct Ceilings {
  double flops_per_s = 0;       // of fused multiply-adds of floats
  double bf16_flops_per_s = 0;  // of VDPBF16PS; 0: there is none, or nobody asked
  Bandwidth bandwidth = {};

  // The best that kernels of this precision can do.
  double peak_flops_per_s(network::Precision precision) const {
    return peak_is_bf16(precision) ? bf16_flops_per_s : flops_per_s;
  }
  // Whether that peak is VDPBF16PS's.
  bool peak_is_bf16(network::Precision precision) const {
    return precision == network::Precision::bf16 && bf16_flops_per_s > 0;
  }
};
// That of bf16 only for Precision::bf16. Without the bandwidth: of arithmetic alone.
Ceilings measure_arithmetic(int threads, Probe probe, network::Precision precision);
Ceilings measure_ceilings(int threads, Probe probe, network::Precision precision = network::Precision::fp32);
// What was possible between two moments: whatever disturbs a probe only makes it slower, so the better one counts.
Ceilings better_of(const Ceilings& before, const Ceilings& after);

}  // namespace brigade::benchmarks
