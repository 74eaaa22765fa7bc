// Dense layers on the CPU: convolutions of N images of one pixel, by one tap.
//
// In bf16, y and dy may be floats: the logits of a network, which are small.
#include <array>

#include "bias.hpp"
#include "conv_product.hpp"
#include "forward_weights.hpp"
#include "host_backend.hpp"
#include "lanes.hpp"
#include "weight_gradient.hpp"

namespace brigade::host {
namespace {

constexpr std::array<Tap, 1> kOneTap{};
constexpr std::array<std::int32_t, 1> kItsPlace{};

// dy as a tensor of x's type.
ConstTensorView like(HostBackend& backend, const ConstTensorView& dy, DType type) {
  if (dy.dtype == type) return dy;
  const ConstTensorView rounded(backend.scratch<Bf16>(Scratch::rounded_gradient, dy.shape.size()), dy.shape, type);
  backend.update(ops::Blend{.keep = 0, .add = 1}, {.x = dy, .y = {const_cast<void*>(rounded.data), dy.shape, type}});
  return rounded;
}

template <class T>
void gradients(HostBackend& backend, const ops::Dense& dense, const ops::Dense::Backward& a) {
  constexpr Factors kFactors = std::is_same_v<T, Bf16> ? Factors::bf16_pairs : Factors::floats;
  const ConstTensorView dy = like(backend, a.dy, a.x.dtype);
  if (a.dw)
    add_up(backend, WeightGradient<T>{.x = Images<const T>::of(a.x),
                                      .dy = Images<const T>::of(dy),
                                      .images = a.x.shape[0],
                                      .taps = kOneTap,
                                      .channels = dense.in_features,
                                      .columns = dense.out_features,
                                      .dw = a.dw.f32()});
  if (!a.dx) return;
  Product product{
      .factors = kFactors, .images = a.x.shape[0], .taps = kOneTap, .padded = true, .columns = dense.in_features};
  product.set_out(Images<T>::of(a.dx));
  product.channels = kFactors == Factors::floats ? dense.out_features : pairs(dense.out_features);
  auto* packed = backend.scratch<float>(
      Scratch::packed_weights, halves_of(kFactors) * Weights::packed_size(1, product.channels, dense.in_features));
  if constexpr (kFactors == Factors::floats) {
    product.in = Images<const float>::of(dy);
    product.weights = pack_transposed(a.w.f32(), kItsPlace, dense.out_features, dense.in_features, packed);
  } else {
    product.in = in_pairs(backend, Images<const Bf16>::of(dy), dy.shape);
    product.weights = pack_pairs_transposed(a.w.f32(), kItsPlace, dense.out_features, dense.in_features, packed);
  }
  multiply(backend, product);
}

}  // namespace

void HostBackend::forward(const ops::Dense& dense, const ops::Dense::Forward& a) {
  EXPECT(a.y.shape == dense.output_shape(a.x.shape) && a.w.shape == dense.weight_shape() && a.w.dense());
  const std::int64_t in = dense.in_features, out = dense.out_features;
  const bool bf16 = a.x.dtype == DType::bf16;
  const Factors factors = bf16 ? Factors::bf16_pairs : Factors::floats;
  Product product{
      .factors = factors,
      .in = bf16 ? in_pairs(*this, Images<const Bf16>::of(a.x), a.x.shape) : Images<const float>::of(a.x),
      .images = a.x.shape[0],
      .taps = kOneTap,
      .padded = true,
      .channels = bf16 ? pairs(in) : in,
      .columns = out,
      .weights = weights_for_kernels(
          *this,
          {.factors = factors, .w = a.w.f32(), .channels = in, .columns = out, .rows = a.x.shape[0], .kept = a.kept}),
      .bias = pad_bias(*this, a.bias),
      .activation = dense.activation};
  if (a.y.dtype == DType::bf16)
    product.set_out(Images<Bf16>::of(a.y));
  else
    product.set_out(Images<float>::of(a.y));
  multiply(*this, product);
}

void HostBackend::backward(const ops::Dense& dense, const ops::Dense::Backward& a) {
  EXPECT(a.dy.shape == dense.output_shape(a.x.shape) && a.w.shape == dense.weight_shape() && a.w.dense());
  EXPECT(!a.dw || (a.dw.shape == dense.weight_shape() && a.dw.dense()));
  mask_and_sum(*this, dense.activation, a.y, a.dy, a.dbias);
  with_element(a.x.dtype, [&](auto element) { gradients<typename decltype(element)::Type>(*this, dense, a); });
}

}  // namespace brigade::host
