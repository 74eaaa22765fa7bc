// A slice of channels is a tensor with a pitch, which convolutions read and write as they are. The filters of a group
// are columns of w [kh][kw][C / groups][K]; they are copied out, and their gradient in, through a dense array of the
// group's own: for every weight one copy, where the product spends 2 N OH OW operations on it.
#include "grouped_conv2d.hpp"

#include <algorithm>

#include "parallel.hpp"

namespace brigade::host {
namespace {

// Elements [first, first + count) of the last axis. An empty view stays empty.
template <class Pointer>
BasicTensorView<Pointer> slice(const BasicTensorView<Pointer>& view, std::int64_t first, std::int64_t count) {
  if (!view) return view;
  using Byte = std::conditional_t<std::is_const_v<std::remove_pointer_t<Pointer>>, const std::byte, std::byte>;
  Shape shape = view.shape;
  shape[shape.rank() - 1] = count;
  return {static_cast<Byte*>(view.data) + first * static_cast<std::int64_t>(size_of(view.dtype)), shape, view.dtype,
          shape.rank() == 1 ? count : view.pitch};
}

ops::Normalisation slice(ops::Normalisation of_x, std::int64_t first, std::int64_t count) {
  for (ConstTensorView* view : {&of_x.gamma, &of_x.beta, &of_x.mean, &of_x.variance})
    *view = slice(*view, first, count);
  return of_x;
}

// One group: its convolution, and where its channels begin.
struct Group {
  ops::Conv2d conv;
  std::int64_t first_in, first_out;
  template <class View>
  auto in(const View& view) const {
    return slice(view, first_in, conv.in_channels);
  }
  template <class View>
  auto out(const View& view) const {
    return slice(view, first_out, conv.out_channels);
  }
};

template <class Work>
void for_each_group(const ops::Conv2d& conv, const Work& work) {
  for (std::int64_t g = 0; g < conv.groups; ++g) {
    Group group{.conv = conv, .first_in = 0, .first_out = 0};
    group.conv.groups = 1;
    group.conv.in_channels = conv.in_channels / conv.groups;
    group.conv.out_channels = conv.out_channels / conv.groups;
    group.first_in = g * group.conv.in_channels;
    group.first_out = g * group.conv.out_channels;
    work(group);
  }
}

// Rows of `columns` floats, `from_pitch` apart, to rows that are `to_pitch` apart.
void copy_rows(const float* from, std::int64_t from_pitch, float* to, std::int64_t to_pitch, std::int64_t rows,
               std::int64_t columns) {
  for_each_part(rows, [&](std::int64_t row) { std::copy_n(from + row * from_pitch, columns, to + row * to_pitch); });
}

// Of one group: its filters, and a place for their gradient.
struct Filters {
  TensorView w, dw;
};

Filters filters_of(HostBackend& backend, const Group& group, const ConstTensorView& w) {
  const Shape shape = group.conv.weight_shape();
  float* own = backend.scratch(Scratch::group_weights, 2 * shape.size());
  copy_rows(w.f32() + group.first_out, w.pitch, own, shape.back(), shape.size() / shape.back(), shape.back());
  return {.w = {own, shape}, .dw = {own + shape.size(), shape}};
}

}  // namespace

void forward_by_groups(HostBackend& backend, const ops::Conv2d& conv, const ops::Conv2d::Forward& a) {
  for_each_group(conv, [&](const Group& group) {
    backend.forward(group.conv, {.x = group.in(a.x),
                                 .w = filters_of(backend, group, a.w).w,
                                 .bias = group.out(a.bias),
                                 .y = group.out(a.y),
                                 .of_x = group.in(a.of_x),
                                 .mean = group.out(a.mean),
                                 .variance = group.out(a.variance)});
  });
}

void backward_by_groups(HostBackend& backend, const ops::Conv2d& conv, const ops::Conv2d::Backward& a) {
  for_each_group(conv, [&](const Group& group) {
    const Filters filters = filters_of(backend, group, a.w);
    backend.backward(group.conv, {.x = group.in(a.x),
                                  .w = filters.w,
                                  .y = group.out(a.y),
                                  .dy = group.out(a.dy),
                                  .dx = group.in(a.dx),
                                  .dw = a.dw ? filters.dw : TensorView(),
                                  .dbias = group.out(a.dbias),
                                  .of_x = group.in(a.of_x)});
    if (!a.dw) return;
    const std::int64_t columns = group.conv.out_channels;
    copy_rows(filters.dw.f32(), columns, a.dw.f32() + group.first_out, conv.out_channels,
              a.dw.shape.size() / conv.out_channels, columns);
  });
}

}  // namespace brigade::host
