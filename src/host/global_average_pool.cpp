// The mean over an image. Memory passes: forward reads x once; backward writes dx once.
//
// Forward is split by images and stripes of channels, whose sums stay in registers: over a row of the image first,
// then over the rows, which keeps the rounding of large images small.
#include "brigade/ops/global_average_pool.hpp"

#include "host_backend.hpp"
#include "lanes.hpp"

namespace brigade::host {
namespace {

constexpr int kVectors = 4;  // registers of a stripe
constexpr std::int64_t kStripe = kVectors * kLanes;

template <int kWidth, class T, class Lanes>
void average(const T* x, std::int64_t height, std::int64_t width, std::int64_t pitch, Lanes lanes, T* y) {
  Vec total[kWidth] = {};
  for (std::int64_t row = 0; row < height; ++row) {
    Vec sum[kWidth] = {};
    for (std::int64_t column = 0; column < width; ++column, x += pitch)
#pragma GCC unroll 4
      for (int j = 0; j < kWidth; ++j) sum[j] += lanes.load(x + j * kLanes);
#pragma GCC unroll 4
    for (int j = 0; j < kWidth; ++j) total[j] += sum[j];
  }
  const float share = 1 / static_cast<float>(height * width);
#pragma GCC unroll 4
  for (int j = 0; j < kWidth; ++j) lanes.store(y + j * kLanes, share * total[j]);
}

template <class T>
void forward_as(const ops::GlobalAveragePool::Forward& t) {
  const std::int64_t height = t.x.shape[1], width = t.x.shape[2], channels = t.x.shape[3];
  const std::int64_t stripes = (channels + kStripe - 1) / kStripe;
  const T* x = t.x.as<T>();
  T* y = t.y.as<T>();
  for_each_part(t.x.shape[0] * stripes, [&](std::int64_t part) {
    const std::int64_t image = part / stripes, first = part % stripes * kStripe;
    const std::int64_t end = std::min(channels, first + kStripe);
    const T* from = x + image * height * width * t.x.pitch;
    T* to = y + image * t.y.pitch;
    if (end - first == kStripe) return average<kVectors>(from + first, height, width, t.x.pitch, Whole{}, to + first);
    over_lanes(end - first, [&](std::int64_t c, auto lanes) {
      average<1>(from + first + c, height, width, t.x.pitch, lanes, to + first + c);
    });
  });
}

template <class T>
void backward_as(const ops::GlobalAveragePool::Backward& t) {
  const std::int64_t height = t.dx.shape[1], width = t.dx.shape[2], channels = t.dx.shape[3];
  const float share = 1 / static_cast<float>(height * width);
  const T* dy = t.dy.as<T>();
  T* dx = t.dx.as<T>();
  for_each_part(t.dx.shape[0] * height, [&](std::int64_t row) {
    const T* from = dy + row / height * t.dy.pitch;
    for (std::int64_t pixel = row * width; pixel < (row + 1) * width; ++pixel) {
      T* to = dx + pixel * t.dx.pitch;
      over_lanes(channels, [&](std::int64_t c, auto lanes) { lanes.store(to + c, share * lanes.load(from + c)); });
    }
  });
}

}  // namespace

void HostBackend::forward([[maybe_unused]] const ops::GlobalAveragePool& op, const ops::GlobalAveragePool::Forward& t) {
  EXPECT(t.y.shape == op.output_shape(t.x.shape));
  with_element(t.x.dtype, [&](auto element) { forward_as<typename decltype(element)::Type>(t); });
}

void HostBackend::backward([[maybe_unused]] const ops::GlobalAveragePool& op,
                           const ops::GlobalAveragePool::Backward& t) {
  EXPECT(t.dy.shape == op.output_shape(t.dx.shape));
  with_element(t.dx.dtype, [&](auto element) { backward_as<typename decltype(element)::Type>(t); });
}

}  // namespace brigade::host
