// Dense layers on the CPU: convolutions of N images of one pixel, by one tap.
#include <array>

#include "bias.hpp"
#include "conv_product.hpp"
#include "host_backend.hpp"
#include "weight_gradient.hpp"

namespace brigade::host {
namespace {

constexpr std::array<Tap, 1> kOneTap{};
constexpr std::array<std::int32_t, 1> kItsPlace{};

}  // namespace

void HostBackend::forward(const ops::Dense& dense, const ops::Dense::Forward& a) {
  EXPECT(a.y.shape == dense.output_shape(a.x.shape) && a.w.shape == dense.weight_shape() && a.w.dense());
  multiply(*this, {.in = Images<const float>::of(a.x),
                   .out = Images<float>::of(a.y),
                   .images = a.x.shape[0],
                   .taps = kOneTap,
                   .padded = true,
                   .channels = dense.in_features,
                   .columns = dense.out_features,
                   .weights = pack_if_needed(a.w.f32(), 1, dense.in_features, dense.out_features, a.x.shape[0],
                                             [&](std::int64_t n) { return scratch(Scratch::packed_weights, n); }),
                   .bias = pad_bias(*this, a.bias),
                   .activation = dense.activation});
}

void HostBackend::backward(const ops::Dense& dense, const ops::Dense::Backward& a) {
  EXPECT(a.dy.shape == dense.output_shape(a.x.shape) && a.w.shape == dense.weight_shape() && a.w.dense());
  mask_and_sum(*this, dense.activation, a.y, a.dy, a.dbias);
  const auto dy = Images<const float>::of(ConstTensorView(a.dy));
  if (a.dw) {
    EXPECT(a.dw.shape == dense.weight_shape() && a.dw.dense());
    add_up(*this, {.x = Images<const float>::of(a.x),
                   .dy = dy,
                   .images = a.x.shape[0],
                   .taps = kOneTap,
                   .channels = dense.in_features,
                   .columns = dense.out_features,
                   .dw = a.dw.f32()});
  }
  if (a.dx) {
    float* packed = scratch(Scratch::packed_weights, Weights::packed_size(1, dense.out_features, dense.in_features));
    multiply(*this, {.in = dy,
                     .out = Images<float>::of(a.dx),
                     .images = a.x.shape[0],
                     .taps = kOneTap,
                     .padded = true,
                     .channels = dense.out_features,
                     .columns = dense.in_features,
                     .weights = pack_transposed(a.w.f32(), kItsPlace, dense.out_features, dense.in_features, packed)});
  }
}

}  // namespace brigade::host
