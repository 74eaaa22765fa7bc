// Convolution on the CPU: which implicit product (conv_product.hpp) each pass is.
//
//   forward          one product over kernel_h * kernel_w taps of `in_channels` channels
//   gradient by x    stride_h * stride_w products: the pixels of dx whose coordinates leave the same remainders meet
//                    the same taps, which step through dy one pixel at a time
//   gradient by w    weight_gradient.hpp
//   3 x 3, stride 1  mostly by winograd.hpp and winograd_gradient.hpp instead, which multiply less
//   several groups   grouped_conv2d.hpp: each by itself
//
// In bf16 the sums run over pairs of channels (pairs.hpp; the gradient by w: of pixels). x and dy are read where they
// lie, if every pixel begins at a whole pair and ends with one; else a copy has a zero for the partner (most first
// layers need none: pairs_of). Weights are rounded as they are packed. Winograd's algorithms widen what they read, take
// weights as they are, and compute in float: four times less often on large maps, that beats pairs, which are twice as
// quick.
//
// First layers (up to kFewChannels input channels) would run inner loops of 1 to 4 steps. Their input is copied with
// its padding, and then the taps of a kernel row, contiguous in memory together with their channels, are one tap of
// kernel_w * in_channels channels; the weights [kh][kw][cin][cout] already lie so.
#include <algorithm>
#include <optional>
#include <type_traits>
#include <vector>

#include "bias.hpp"
#include "conv_product.hpp"
#include "forward_weights.hpp"
#include "grouped_conv2d.hpp"
#include "host_backend.hpp"
#include "lanes.hpp"
#include "parallel.hpp"
#include "weight_gradient.hpp"
#include "winograd.hpp"
#include "winograd_gradient.hpp"

