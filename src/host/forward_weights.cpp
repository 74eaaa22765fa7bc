#include "forward_weights.hpp"

#include <cstring>

#include "brigade/core/error.hpp"

namespace brigade::host {
namespace {

// Whether the kernels can read w as it stands, and packing would not pay.
bool reads_in_place(const ForwardWeights& f) {
  if (f.factors != Factors::floats || f.columns % kLanes != 0) return false;
  // Rows of 4 KiB apart fall into the same few cache sets, which hurts once they are read again and again.
  const bool few_rows = f.kept == nullptr && f.rows <= 256 && f.columns % 1024 != 0;
  return Panels(f.columns).count() == 1 || few_rows;
}

Panels panels(const ForwardWeights& f) { return Panels(f.columns, widest_panel(f.rows)); }

// k steps of a tap.
std::int64_t steps(const ForwardWeights& f) {
  return f.pixels * (f.factors == Factors::floats ? f.channels : pairs(f.channels));
}

std::int64_t packed_floats(const ForwardWeights& f) {
  return halves_of(f.factors) * Weights::packed_size(f.taps, steps(f), f.columns);
}

void pack_into(const ForwardWeights& f, float* packed) {
  if (f.factors == Factors::floats)
    pack(f.w, f.taps, steps(f), panels(f), packed);
  else
    pack_pairs(f.w, f.taps, f.pixels, f.channels, panels(f), packed);
}

// Debug builds only: kept weights that somebody forgot to clear are found at their first use.
[[maybe_unused]] bool packs_to(HostBackend& backend, const ForwardWeights& f, const float* packed) {
  auto* again = backend.scratch(Scratch::packed_weights, packed_floats(f));
  pack_into(f, again);
  return std::memcmp(again, packed, static_cast<std::size_t>(packed_floats(f)) * sizeof(float)) == 0;
}

const float* packed(HostBackend& backend, const ForwardWeights& f) {
  if (f.kept == nullptr) {
    auto* scratch = backend.scratch(Scratch::packed_weights, packed_floats(f));
    pack_into(f, scratch);
    return scratch;
  }
  // Another number of rows may want other panels: their memory is larger by a float, and so taken for what it is.
  const std::int64_t form = widest_panel(f.rows) == kMaxVectors ? 0 : 1;
  const auto bytes = static_cast<std::size_t>(packed_floats(f) + form) * sizeof(float);
  const auto* kept = static_cast<const float*>(
      f.kept->get(backend.memory(), bytes, [&](void* to) { pack_into(f, static_cast<float*>(to)); }));
  EXPECT(packs_to(backend, f, kept));
  return kept;
}

}  // namespace

Weights weights_for_kernels(HostBackend& backend, const ForwardWeights& f) {
  if (reads_in_place(f)) return Weights::in_place(f.w, steps(f), panels(f));
  const auto layout = f.factors == Factors::floats ? Weights::packed : Weights::packed_pairs;
  return layout(packed(backend, f), f.taps, steps(f), panels(f));
}

}  // namespace brigade::host
