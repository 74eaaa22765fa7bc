#include "bias.hpp"

#include <algorithm>

#include "activation.hpp"
#include "parallel.hpp"

namespace brigade::host {
namespace {

constexpr int kVectors = 4;                   // columns of a stripe, in registers: their sums stay there
constexpr std::int64_t kSliceFloats = 32768;  // 128 KiB of dy

template <class T>
struct Rows {
  const T* y;  // read only with an activation
  std::int64_t y_pitch;
  T* dy;
  std::int64_t dy_pitch;
  std::int64_t first, last;
};

template <int kWidth, ops::Activation kBy, class T, class Lanes>
void mask_and_sum_stripe(const Rows<T>& rows, std::int64_t column, Lanes lanes, float* sums) {
  Vec sum[kWidth] = {};
  for (std::int64_t r = rows.first; r < rows.last; ++r) {
    T* dy = rows.dy + r * rows.dy_pitch + column;
#pragma GCC unroll 4
    for (int j = 0; j < kWidth; ++j) {
      Vec gradient = lanes.load(dy + j * kLanes);
      if constexpr (kBy != ops::Activation::none) {
        gradient = masked<kBy>(gradient, lanes.load(rows.y + r * rows.y_pitch + column + j * kLanes));
        lanes.store(dy + j * kLanes, gradient);
      }
      sum[j] += gradient;
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < kWidth; ++j) lanes.store(sums + column + j * kLanes, sum[j]);
}

}  // namespace

const float* pad_bias(HostBackend& backend, const ConstTensorView& bias) {
  if (!bias) return nullptr;
  const std::int64_t columns = bias.shape.size(), padded = (columns + kLanes - 1) / kLanes * kLanes;
  float* out = backend.scratch(Scratch::padded_bias, padded);
  std::fill(std::copy_n(bias.f32(), columns, out), out + padded, 0.0F);
  return out;
}

void mask_and_sum(HostBackend& backend, ops::Activation activation, const ConstTensorView& y, const TensorView& dy,
                  const TensorView& dbias) {
  const bool mask = activation != ops::Activation::none;
  if (!mask && !dbias) return;
  const std::int64_t columns = dy.shape.back(), n_rows = dy.shape.size() / columns;
  const std::int64_t slice_rows = std::max<std::int64_t>(1, kSliceFloats / columns);
  const std::int64_t slices = (n_rows + slice_rows - 1) / slice_rows;
  float* partial = backend.scratch(Scratch::partial_sums, std::max<std::int64_t>(1, slices) * columns);
  with_element(dy.dtype, [&](auto element) {
    using T = typename decltype(element)::Type;
    for_each_part(slices, [&](std::int64_t slice) {
      const Rows<T> rows{mask ? y.as<T>() : nullptr,
                         y.pitch,
                         dy.as<T>(),
                         dy.pitch,
                         slice * slice_rows,
                         std::min(n_rows, (slice + 1) * slice_rows)};
      float* sums = partial + slice * columns;
      with_activation(activation, [&](auto by) {
        std::int64_t c = 0;
        for (; c + kVectors * kLanes <= columns; c += kVectors * kLanes)
          mask_and_sum_stripe<kVectors, by()>(rows, c, Whole{}, sums);
        for (; c + kLanes <= columns; c += kLanes) mask_and_sum_stripe<1, by()>(rows, c, Whole{}, sums);
        if (c < columns) mask_and_sum_stripe<1, by()>(rows, c, First{static_cast<int>(columns - c)}, sums);
      });
    });
  });
  if (!dbias) return;
  float* out = dbias.f32();
  std::fill_n(out, columns, 0.0F);
  for (std::int64_t slice = 0; slice < slices; ++slice)
    for (std::int64_t c = 0; c < columns; ++c) out[c] += partial[slice * columns + c];
}

}  // namespace brigade::host
