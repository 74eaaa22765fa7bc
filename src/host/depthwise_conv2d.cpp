// Depthwise convolution on the CPU: which rows each pass sums (the sums themselves: depthwise_kernel.hpp).
//
//   forward          a row of y is a sum over kernel_h rows of x
//   gradient by x    a row of dx is a sum over rows of dy, with the kernel mirrored. With a stride, pixels whose
//                    coordinates leave the same remainders meet the same taps, which step through dy one pixel at a
//                    time; the classes of a row take turns block by block, so that dy and dx pass memory once
//   gradient by w    groups of rows of dy, whose number depends on the shape only, add up partial sums of their own,
//                    which are added in their order
//
// Memory passes: forward reads x, writes y; gradient by x reads dy, writes dx; gradient by w reads x and dy.
#include "brigade/ops/depthwise_conv2d.hpp"

#include <algorithm>
#include <vector>

#include "bias.hpp"
#include "conv_product.hpp"
#include "depthwise_kernel.hpp"
#include "host_backend.hpp"
#include "lanes.hpp"

namespace brigade::host {
namespace {

// Outputs above this size do not fit into the last cache anyway: stored past it.
constexpr std::int64_t kStreamingBytes = 24 << 20;
// Partial sums of the weights' gradient: as many groups of rows as threads may want, none below 128 KiB of dy.
constexpr std::int64_t kMaxGroups = 128, kMinGroupFloats = 32768;

// What a row needs beside its numbers; kept by each thread, so that a step allocates nothing.
struct RowMemory {
  std::vector<const float*> rows, weights, table;
  void reserve(int n_rows, int classes, std::int64_t table_size) {
    rows.resize(static_cast<std::size_t>(n_rows));
    weights.resize(static_cast<std::size_t>(n_rows) * static_cast<std::size_t>(classes));
    table.resize(static_cast<std::size_t>(table_size));
  }
};

bool can_stream(const TensorView& out) {
  return out.shape.size() * 4 > kStreamingBytes && out.shape.back() % kLanes == 0 && out.pitch % kLanes == 0 &&
         reinterpret_cast<std::uintptr_t>(out.data) % 64 == 0;
}

// The `count` rows from `first` on, as far as an image has them.
template <class Row>
void ask_for(Row& row, const Images<const float>& in, const float* image, std::int64_t first, int count) {
  row.n_next = static_cast<int>(std::clamp<std::int64_t>(in.height - first, 0, count));
  row.next = image + first * in.row;
  row.next_row = in.row;
}

// How the pixels of dx along one axis that leave the same remainder meet the taps: in descending order of the kernel,
// these are at pixels first, first + 1, ... of dy for the first pixel of the class.
struct GradientClass {
  int taps = 0;
  int first = 0;
  int last_tap = 0;  // its largest place in the kernel
};

GradientClass gradient_class(int remainder, int pad, int kernel, int stride) {
  GradientClass c;
  for (int k = kernel - 1; k >= 0; --k) {
    if ((remainder + pad - k) % stride != 0) continue;
    if (c.taps++ == 0) c.last_tap = k, c.first = (remainder + pad - k) / stride;
  }
  return c;
}

// The weights as the gradient by x meets them: [ky][class of kx][kx of the class, descending][channels].
void pack_mirrored(const ops::DepthwiseConv2d& op, const float* w, float* packed) {
  for (int ky = 0; ky < op.kernel_h; ++ky)
    for (int rx = 0; rx < op.stride_w; ++rx) {
      const GradientClass c = gradient_class(rx, op.pad_left, op.kernel_w, op.stride_w);
      for (int t = 0; t < c.taps; ++t, packed += op.channels)
        std::copy_n(w + (ky * op.kernel_w + c.last_tap - t * op.stride_w) * op.channels, op.channels, packed);
    }
}

// A row of dx: one sum for each class of its pixels.
struct GradientRow {
  RowMemory memory;                   // weights: [class][row]
  std::vector<const float*> kernels;  // [row]: the packed weights of its ky
  std::vector<DepthwiseSums> classes;
};

// The rows of dy that row y of dx meets.
void find_rows(const ops::DepthwiseConv2d& op, const Images<const float>& dy, const float* image, const float* packed,
               std::int64_t y, GradientRow& row, DepthwiseSums& common) {
  const GradientClass c = gradient_class(static_cast<int>(y % op.stride_h), op.pad_top, op.kernel_h, op.stride_h);
  for (int k = 0; k < c.taps; ++k) {
    const std::int64_t from = y / op.stride_h + c.first + k;
    if (from < 0 || from >= dy.height) continue;
    row.memory.rows[static_cast<std::size_t>(common.n_rows)] = image + from * dy.row;
    row.kernels[static_cast<std::size_t>(common.n_rows++)] =
        packed + (c.last_tap - k * op.stride_h) * op.kernel_w * op.channels;
  }
  if (y % op.stride_h == 0)
    ask_for(common, dy, image, std::max<std::int64_t>(0, y / op.stride_h + c.first + c.taps), 1);
}

void input_gradient(HostBackend& backend, const ops::DepthwiseConv2d& op, const ops::DepthwiseConv2d::Backward& t) {
  const auto dy = Images<const float>::of(ConstTensorView(t.dy));
  const auto dx = Images<float>::of(t.dx);
  float* packed = backend.scratch(Scratch::packed_weights, op.weight_shape().size());
  pack_mirrored(op, t.w.f32(), packed);
  const float* zeros = backend.scratch(Scratch::zeros, op.channels);
  const bool streaming = can_stream(t.dx);
  for_each_part(t.dx.shape[0] * dx.height, [&](std::int64_t part) {
    thread_local GradientRow row;
    row.memory.reserve(op.kernel_h, op.stride_w, depthwise_table_size(op.kernel_h, op.kernel_w, 1));
    row.kernels.resize(static_cast<std::size_t>(op.kernel_h));
    const std::int64_t n = part / dx.height, y = part % dx.height;
    DepthwiseSums common{.channels = op.channels,
                         .rows = row.memory.rows.data(),
                         .width = dy.width,
                         .pixel = dy.pixel,
                         .zeros = zeros,
                         .streaming = streaming,
                         .table = row.memory.table.data()};
    find_rows(op, dy, dy.data + n * dy.image, packed, y, row, common);
    row.classes.assign(static_cast<std::size_t>(op.stride_w), common);
    int place = 0;  // of the class's taps among the packed weights of a ky
    for (int rx = 0; rx < op.stride_w; ++rx) {
      const GradientClass c = gradient_class(rx, op.pad_left, op.kernel_w, op.stride_w);
      const float** weights = row.memory.weights.data() + rx * op.kernel_h;
      for (int r = 0; r < common.n_rows; ++r)
        weights[r] = row.kernels[static_cast<std::size_t>(r)] + place * op.channels;
      place += c.taps;
      DepthwiseSums& sums = row.classes[static_cast<std::size_t>(rx)];
      sums.weights = weights;
      sums.taps = c.taps;
      sums.first = c.first;
      sums.out = dx.data + n * dx.image + y * dx.row + rx * dx.pixel;
      sums.out_width = (dx.width - rx + op.stride_w - 1) / op.stride_w;
      sums.out_pixel = op.stride_w * dx.pixel;
      if (rx > 0) sums.n_next = 0;  // the first class asked for all
    }
    // Where classes take turns, they do so block by block.
    const std::int64_t width = row.classes.front().out_width, turn = op.stride_w == 1 ? width : kDepthwisePixels;
    for (std::int64_t j = 0; j < width; j += turn)
      for (const DepthwiseSums& sums : row.classes)
        depthwise_sums_kernel(ops::Activation::none, sums.taps, 1)(sums, j, std::min(j + turn, sums.out_width));
    if (streaming) finish_streaming();
  });
}

void weight_gradient(HostBackend& backend, const ops::DepthwiseConv2d& op, const ops::DepthwiseConv2d::Backward& t) {
  const auto x = Images<const float>::of(t.x), dy = Images<const float>::of(ConstTensorView(t.dy));
  const std::int64_t rows = t.dy.shape[0] * dy.height, size = op.weight_shape().size();
  const std::int64_t group_rows =
      std::max({std::int64_t{1}, (rows + kMaxGroups - 1) / kMaxGroups, kMinGroupFloats / (dy.width * op.channels)});
  const std::int64_t groups = (rows + group_rows - 1) / group_rows;
  float* partial = backend.scratch(Scratch::partial_sums, std::max<std::int64_t>(1, groups) * size);
  const float* zeros = backend.scratch(Scratch::zeros, op.channels);
  const auto kernel = depthwise_products_kernel(op.kernel_h, op.kernel_w, op.stride_w);
  for_each_part(groups, [&](std::int64_t group) {
    thread_local RowMemory memory;
    memory.reserve(op.kernel_h, 1, 0);
    float* sums = partial + group * size;
    std::fill_n(sums, size, 0.0F);
    for (std::int64_t r = group * group_rows; r < std::min(rows, (group + 1) * group_rows); ++r) {
      const std::int64_t n = r / dy.height, first = r % dy.height * op.stride_h - op.pad_top;
      const float* image = x.data + n * x.image;
      for (int ky = 0; ky < op.kernel_h; ++ky) {
        const bool inside = first + ky >= 0 && first + ky < x.height;
        memory.rows[static_cast<std::size_t>(ky)] = inside ? image + (first + ky) * x.row : nullptr;
      }
      DepthwiseProducts row{.channels = op.channels,
                            .n_rows = op.kernel_h,
                            .rows = memory.rows.data(),
                            .taps = op.kernel_w,
                            .step = op.stride_w,
                            .first = -op.pad_left,
                            .width = x.width,
                            .pixel = x.pixel,
                            .zeros = zeros,
                            .dy = dy.data + n * dy.image + r % dy.height * dy.row,
                            .dy_width = dy.width,
                            .dy_pixel = dy.pixel,
                            .dw = sums};
      row.next_dy = r + 1 < rows ? row.dy + dy.row : row.dy;
      ask_for(row, x, image, std::max<std::int64_t>(0, first + op.kernel_h), op.stride_h);
      kernel(row);
    }
  });
  float* dw = t.dw.f32();
  constexpr std::int64_t kChunk = 1024;
  for_each_part((size + kChunk - 1) / kChunk, [&](std::int64_t chunk) {
    const std::int64_t first = chunk * kChunk, n = std::min(kChunk, size - first);
    std::fill_n(dw + first, n, 0.0F);
    for (std::int64_t group = 0; group < groups; ++group)
      for (std::int64_t i = first; i < first + n; ++i) dw[i] += partial[group * size + i];
  });
}

}  // namespace

void HostBackend::forward(const ops::DepthwiseConv2d& op, const ops::DepthwiseConv2d::Forward& t) {
  EXPECT(t.y.shape == op.output_shape(t.x.shape) && t.w.shape == op.weight_shape() && t.w.dense());
  const auto x = Images<const float>::of(t.x);
  const auto y = Images<float>::of(t.y);
  const float *w = t.w.f32(), *bias = t.bias ? t.bias.f32() : nullptr;
  const float* zeros = scratch(Scratch::zeros, op.channels);
  const auto kernel = depthwise_sums_kernel(op.activation, op.kernel_w, op.stride_w);
  const bool streaming = can_stream(t.y);
  for_each_part(t.y.shape[0] * y.height, [&](std::int64_t part) {
    thread_local RowMemory memory;
    memory.reserve(op.kernel_h, 1, depthwise_table_size(op.kernel_h, op.kernel_w, op.stride_w));
    const std::int64_t n = part / y.height, first = part % y.height * op.stride_h - op.pad_top;
    const float* image = x.data + n * x.image;
    DepthwiseSums row{.channels = op.channels,
                      .rows = memory.rows.data(),
                      .weights = memory.weights.data(),
                      .taps = op.kernel_w,
                      .step = op.stride_w,
                      .first = -op.pad_left,
                      .width = x.width,
                      .pixel = x.pixel,
                      .zeros = zeros,
                      .bias = bias,
                      .out = y.data + n * y.image + part % y.height * y.row,
                      .out_width = y.width,
                      .out_pixel = y.pixel,
                      .streaming = streaming,
                      .table = memory.table.data()};
    for (int ky = 0; ky < op.kernel_h; ++ky) {
      if (first + ky < 0 || first + ky >= x.height) continue;
      memory.rows[static_cast<std::size_t>(row.n_rows)] = image + (first + ky) * x.row;
      memory.weights[static_cast<std::size_t>(row.n_rows++)] = w + ky * op.kernel_w * op.channels;
    }
    ask_for(row, x, image, std::max<std::int64_t>(0, first + op.kernel_h), op.stride_h);
    kernel(row, 0, y.width);
    if (streaming) finish_streaming();
  });
}

void HostBackend::backward(const ops::DepthwiseConv2d& op, const ops::DepthwiseConv2d::Backward& t) {
  EXPECT(t.dy.shape == op.output_shape(t.x.shape) && t.w.shape == op.weight_shape() && t.w.dense());
  mask_and_sum(*this, op.activation, t.y, t.dy, t.dbias);
  if (t.dw) {
    EXPECT(t.dw.shape == op.weight_shape() && t.dw.dense());
    weight_gradient(*this, op, t);
  }
  if (t.dx) {
    EXPECT(t.dx.shape == t.x.shape);
    input_gradient(*this, op, t);
  }
}

}  // namespace brigade::host
