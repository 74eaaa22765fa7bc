// The gradients of a depthwise convolution, in one sweep down the rows of dy.
//
//   by x     a row of dx is a sum over rows of dy, with the kernel mirrored. With a stride, pixels whose coordinates
//            leave the same remainders meet the same taps, which step through dy one pixel at a time; the classes of a
//            row take turns block by block
//   by w     each row of dy meets the rows of x under its window; every part of the rows adds up partial sums of its
//            own, which are added in their order
//   of x's normalisation: sums over a row of dx and of x as it lies in memory (gradient_sums.hpp), while both are in a
//            cache
//
// Memory passes: reads dy and x, writes dx; whatever else meets them, rows of a few hundred KiB stay in the
// second-level cache from one use to the next.
#include "depthwise_gradient.hpp"

#include <algorithm>
#include <vector>

#include "conv_product.hpp"
#include "depthwise_kernel.hpp"
#include "depthwise_rows.hpp"
#include "gradient_sums.hpp"
#include "host_backend.hpp"
#include "lanes.hpp"

namespace brigade::host {
namespace {

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
template <class T>
struct GradientRow {
  RowMemory<T> memory;                // weights: [class][row]
  std::vector<const float*> kernels;  // [row]: the packed weights of its ky
  std::vector<DepthwiseSums<T>> classes;
};

// The rows of dy that row y of dx meets.
template <class T>
void find_rows(const ops::DepthwiseConv2d& op, const Images<const T>& dy, const T* image, const float* packed,
               std::int64_t y, GradientRow<T>& row, DepthwiseSums<T>& common) {
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

// What the sweep reads and writes, the same for all rows.
template <class T>
struct Sweep {
  const ops::DepthwiseConv2d& op;
  Images<const T> x, dy;
  Images<T> dx;
  const T* zeros = nullptr;
  const float* packed = nullptr;  // mirrored weights
  bool wants_dx = false, wants_dw = false;
  bool streaming = false;  // dx is stored past the caches
  Normaliser of_x;
  GradientSumsTable sums;  // of the normalisation's gradients, unless empty
};

// Row y of dx, written to `out`, whose pixels are out_pixel apart.
template <class T>
void input_gradient_row(const Sweep<T>& s, std::int64_t image, std::int64_t y, T* out, std::int64_t out_pixel,
                        bool streaming) {
  thread_local GradientRow<T> row;
  const ops::DepthwiseConv2d& op = s.op;
  row.memory.reserve(op.kernel_h, op.stride_w, depthwise_table_size(op.kernel_h, op.kernel_w, 1));
  row.kernels.resize(static_cast<std::size_t>(op.kernel_h));
  DepthwiseSums<T> common{.channels = op.channels,
                          .rows = row.memory.rows.data(),
                          .width = s.dy.width,
                          .pixel = s.dy.pixel,
                          .zeros = s.zeros,
                          .streaming = streaming,
                          .table = row.memory.table.data()};
  find_rows(op, s.dy, s.dy.data + image * s.dy.image, s.packed, y, row, common);
  row.classes.assign(static_cast<std::size_t>(op.stride_w), common);
  int place = 0;  // of the class's taps among the packed weights of a ky
  for (int rx = 0; rx < op.stride_w; ++rx) {
    const GradientClass c = gradient_class(rx, op.pad_left, op.kernel_w, op.stride_w);
    const float** weights = row.memory.weights.data() + rx * op.kernel_h;
    for (int r = 0; r < common.n_rows; ++r) weights[r] = row.kernels[static_cast<std::size_t>(r)] + place * op.channels;
    place += c.taps;
    DepthwiseSums<T>& sums = row.classes[static_cast<std::size_t>(rx)];
    sums.weights = weights;
    sums.taps = c.taps;
    sums.first = c.first;
    sums.out = out + rx * out_pixel;
    sums.out_width = (s.dx.width - rx + op.stride_w - 1) / op.stride_w;
    sums.out_pixel = op.stride_w * out_pixel;
    if (rx > 0) sums.n_next = 0;  // the first class asked for all
  }
  // Where classes take turns, they do so block by block.
  const std::int64_t width = row.classes.front().out_width, turn = op.stride_w == 1 ? width : kDepthwisePixels;
  for (std::int64_t j = 0; j < width; j += turn)
    for (const DepthwiseSums<T>& sums : row.classes)
      depthwise_sums_kernel<T>(ops::Activation::none, sums.taps, 1)(sums, j, std::min(j + turn, sums.out_width));
}

// Adds what row y of dy gives to dw.
template <class T>
void add_weight_gradient(const Sweep<T>& s, RowWindow<T>& x, std::int64_t image, std::int64_t y, float* dw) {
  thread_local RowMemory<T> memory;
  const ops::DepthwiseConv2d& op = s.op;
  memory.reserve(op.kernel_h, 1, 0);
  const std::int64_t first = y * op.stride_h - op.pad_top;
  for (int ky = 0; ky < op.kernel_h; ++ky) {
    const bool inside = first + ky >= 0 && first + ky < s.x.height;
    memory.rows[static_cast<std::size_t>(ky)] = inside ? x.row(first + ky) : nullptr;
  }
  DepthwiseProducts<T> row{.channels = op.channels,
                           .n_rows = op.kernel_h,
                           .rows = memory.rows.data(),
                           .taps = op.kernel_w,
                           .step = op.stride_w,
                           .first = -op.pad_left,
                           .width = s.x.width,
                           .pixel = x.pixel(),
                           .zeros = s.zeros,
                           .dy = s.dy.data + image * s.dy.image + y * s.dy.row,
                           .dy_width = s.dy.width,
                           .dy_pixel = s.dy.pixel,
                           .dw = dw};
  row.next_dy = y + 1 < s.dy.height && !s.wants_dx ? row.dy + s.dy.row : row.dy;  // dx has asked for it
  if (x.same_pixels()) ask_for(row, s.x, x.memory(0), std::max<std::int64_t>(0, first + op.kernel_h), op.stride_h);
  depthwise_products_kernel<T>(op.kernel_h, op.kernel_w, op.stride_w)(row);
}

// Row y of dx, and its share of the normalisation's gradients.
template <class T>
void add_input_gradient(const Sweep<T>& s, std::int64_t image, std::int64_t y, T* row, FirstRows first,
                        const GradientSums& sums) {
  T* dx = s.dx.data + image * s.dx.image + y * s.dx.row;
  if (!s.sums) return input_gradient_row(s, image, y, dx, s.dx.pixel, s.streaming);
  // What goes past the caches is summed before it goes.
  T* out = s.streaming ? row : dx;
  const std::int64_t pixel = s.streaming ? s.op.channels : s.dx.pixel;
  input_gradient_row(s, image, y, out, pixel, false);
  const T* x = s.x.data + image * s.x.image + y * s.x.row;
  with_activation(s.of_x.activation, [&](auto activation) {
    add_gradients<activation()>([&](std::int64_t i) { return x + i * s.x.pixel; },
                                [&](std::int64_t i) { return out + i * pixel; }, s.x.width, s.op.channels, s.of_x,
                                first, sums);
  });
  if (s.streaming) stream_row(out, s.dx.width, s.op.channels, dx, s.dx.pixel);
}

template <class T>
void sweep_part(const Sweep<T>& s, const DepthwiseSplit::Part& part, float* dw, const GradientSums& sums) {
  const ops::DepthwiseConv2d& op = s.op;
  RowWindow<T> x(s.x, op.channels, s.of_x, op.kernel_h);
  const std::int64_t row_size = whole_lines<T>(s.dx.width * op.channels);
  T* row = thread_memory<T>(row_size + x.size());
  T* ring = row + row_size;
  if (s.wants_dw) std::fill_n(dw, op.weight_shape().size(), 0.0F);
  FirstRows first = FirstRows::yes;
  for (std::int64_t image = part.first_image; image < part.last_image; ++image) {
    x.start(image, ring);
    for (std::int64_t y = part.first_row; y < part.last_row; ++y) {
      if (s.wants_dw) add_weight_gradient(s, x, image, y, dw);
      if (!s.wants_dx) continue;
      // Every row of dx belongs to the row of dy whose stride it lies in; what is left over, to the last one.
      const bool last = y + 1 == s.dy.height;
      const std::int64_t end = last ? s.dx.height : std::min(s.dx.height, (y + 1) * op.stride_h);
      for (std::int64_t from = y * op.stride_h; from < end; ++from) {
        add_input_gradient(s, image, from, row, first, sums);
        first = FirstRows::no;
      }
    }
  }
  if (s.streaming) finish_streaming();
}

void add_partial(const float* partial, std::int64_t parts, std::int64_t size, float* dw) {
  constexpr std::int64_t kChunk = 1024;
  for_each_part((size + kChunk - 1) / kChunk, [&](std::int64_t chunk) {
    const std::int64_t first = chunk * kChunk, n = std::min(kChunk, size - first);
    std::fill_n(dw + first, n, 0.0F);
    for (std::int64_t part = 0; part < parts; ++part)
      for (std::int64_t i = first; i < first + n; ++i) dw[i] += partial[part * size + i];
  });
}

template <class T>
void gradients_as(HostBackend& backend, const ops::DepthwiseConv2d& op, const ops::DepthwiseConv2d::Backward& t) {
  const DepthwiseSplit split(t.dy.shape);
  const std::int64_t size = op.weight_shape().size(), parts = split.parts();
  const std::int64_t dw_floats = t.dw ? parts * size : 0;
  const std::int64_t sums_floats = t.dgamma ? GradientSumsTable::size(parts, op.channels) : 0;
  float* scales = backend.scratch(Scratch::partial_sums, op.channels + dw_floats + sums_floats);
  float* partial = scales + op.channels;
  float* packed = nullptr;
  if (t.dx) {
    packed = backend.scratch(Scratch::packed_weights, size);
    pack_mirrored(op, t.w.f32(), packed);
  }
  Sweep<T> s{.op = op,
             .x = Images<const T>::of(t.x),
             .dy = Images<const T>::of(ConstTensorView(t.dy)),
             .dx = t.dx ? Images<T>::of(t.dx) : Images<T>(),
             .zeros = backend.scratch<T>(Scratch::zeros, op.channels),
             .packed = packed,
             .wants_dx = static_cast<bool>(t.dx),
             .wants_dw = static_cast<bool>(t.dw),
             .streaming = t.dx && can_stream(t.dx),
             .of_x = normaliser(t.of_x, scales),
             .sums = t.dgamma ? GradientSumsTable(partial + dw_floats, op.channels) : GradientSumsTable()};
  for_each_part(parts, [&](std::int64_t i) {
    sweep_part(s, split.part(i), partial + i * size, s.sums ? s.sums.part(i) : GradientSums());
  });
  if (t.dw) add_partial(partial, parts, size, t.dw.f32());
  if (t.dgamma)
    combine_gradients(
        s.sums, parts, [&](std::int64_t) { return op.channels; }, op.channels, t.of_x.variance.f32(), t.of_x.epsilon,
        t.dgamma.f32(), t.dbeta.f32());
}

}  // namespace

void depthwise_gradients(HostBackend& backend, const ops::DepthwiseConv2d& op,
                         const ops::DepthwiseConv2d::Backward& t) {
  with_element(t.dy.dtype, [&](auto element) { gradients_as<typename decltype(element)::Type>(backend, op, t); });
}

}  // namespace brigade::host
