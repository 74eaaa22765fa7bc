#include "panels.hpp"

#include "ceil_div.hpp"
#include "parallel.hpp"

namespace brigade::host {
namespace {

// Rows of kLanes channels of the transpose: out[c][x] = in[x][c] for c < channels <= kLanes and x < columns of the
// panel; columns beyond are 0.
template <Factors kFactors>
void transpose_rows(const float* in, std::int64_t in_pitch, int channels, std::int64_t columns, float* out,
                    int vectors) {
  for (int j = 0; j < vectors; ++j) {
    const auto here = static_cast<int>(std::clamp<std::int64_t>(columns - j * kLanes, 0, kLanes));
    Vec rows[kLanes];
    for (int x = 0; x < kLanes; ++x) {
      const float* row = in + (j * kLanes + x) * in_pitch;
      __builtin_prefetch(row + 2 * kLanes, 0, 2);  // of the next but one call; there are more rows than the hardware's
      rows[x] = x >= here ? Vec{} : channels == kLanes ? load(row) : load_first(row, channels);
    }
    transpose(rows);
    if constexpr (kFactors == Factors::floats) {
      for (int c = 0; c < channels; ++c) store(out + (c * vectors + j) * kLanes, rows[c]);
    } else {
      for (int c = 0; c < channels; c += 2)
        store_row_of_pairs(out + c / 2 * kPairHalves * vectors * kLanes, vectors, j, narrow(rows[c]),
                           narrow(rows[c + 1]));
    }
  }
}

}  // namespace

Weights pack(const float* w, std::int64_t taps, std::int64_t channels, const Panels& panels, float* packed) {
  const std::int64_t columns = panels.columns();
  const Weights weights = Weights::packed(packed, taps, channels, panels);
  for_each_part(taps * panels.count(), [&](std::int64_t part) {
    const std::int64_t tap = part / panels.count(), p = part % panels.count();
    const int vectors = panels.vectors(p), last = panels.last_lanes(p);
    const float* in = w + tap * channels * columns + panels.first_column(p);
    float* out = packed + (weights.panel(p) - packed) + tap * weights.tap_step(p);
    for (std::int64_t c = 0; c < channels; ++c, in += columns, out += vectors * kLanes) {
      for (int j = 0; j < vectors - 1; ++j) store(out + j * kLanes, load(in + j * kLanes));
      store(out + (vectors - 1) * kLanes, load_first(in + (vectors - 1) * kLanes, last));
    }
  });
  return weights;
}

Weights pack_pairs(const float* w, std::int64_t taps, std::int64_t pixels, std::int64_t channels, const Panels& panels,
                   float* packed) {
  const std::int64_t columns = panels.columns();
  const Weights weights = Weights::packed_pairs(packed, taps, pixels * pairs(channels), panels);
  // Rows of w are read whole, in the order they lie in: a panel's share of them alone is 4 KiB and more apart.
  constexpr std::int64_t kChannels = 32;
  const std::int64_t parts = ceil_div(channels, kChannels);
  for_each_part(taps * pixels * parts, [&](std::int64_t part) {
    const std::int64_t pixel = part / parts, first = part % parts * kChannels;
    for (std::int64_t c = first; c < std::min(channels, first + kChannels); c += 2) {
      const float* in = w + (pixel * channels + c) * columns;
      const float* next = c + 1 < channels ? in + columns : nullptr;
      for (std::int64_t p = 0; p < panels.count(); ++p) {
        const int vectors = panels.vectors(p), last = panels.last_lanes(p);
        const std::int64_t column = panels.first_column(p);
        float* out = packed + (weights.panel(p) - packed) + (pixel * pairs(channels) + c / 2) * weights.channel_step(p);
        for (int j = 0; j < vectors; ++j) {
          const int lanes = j == vectors - 1 ? last : kLanes;
          const Vec odd = next == nullptr ? Vec{} : load_first(next + column + j * kLanes, lanes);
          store_row_of_pairs(out, vectors, j, narrow(load_first(in + column + j * kLanes, lanes)), narrow(odd));
        }
      }
    }
  });
  return weights;
}

namespace {

template <Factors kFactors>
Weights pack_transposed_as(const float* w, std::span<const std::int32_t> taps, std::int64_t channels,
                           std::int64_t columns, float* packed) {
  const Panels panels(columns);
  const auto n_taps = static_cast<std::int64_t>(taps.size());
  const Weights weights = kFactors == Factors::floats ? Weights::packed(packed, n_taps, channels, panels)
                                                      : Weights::packed_pairs(packed, n_taps, pairs(channels), panels);
  for_each_part(n_taps * panels.count(), [&](std::int64_t part) {
    const std::int64_t t = part / panels.count(), p = part % panels.count();
    const int vectors = panels.vectors(p);
    const std::int64_t first = panels.first_column(p);
    const float* in = w + (taps[static_cast<std::size_t>(t)] * columns + first) * channels;
    float* out = packed + (weights.panel(p) - packed) + t * weights.tap_step(p);
    constexpr int kTogether = kFactors == Factors::floats ? 1 : 2;  // channels of a row
    for (std::int64_t c = 0; c < channels; c += kLanes)
      transpose_rows<kFactors>(in + c, channels, static_cast<int>(std::min<std::int64_t>(kLanes, channels - c)),
                               columns - first, out + c / kTogether * weights.channel_step(p), vectors);
  });
  return weights;
}

}  // namespace

Weights pack_transposed(const float* w, std::span<const std::int32_t> taps, std::int64_t channels, std::int64_t columns,
                        float* packed) {
  return pack_transposed_as<Factors::floats>(w, taps, channels, columns, packed);
}

Weights pack_pairs_transposed(const float* w, std::span<const std::int32_t> taps, std::int64_t channels,
                              std::int64_t columns, float* packed) {
  return pack_transposed_as<Factors::bf16_pairs>(w, taps, channels, columns, packed);
}

}  // namespace brigade::host