namespace brigade::host {
namespace {

constexpr std::int64_t kFewChannels = 4;

bool rows_as_taps(const ops::Conv2d& conv) { return conv.in_channels <= kFewChannels && conv.kernel_w > 1; }

// What a forward sum reads: an input, and the taps that walk over it.
template <class T>
struct Reading {
  Images<const T> in;
  std::span<const Tap> taps;
  std::int64_t channels = 0;
  bool padded = false;
  Normaliser normaliser = {};  // still to be applied to what is read
  int stride_x = 1;
  std::int64_t tap_pixels = 1;  // whose channels, in pairs, are paired each by itself
};

// x with its padding; a pixel has `channels` channels there, those that x lacks being zeros. In bf16 rows begin with a
// whole pair. x itself, if it is that and need not be `readable` beyond its end, by so many numbers.
template <class T>
Images<const T> pad(HostBackend& backend, const ops::Conv2d& conv, const ConstTensorView& x, std::int64_t channels,
                    std::int64_t readable) {
  const auto in = Images<const T>::of(x);
  const std::int64_t images = x.shape[0], own = conv.in_channels;
  const bool padded = conv.pad_top > 0 || conv.pad_left > 0 || conv.pad_bottom > 0 || conv.pad_right > 0;
  if (!padded && in.pixel == channels && own == channels && readable == 0) return in;
  const std::int64_t left = conv.pad_left * channels, middle = in.width * channels;
  std::int64_t right = conv.pad_right * channels;
  if (std::is_same_v<T, Bf16>) right += (left + middle + right) % 2;
  Images<const T> out;
  out.height = conv.pad_top + in.height + conv.pad_bottom;
  out.width = conv.pad_left + in.width + conv.pad_right;
  out.pixel = channels;
  out.row = left + middle + right;
  out.image = out.height * out.row;
  T* data = backend.scratch<T>(Scratch::packed_input, images * out.image + readable);
  out.data = data;
  std::fill_n(data + images * out.image, readable, T(0.0F));
  for_each_part(images * out.height, [&](std::int64_t part) {
    const std::int64_t n = part / out.height, y = part % out.height - conv.pad_top;
    T* to = data + part * out.row;
    if (y < 0 || y >= in.height) {
      std::fill_n(to, out.row, T(0.0F));
      return;
    }
    const T* from = in.data + n * in.image + y * in.row;
    std::fill_n(to, left, T(0.0F));
    if (in.pixel == channels && own == channels)
      std::copy_n(from, middle, to + left);
    else
      for (std::int64_t i = 0; i < in.width; ++i) {
        T* pixel = std::copy_n(from + i * in.pixel, own, to + left + i * channels);
        std::fill_n(pixel, channels - own, T(0.0F));
      }
    std::fill_n(to + left + middle, right, T(0.0F));
  });
  return out;
}

template <class T>
Reading<T> reading_of(HostBackend& backend, const ops::Conv2d& conv, const ConstTensorView& x, std::int64_t channels,
                      const Normaliser& of_x, std::int64_t readable = 0) {
  thread_local std::vector<Tap> taps;  // kept, so that a step allocates nothing
  taps.clear();
  if (rows_as_taps(conv)) {
    for (int ky = 0; ky < conv.kernel_h; ++ky) taps.push_back({ky, 0});
    return {.in = pad<T>(backend, conv, x, channels, readable),
            .taps = taps,
            .channels = conv.kernel_w * channels,
            .padded = true,  // no 1 x 1 kernel
            .stride_x = conv.stride_w};
  }
  for (int ky = 0; ky < conv.kernel_h; ++ky)
    for (int kx = 0; kx < conv.kernel_w; ++kx) taps.push_back({ky - conv.pad_top, kx - conv.pad_left});
  const bool inside = taps.size() == 1 && conv.pad_top == 0 && conv.pad_left == 0;
  return {Images<const T>::of(x), taps, conv.in_channels, inside, of_x, conv.stride_w};
}

// What a product in bf16 reads: as above, but counted in pairs.
Reading<float> pairs_of(HostBackend& backend, const ops::Conv2d& conv, const ConstTensorView& x,
                        const Normaliser& of_x) {
  if (!rows_as_taps(conv)) {
    const Reading<Bf16> reading = reading_of<Bf16>(backend, conv, x, conv.in_channels, of_x);
    const bool in_place = whole_pairs(reading.in, conv.in_channels);  // a copy is normalised on the way
    return {in_pairs(backend, reading.in, x.shape, of_x),
            reading.taps,
            pairs(conv.in_channels),
            reading.padded,
            in_place ? of_x : Normaliser{},
            reading.stride_x};
  }
  const std::int64_t step = conv.stride_w * conv.in_channels, row = conv.kernel_w * conv.in_channels;
  if (step % 2 != 0) {
    const Reading<Bf16> reading = reading_of<Bf16>(backend, conv, x, 2 * pairs(conv.in_channels), {});
    return {.in = halved(reading.in),
            .taps = reading.taps,
            .channels = reading.channels / 2,
            .padded = true,
            .stride_x = reading.stride_x,
            .tap_pixels = conv.kernel_w};
  }
  // Wherever a kernel stands, its row begins with a whole pair, which may then hold channels of two pixels. Of an odd
  // row, the last number's partner is what follows in memory, times a zero beside the weights.
  const auto unpadded = Images<const Bf16>::of(x);
  const bool in_place =
      row % 2 == 0 && unpadded.row % 2 == 0 && reinterpret_cast<std::uintptr_t>(unpadded.data) % 4 == 0;
  const Reading<Bf16> reading = reading_of<Bf16>(backend, conv, x, conv.in_channels, {}, in_place ? 0 : 1);
  Images<const float> in = halved(reading.in);
  in.pixel = step / 2;
  return {.in = in, .taps = reading.taps, .channels = pairs(row), .padded = true};
}

// Whether a product can make the tensor that it reads: where it lies, and not from a copy.
bool read_in_place(const ConstTensorView& x) {
  return x.dtype == DType::f32 || whole_pairs(Images<const Bf16>::of(x), x.shape.back());
}

Normaliser input_normaliser(HostBackend& backend, const ops::Conv2d& conv, const ops::Normalisation& of_x) {
  return normaliser(of_x, of_x ? backend.scratch(Scratch::normal_scale, conv.in_channels) : nullptr);
}

// Taps of one remainder class of dx, and their places among the kernel's taps.
struct GradientTaps {
  std::vector<Tap> taps;
  std::vector<std::int32_t> places;
};

// dx pixel (y, x) = (remainder_y + stride_h * i, remainder_x + stride_w * j) met tap (ky, kx) at output row
// (y + pad_top - ky) / stride_h, if that divides: i + tap.y.
void fill_gradient_taps(const ops::Conv2d& conv, int remainder_y, int remainder_x, GradientTaps& out) {
  out.taps.clear();
  out.places.clear();
  for (int ky = conv.kernel_h - 1; ky >= 0; --ky) {  // backwards, so that memory is read forwards
    const int y = remainder_y + conv.pad_top - ky;
    if (y % conv.stride_h != 0) continue;
    for (int kx = conv.kernel_w - 1; kx >= 0; --kx) {
      const int x = remainder_x + conv.pad_left - kx;
      if (x % conv.stride_w != 0) continue;
      out.taps.push_back({y / conv.stride_h, x / conv.stride_w});
      out.places.push_back(ky * conv.kernel_w + kx);
    }
  }
}

template <class T>
void input_gradient(HostBackend& backend, const ops::Conv2d& conv, const ops::Conv2d::Backward& a,
                    const PixelMaker* made_dy) {
  thread_local GradientTaps taps;
  const auto dx = Images<T>::of(a.dx);
  const Factors factors = std::is_same_v<T, Bf16> ? Factors::bf16_pairs : Factors::floats;
  const std::int64_t channels = factors == Factors::floats ? conv.out_channels : pairs(conv.out_channels);
  Images<const float> in;
  if constexpr (std::is_same_v<T, Bf16>)
    in = in_pairs(backend, Images<const Bf16>::of(ConstTensorView(a.dy)), a.dy.shape);
  else
    in = Images<const float>::of(ConstTensorView(a.dy));
  // A shared gradient is finished by the remainders that meet the tap.
  const std::int64_t remainders_y = a.shared ? 1 : std::min<std::int64_t>(conv.stride_h, dx.height);
  const std::int64_t remainders_x = a.shared ? 1 : std::min<std::int64_t>(conv.stride_w, dx.width);
  for (int ry = 0; ry < remainders_y; ++ry)
    for (int rx = 0; rx < remainders_x; ++rx) {
      fill_gradient_taps(conv, ry, rx, taps);
      const auto n_taps = static_cast<std::int64_t>(taps.taps.size());
      auto* packed = backend.scratch<float>(
          Scratch::packed_weights, halves_of(factors) * Weights::packed_size(n_taps, channels, conv.in_channels));
      Images<T> out = dx;
      out.data += ry * dx.row + rx * dx.pixel;
      out.height = (dx.height - ry + conv.stride_h - 1) / conv.stride_h;
      out.width = (dx.width - rx + conv.stride_w - 1) / conv.stride_w;
      out.row *= conv.stride_h;
      out.pixel *= conv.stride_w;
      const bool inside = conv.kernel_h == 1 && conv.kernel_w == 1 && conv.stride_h == 1 && conv.stride_w == 1 &&
                          conv.pad_top == 0 && conv.pad_left == 0 && conv.pad_bottom == 0 && conv.pad_right == 0;
      const auto pack = factors == Factors::floats ? pack_transposed : pack_pairs_transposed;
      Product product{.factors = factors,
                      .in = in,
                      .images = a.dx.shape[0],
                      .taps = taps.taps,
                      .padded = inside,
                      .channels = channels,
                      .columns = conv.in_channels,
                      .weights = pack(a.w.f32(), taps.places, conv.out_channels, conv.in_channels, packed)};
      product.set_out(out);
      if (n_taps > 0) product.made_in = made_dy;
      if (a.through) {
        product.through = &a.through;
        product.of_through = input_normaliser(backend, conv, a.through.by);
      }
      if (a.shared) {
        product.shared = &a.shared;
        product.shared_x = a.x;
        product.shared_stride_y = conv.stride_h;
        product.shared_stride_x = conv.stride_w;
        product.shared_pitch = dx.pixel;
      }
      multiply(backend, product);
    }
}

// What Winograd's algorithm computes at all.
bool winograd_takes(const ops::Conv2d& conv) {
  return conv.kernel_h == 3 && conv.kernel_w == 3 && conv.stride_h == 1 && conv.stride_w == 1 && conv.groups == 1;
}

// The tile of winograd.hpp for the convolution that writes `out` from so many channels, forward or the gradient by the
// input; 0: it is computed directly.
int tile_of(const ops::Conv2d& conv, const Shape& out, DType type, std::int64_t channels) {
  return winograd_takes(conv) ? winograd_tile(type, out[1], out[2], channels, out[3]) : 0;
}

// Whether the gradient by the weights is made by winograd_gradient.hpp.
bool gradient_by_winograd(const ops::Conv2d& conv, const Shape& dy, DType type) {
  return winograd_takes(conv) && winograd_gradient_pays(type, dy[0], dy[1], dy[2], conv.in_channels, conv.out_channels);
}

template <class T>
void weight_gradient(HostBackend& backend, const ops::Conv2d& conv, const ops::Conv2d::Backward& a) {
  const Reading<T> reading =
      reading_of<T>(backend, conv, a.x, conv.in_channels, input_normaliser(backend, conv, a.of_x));
  const WeightGradient<T> gradient{.x = reading.in,
                                   .dy = Images<const T>::of(ConstTensorView(a.dy)),
                                   .images = a.x.shape[0],
                                   .stride_y = conv.stride_h,
                                   .stride_x = conv.stride_w,
                                   .taps = reading.taps,
                                   .channels = reading.channels,
                                   .columns = conv.out_channels,
                                   .mix_taps = rows_as_taps(conv),
                                   .of_x = reading.normaliser,
                                   .dw = a.dw.f32()};
  if (gradient_by_winograd(conv, a.dy.shape, a.dy.dtype)) return add_up_by_winograd(backend, gradient);
  add_up(backend, gradient);
}

template <class T>
void forward_by_winograd(HostBackend& backend, const ops::Conv2d& conv, const ops::Conv2d::Forward& a, int tile) {
  convolve(backend, WinogradConvolution<T>{.filter = {.m = tile,
                                                      .channels = conv.in_channels,
                                                      .columns = conv.out_channels,
                                                      .w = a.w.f32(),
                                                      .kept = a.kept},
                                           .in = Images<const T>::of(a.x),
                                           .out = Images<T>::of(a.y),
                                           .images = a.x.shape[0],
                                           .pad_top = conv.pad_top,
                                           .pad_left = conv.pad_left,
                                           .bias = pad_bias(backend, a.bias),
                                           .activation = conv.activation,
                                           .mean = a.mean ? a.mean.f32() : nullptr,
                                           .variance = a.mean ? a.variance.f32() : nullptr});
}

// dx[y] is the sum over ky of dy[y + pad_top - ky] w[ky]: a convolution of dy with w turned round.
template <class T>
void input_gradient_by_winograd(HostBackend& backend, const ops::Conv2d& conv, const ops::Conv2d::Backward& a,
                                int tile) {
  convolve(backend, WinogradConvolution<T>{.filter = {.m = tile,
                                                      .channels = conv.out_channels,
                                                      .columns = conv.in_channels,
                                                      .w = a.w.f32(),
                                                      .transposed = true},
                                           .in = Images<const T>::of(ConstTensorView(a.dy)),
                                           .out = Images<T>::of(a.dx),
                                           .images = a.dx.shape[0],
                                           .pad_top = 2 - conv.pad_top,
                                           .pad_left = 2 - conv.pad_left,
                                           .through = a.through ? &a.through : nullptr,
                                           .of_through = input_normaliser(backend, conv, a.through.by)});
}

}  // namespace

std::string HostBackend::algorithm(const ops::Conv2d& conv, const Shape& x, DType type, ops::Conv2d::Pass pass) const {
  int tile = 0;
  if (pass == ops::Conv2d::Pass::forward) tile = tile_of(conv, conv.output_shape(x), type, conv.in_channels);
  if (pass == ops::Conv2d::Pass::backward_data) tile = tile_of(conv, x, type, conv.out_channels);
  if (pass == ops::Conv2d::Pass::backward_weights)
    tile = gradient_by_winograd(conv, conv.output_shape(x), type) ? 4 : 0;
  return tile == 0 ? "direct" : fmt::format("winograd {0}x{0}", tile);
}

void HostBackend::forward(const ops::Conv2d& conv, const ops::Conv2d::Forward& a) {
  EXPECT(a.y.shape == conv.output_shape(a.x.shape) && a.w.shape == conv.weight_shape() && a.w.dense());
  EXPECT(!a.of_x || conv.normalises_input());
  EXPECT(!a.mean || (a.variance && conv.activation == ops::Activation::none && a.y.shape.size() > 0));
  EXPECT(!a.made_x || (conv.makes_input() && !a.of_x && a.made_x.tensors.y.data == a.x.data));
  if (conv.groups > 1) return forward_by_groups(*this, conv, a);
  if (const int tile = tile_of(conv, a.y.shape, a.x.dtype, conv.in_channels); tile > 0)
    return with_element(a.x.dtype, [&](auto element) {
      EXPECT(a.y.dtype == a.x.dtype);
      forward_by_winograd<typename decltype(element)::Type>(*this, conv, a, tile);
    });
  const bool bf16 = a.x.dtype == DType::bf16;
  std::optional<SumMaker> made_x;
  if (a.made_x && !read_in_place(a.x))
    forward(a.made_x.op, a.made_x.tensors);
  else if (a.made_x)
    made_x.emplace(*this, a.made_x.op, a.made_x.tensors);
  const Normaliser of_x = input_normaliser(*this, conv, a.of_x);
  const Reading<float> reading =
      bf16 ? pairs_of(*this, conv, a.x, of_x) : reading_of<float>(*this, conv, a.x, conv.in_channels, of_x);
  const std::int64_t row = rows_as_taps(conv) ? conv.kernel_w * conv.in_channels : conv.in_channels;
  Product product{.factors = bf16 ? Factors::bf16_pairs : Factors::floats,
                  .in = reading.in,
                  .images = a.x.shape[0],
                  .stride_y = conv.stride_h,
                  .stride_x = reading.stride_x,
                  .taps = reading.taps,
                  .padded = reading.padded,
                  .channels = reading.channels,
                  .columns = conv.out_channels,
                  .weights = weights_for_kernels(*this, {.factors = bf16 ? Factors::bf16_pairs : Factors::floats,
                                                         .w = a.w.f32(),
                                                         .taps = static_cast<std::int64_t>(reading.taps.size()),
                                                         .pixels = reading.tap_pixels,
                                                         .channels = row / reading.tap_pixels,
                                                         .columns = conv.out_channels,
                                                         .rows = a.y.shape.size() / conv.out_channels,
                                                         .kept = a.kept}),
                  .bias = pad_bias(*this, a.bias),
                  .activation = conv.activation,
                  .of_in = reading.normaliser,
                  .made_in = made_x ? &*made_x : nullptr,
                  .mean = a.mean ? a.mean.f32() : nullptr,
                  .variance = a.mean ? a.variance.f32() : nullptr};
  if (a.y.dtype == DType::bf16)
    product.set_out(Images<Bf16>::of(a.y));
  else
    product.set_out(Images<float>::of(a.y));
  multiply(*this, product);
}

void HostBackend::backward(const ops::Conv2d& conv, const ops::Conv2d::Backward& a) {
  EXPECT(a.dy.shape == conv.output_shape(a.x.shape) && a.w.shape == conv.weight_shape() && a.w.dense());
  if (conv.groups > 1) return backward_by_groups(*this, conv, a);
  EXPECT(!a.of_x || conv.normalises_input());
  EXPECT(!a.through || (conv.takes_gradient_through() && a.dx && a.through.x.shape == a.dx.shape));
  EXPECT(!a.shared || (conv.finishes_gradient() && a.dx && !a.of_x && !a.through && a.x.dtype == a.dx.dtype));
  EXPECT(!a.made_dy || (conv.makes_gradient() && conv.activation == ops::Activation::none));
  EXPECT(!a.made_dy || a.made_dy.tensors.dx.data == a.dy.data);
  EXPECT(!a.dw || (a.dw.shape == conv.weight_shape() && a.dw.dense()));
  std::optional<NormGradientMaker> made_dy;
  if (a.made_dy && a.dx && read_in_place(a.dy))
    made_dy.emplace(*this, a.made_dy.op, a.made_dy.tensors);
  else if (a.made_dy)
    backward(a.made_dy.op, a.made_dy.tensors);
  const auto gradient_by_input = [&](auto element) {
    using T = typename decltype(element)::Type;
    const int tile = tile_of(conv, a.dx.shape, a.dx.dtype, conv.out_channels);
    if (tile > 0)
      input_gradient_by_winograd<T>(*this, conv, a, tile);
    else
      input_gradient<T>(*this, conv, a, made_dy ? &*made_dy : nullptr);
  };
  // Who makes dy reads it first.
  if (made_dy) with_element(a.dy.dtype, gradient_by_input);
  mask_and_sum(*this, conv.activation, a.y, a.dy, a.dbias);
  with_element(a.dy.dtype, [&](auto element) {
    if (a.dw) weight_gradient<typename decltype(element)::Type>(*this, conv, a);
    if (a.dx && !made_dy) gradient_by_input(element);
  });
}

}  // namespace brigade::host
