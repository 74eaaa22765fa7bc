// Depthwise convolution on the CPU: a row of y is a sum over kernel_h rows of x (the sums: depthwise_kernel.hpp; the
// gradients: depthwise_gradient.cpp).
//
// Memory passes: forward reads x, writes y, whether or not it normalises what it reads (in the second-level cache) and
// measures what it writes (while it is there).
#include "brigade/ops/depthwise_conv2d.hpp"

#include <algorithm>

#include "bias.hpp"
#include "conv_product.hpp"
#include "depthwise_columns.hpp"
#include "depthwise_gradient.hpp"
#include "depthwise_kernel.hpp"
#include "depthwise_rows.hpp"
#include "host_backend.hpp"
#include "moments.hpp"

namespace brigade::host {
namespace {

template <class T>
struct Rows {
  const ops::DepthwiseConv2d& op;
  Images<const T> x;
  Images<T> y;
  const float *w = nullptr, *bias = nullptr;
  const T* zeros = nullptr;
  Normaliser of_x;
  bool streaming = false;  // y is stored past the caches
};

// Row `oy` of y, written to `out`, whose pixels are out_pixel apart.
template <class T>
void forward_row(const Rows<T>& s, RowWindow<T>& x, std::int64_t oy, T* out, std::int64_t out_pixel, bool streaming) {
  thread_local RowMemory<T> memory;
  const ops::DepthwiseConv2d& op = s.op;
  memory.reserve(op.kernel_h, 1, depthwise_table_size(op.kernel_h, op.kernel_w, op.stride_w));
  const std::int64_t first = oy * op.stride_h - op.pad_top;
  DepthwiseSums<T> row{.channels = op.channels,
                       .rows = memory.rows.data(),
                       .weights = memory.weights.data(),
                       .taps = op.kernel_w,
                       .step = op.stride_w,
                       .first = -op.pad_left,
                       .width = s.x.width,
                       .pixel = x.pixel(),
                       .zeros = s.zeros,
                       .bias = s.bias,
                       .out = out,
                       .out_width = s.y.width,
                       .out_pixel = out_pixel,
                       .streaming = streaming,
                       .table = memory.table.data()};
  for (int ky = 0; ky < op.kernel_h; ++ky) {
    if (first + ky < 0 || first + ky >= s.x.height) continue;
    memory.rows[static_cast<std::size_t>(row.n_rows)] = x.row(first + ky);
    memory.weights[static_cast<std::size_t>(row.n_rows++)] = s.w + ky * op.kernel_w * op.channels;
  }
  if (x.same_pixels()) ask_for(row, s.x, x.memory(0), std::max<std::int64_t>(0, first + op.kernel_h), op.stride_h);
  depthwise_sums_kernel<T>(op.activation, op.kernel_w, op.stride_w)(row, 0, s.y.width);
}

// The rows of a part, and their moments if `moments` is not null.
template <class T>
void forward_part(const Rows<T>& s, const DepthwiseSplit::Part& part, const Moments* moments) {
  const std::int64_t channels = s.op.channels;
  if (moments == nullptr && !s.of_x && !s.streaming && sums_in_columns(s.op, s.y.width)) {
    for (std::int64_t image = part.first_image; image < part.last_image; ++image)
      sum_columns<T>({s.op, s.x, s.y, s.w, s.bias}, image, part.first_row, part.last_row);
    return;
  }
  RowWindow<T> x(s.x, channels, s.of_x, s.op.kernel_h);
  // What goes past the caches is measured before it goes.
  const bool by_way_of_row = s.streaming && moments != nullptr;
  const std::int64_t row_size = whole_lines<T>(s.y.width * channels);
  T* row = thread_memory<T>(row_size + x.size());
  T* ring = row + row_size;
  bool first = true;
  for (std::int64_t image = part.first_image; image < part.last_image; ++image) {
    x.start(image, ring);
    for (std::int64_t oy = part.first_row; oy < part.last_row; ++oy) {
      T* y = s.y.data + image * s.y.image + oy * s.y.row;
      T* out = by_way_of_row ? row : y;
      const std::int64_t pixel = by_way_of_row ? channels : s.y.pixel;
      forward_row(s, x, oy, out, pixel, s.streaming && !by_way_of_row);
      if (moments != nullptr) {
        const auto pixel_at = [&](std::int64_t i) { return out + i * pixel; };
        if (first) begin_moments(pixel_at, s.y.width, channels, *moments);
        add_moments(pixel_at, s.y.width, channels, *moments);
        first = false;
      }
      if (by_way_of_row) stream_row(row, s.y.width, channels, y, s.y.pixel);
    }
  }
  if (s.streaming) finish_streaming();
}

template <class T>
void forward_as(HostBackend& backend, const ops::DepthwiseConv2d& op, const ops::DepthwiseConv2d::Forward& t) {
  const DepthwiseSplit split(t.y.shape);
  const std::int64_t parts = split.parts();
  float* scales =
      backend.scratch(Scratch::partial_sums, op.channels + (t.mean ? MomentsTable::size(parts, op.channels) : 0));
  const Rows<T> rows{.op = op,
                     .x = Images<const T>::of(t.x),
                     .y = Images<T>::of(t.y),
                     .w = t.w.f32(),
                     .bias = t.bias ? t.bias.f32() : nullptr,
                     .zeros = backend.scratch<T>(Scratch::zeros, op.channels),
                     .of_x = normaliser(t.of_x, scales),
                     .streaming = can_stream(t.y)};
  const MomentsTable table(scales + op.channels, op.channels);
  for_each_part(parts, [&](std::int64_t i) {
    const Moments moments = table.part(i);
    forward_part(rows, split.part(i), t.mean ? &moments : nullptr);
  });
  if (!t.mean) return;
  const auto part_of = [&](std::int64_t i) { return MomentsPart{split.part(i).rows() * rows.y.width, op.channels}; };
  combine_moments(table, parts, part_of, op.channels, t.y.shape.size() / op.channels, t.mean.f32(), t.variance.f32());
}

}  // namespace

void HostBackend::forward(const ops::DepthwiseConv2d& op, const ops::DepthwiseConv2d::Forward& t) {
  EXPECT(t.y.shape == op.output_shape(t.x.shape) && t.w.shape == op.weight_shape() && t.w.dense());
  EXPECT(!t.mean || op.activation == ops::Activation::none);
  with_element(t.x.dtype, [&](auto element) { forward_as<typename decltype(element)::Type>(*this, op, t); });
}

void HostBackend::backward(const ops::DepthwiseConv2d& op, const ops::DepthwiseConv2d::Backward& t) {
  EXPECT(t.dy.shape == op.output_shape(t.x.shape) && t.w.shape == op.weight_shape() && t.w.dense());
  EXPECT(!t.dw || (t.dw.shape == op.weight_shape() && t.dw.dense()));
  EXPECT(!t.dx || t.dx.shape == t.x.shape);
  EXPECT(!t.dgamma || t.x.shape.size() == 0 || (t.dx && t.of_x));  // without pixels, dx points nowhere
  mask_and_sum(*this, op.activation, t.y, t.dy, t.dbias);
  if (!t.dw && !t.dx) return;
  depthwise_gradients(*this, op, t);
}

}  // namespace brigade::host
