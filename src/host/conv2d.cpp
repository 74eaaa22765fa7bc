// Convolution on the CPU: which implicit product (conv_product.hpp) each pass is.
//
//   forward          one product over kernel_h * kernel_w taps of `in_channels` channels
//   gradient by x    stride_h * stride_w products: the pixels of dx whose coordinates leave the same remainders meet
//   the
//                    same taps, which step through dy one pixel at a time
//   gradient by w    weight_gradient.hpp
//
// First layers (up to kFewChannels input channels) would run inner loops of 1 to 4 steps. Their input is copied with
// its padding, and then the taps of a kernel row, contiguous in memory together with their channels, are one tap of
// kernel_w * in_channels channels; the weights [kh][kw][cin][cout] already lie so.
#include <algorithm>
#include <vector>

#include "bias.hpp"
#include "conv_product.hpp"
#include "host_backend.hpp"
#include "parallel.hpp"
#include "weight_gradient.hpp"

namespace brigade::host {
namespace {

constexpr std::int64_t kFewChannels = 4;

bool rows_as_taps(const ops::Conv2d& conv) { return conv.in_channels <= kFewChannels && conv.kernel_w > 1; }

// What a forward sum reads: an input, and the taps that walk over it.
struct Reading {
  Images<const float> in;
  std::span<const Tap> taps;
  std::int64_t channels = 0;
  bool padded = false;
};

Images<const float> pad(HostBackend& backend, const ops::Conv2d& conv, const ConstTensorView& x) {
  const auto in = Images<const float>::of(x);
  const std::int64_t images = x.shape[0], channels = conv.in_channels;
  const std::int64_t left = conv.pad_left * channels, middle = in.width * channels, right = conv.pad_right * channels;
  Images<const float> out;
  out.height = conv.pad_top + in.height + conv.pad_bottom;
  out.width = conv.pad_left + in.width + conv.pad_right;
  out.pixel = channels;
  out.row = left + middle + right;
  out.image = out.height * out.row;
  float* data = backend.scratch(Scratch::packed_input, images * out.image);
  out.data = data;
  for_each_part(images * out.height, [&](std::int64_t part) {
    const std::int64_t n = part / out.height, y = part % out.height - conv.pad_top;
    float* to = data + part * out.row;
    if (y < 0 || y >= in.height) {
      std::fill_n(to, out.row, 0.0F);
      return;
    }
    const float* from = in.data + n * in.image + y * in.row;
    std::fill_n(to, left, 0.0F);
    if (in.pixel == channels)
      std::copy_n(from, middle, to + left);
    else
      for (std::int64_t i = 0; i < in.width; ++i) std::copy_n(from + i * in.pixel, channels, to + left + i * channels);
    std::fill_n(to + left + middle, right, 0.0F);
  });
  return out;
}

Reading reading_of(HostBackend& backend, const ops::Conv2d& conv, const ConstTensorView& x) {
  thread_local std::vector<Tap> taps;  // kept, so that a step allocates nothing
  taps.clear();
  if (rows_as_taps(conv)) {
    for (int ky = 0; ky < conv.kernel_h; ++ky) taps.push_back({ky, 0});
    return {pad(backend, conv, x), taps, conv.kernel_w * conv.in_channels, true};
  }
  for (int ky = 0; ky < conv.kernel_h; ++ky)
    for (int kx = 0; kx < conv.kernel_w; ++kx) taps.push_back({ky - conv.pad_top, kx - conv.pad_left});
  const bool inside = taps.size() == 1 && conv.pad_top == 0 && conv.pad_left == 0;
  return {Images<const float>::of(x), taps, conv.in_channels, inside};
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

void input_gradient(HostBackend& backend, const ops::Conv2d& conv, const ops::Conv2d::Backward& a) {
  thread_local GradientTaps taps;
  const auto dx = Images<float>::of(a.dx);
  for (int ry = 0; ry < std::min<std::int64_t>(conv.stride_h, dx.height); ++ry)
    for (int rx = 0; rx < std::min<std::int64_t>(conv.stride_w, dx.width); ++rx) {
      fill_gradient_taps(conv, ry, rx, taps);
      const auto n_taps = static_cast<std::int64_t>(taps.taps.size());
      float* packed =
          backend.scratch(Scratch::packed_weights, Weights::packed_size(n_taps, conv.out_channels, conv.in_channels));
      Images<float> out = dx;
      out.data += ry * dx.row + rx * dx.pixel;
      out.height = (dx.height - ry + conv.stride_h - 1) / conv.stride_h;
      out.width = (dx.width - rx + conv.stride_w - 1) / conv.stride_w;
      out.row *= conv.stride_h;
      out.pixel *= conv.stride_w;
      const bool inside = conv.kernel_h == 1 && conv.kernel_w == 1 && conv.stride_h == 1 && conv.stride_w == 1 &&
                          conv.pad_top == 0 && conv.pad_left == 0 && conv.pad_bottom == 0 && conv.pad_right == 0;
      multiply(backend,
               {.in = Images<const float>::of(ConstTensorView(a.dy)),
                .out = out,
                .images = a.dx.shape[0],
                .taps = taps.taps,
                .padded = inside,
                .channels = conv.out_channels,
                .columns = conv.in_channels,
                .weights = pack_transposed(a.w.f32(), taps.places, conv.out_channels, conv.in_channels, packed)});
    }
}

}  // namespace

void HostBackend::forward(const ops::Conv2d& conv, const ops::Conv2d::Forward& a) {
  EXPECT(a.y.shape == conv.output_shape(a.x.shape) && a.w.shape == conv.weight_shape() && a.w.dense());
  EXPECT(!a.of_x || conv.normalises_input());
  EXPECT(!a.mean || (a.variance && conv.activation == ops::Activation::none && a.y.shape.size() > 0));
  const Reading reading = reading_of(*this, conv, a.x);
  const auto out = Images<float>::of(a.y);
  multiply(*this, {.in = reading.in,
                   .out = out,
                   .images = a.x.shape[0],
                   .stride_y = conv.stride_h,
                   .stride_x = conv.stride_w,
                   .taps = reading.taps,
                   .padded = reading.padded,
                   .channels = reading.channels,
                   .columns = conv.out_channels,
                   .weights = pack_if_needed(a.w.f32(), static_cast<std::int64_t>(reading.taps.size()),
                                             reading.channels, conv.out_channels, a.y.shape.size() / conv.out_channels,
                                             [&](std::int64_t n) { return scratch(Scratch::packed_weights, n); }),
                   .bias = pad_bias(*this, a.bias),
                   .activation = conv.activation,
                   .of_in = input_normaliser(*this, conv, a.of_x),
                   .mean = a.mean ? a.mean.f32() : nullptr,
                   .variance = a.mean ? a.variance.f32() : nullptr});
}

void HostBackend::backward(const ops::Conv2d& conv, const ops::Conv2d::Backward& a) {
  EXPECT(a.dy.shape == conv.output_shape(a.x.shape) && a.w.shape == conv.weight_shape() && a.w.dense());
  mask_and_sum(*this, conv.activation, a.y, a.dy, a.dbias);
  EXPECT(!a.of_x || conv.normalises_input());
  if (a.dw) {
    EXPECT(a.dw.shape == conv.weight_shape() && a.dw.dense());
    const Reading reading = reading_of(*this, conv, a.x);
    add_up(*this, {.x = reading.in,
                   .dy = Images<const float>::of(ConstTensorView(a.dy)),
                   .images = a.x.shape[0],
                   .stride_y = conv.stride_h,
                   .stride_x = conv.stride_w,
                   .taps = reading.taps,
                   .channels = reading.channels,
                   .columns = conv.out_channels,
                   .mix_taps = rows_as_taps(conv),
                   .of_x = input_normaliser(*this, conv, a.of_x),
                   .dw = a.dw.f32()});
  }
  if (a.dx) input_gradient(*this, conv, a);
}

}  // namespace brigade::host
