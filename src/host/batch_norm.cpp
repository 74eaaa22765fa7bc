// Batch normalisation.
//
// Memory passes, the fewest without keeping tensors in cache:
//   forward   reads x twice (statistics, then output), writes y          3 passes; only 1 if no y is wanted
//   infer     reads x, writes y                                          2
//   backward  reads x and dy twice (sums, then dx), writes dx            5; 3 if the maker of dy has summed it,
//             and then none of its own if the convolution that reads dx makes it (pixel_maker.hpp)
//   centre    reads x and dx, writes dx                                  3, once for all batch norms over x
//
// A tensor is split by its shape alone into parts of rows, whose moments (moments.hpp) or sums are combined.
//
// Few channels would leave lanes empty, so `fold` pixels of a dense tensor count as one wide row, whose entries
// belong to the channels c, c + channels, ... ; what is left at the end is a last, shorter row.
#include "brigade/ops/batch_norm.hpp"

#include <numeric>

#include "gradient_sums.hpp"
#include "host_backend.hpp"
#include "moments.hpp"
#include "normalise.hpp"
#include "pixel_maker.hpp"
#include "row_groups.hpp"

namespace brigade::host {
namespace {

struct Part {
  std::int64_t first, rows, width;  // rows [first, first + rows) of `width` floats
};

// How a tensor is seen as wide rows and split into parts.
class Split {
 public:
  Split(const Shape& shape, bool dense) : channels(shape.back()) {
    const std::int64_t pixels = shape.size() / channels;
    if (dense && channels < 4 * kLanes) fold = kLanes / std::gcd(channels, std::int64_t{kLanes});
    width = fold * channels;
    rows_ = pixels / fold;
    rest_ = pixels % fold * channels;
    // Large enough that partial sums are few beside the data, small enough to share out.
    rows_per_part_ = std::max({std::int64_t{32}, 16384 / width, rows_ / 512});
    whole_parts_ = (rows_ + rows_per_part_ - 1) / rows_per_part_;
  }

  std::int64_t channels, fold = 1, width = 0;

  std::int64_t parts() const { return whole_parts_ + (rest_ > 0 ? 1 : 0); }
  Part part(std::int64_t i) const {
    if (i == whole_parts_) return {rows_, 1, rest_};
    return {i * rows_per_part_, std::min(rows_per_part_, rows_ - i * rows_per_part_), width};
  }
  // Distance between two wide rows of a tensor whose pixels are `pitch` apart.
  std::int64_t pitch(std::int64_t pixel_pitch) const { return fold == 1 ? pixel_pitch : width; }

 private:
  std::int64_t rows_ = 0, rest_ = 0, rows_per_part_ = 0, whole_parts_ = 0;
};

// Calls body(index into the part's partial sums, index of the channel, elements) for the entries of a part that
// belong to channels [begin, end).
template <class Body>
void over_entries(const Split& split, const Part& part, std::int64_t begin, std::int64_t end, const Body& body) {
  for (std::int64_t base = 0; base < part.width; base += split.channels)
    for (std::int64_t c = begin; c < end; ++c) body(base + c, c, static_cast<double>(part.rows));
}

// Calls body(begin, end) in parallel for blocks of channels.
template <class Body>
void over_channel_blocks(std::int64_t channels, const Body& body) {
  constexpr std::int64_t kBlock = 64;
  for_each_part((channels + kBlock - 1) / kBlock,
                [&](std::int64_t i) { body(i * kBlock, std::min(channels, (i + 1) * kBlock)); });
}

// What is applied per entry of a wide row: arrays of `width` floats.
struct Coefficients {
  float *mean, *scale, *beta;  // y = (x - mean) * scale + beta, scale = gamma / sqrt(variance + epsilon)
  float *offset, *slope;       // dx = scale * dy - (offset + slope * (x - mean))
};

Coefficients coefficients_at(float* memory, std::int64_t width) {
  return {memory, memory + width, memory + 2 * width, memory + 3 * width, memory + 4 * width};
}

void fill_normalisation(const ops::BatchNorm& op, const Split& split, const float* gamma, const float* beta,
                        const float* mean, const float* variance, const Coefficients& to) {
  over_channel_blocks(split.channels, [&](std::int64_t begin, std::int64_t end) {
    over_entries(split, {0, 1, split.width}, begin, end, [&](std::int64_t entry, std::int64_t c, double) {
      to.mean[entry] = mean[c];
      to.scale[entry] = normal_scale(gamma[c], variance[c], op.epsilon);
      to.beta[entry] = beta[c];
    });
  });
}

template <class T>
void normalise_all(const ops::BatchNorm& op, const Split& split, ConstTensorView x, TensorView y,
                   const Coefficients& by) {
  const std::int64_t x_pitch = split.pitch(x.pitch), y_pitch = split.pitch(y.pitch);
  const T* from = x.as<T>();
  T* to = y.as<T>();
  for_each_part(split.parts(), [&](std::int64_t i) {
    const Part part = split.part(i);
    with_activation(op.activation, [&](auto activation) {
      normalise_rows<activation()>([&](std::int64_t r) { return from + (part.first + r) * x_pitch; }, part.rows,
                                   part.width, {by.mean, by.scale, by.beta}, to + part.first * y_pitch, y_pitch);
    });
  });
}

// The coefficients of dx from dgamma and dbeta.
void fill_gradient(const ops::BatchNorm& op, const Split& split, const ops::BatchNorm::Backward& t,
                   const Coefficients& to) {
  const float *gamma = t.gamma.f32(), *variance = t.variance.f32(), *dgamma = t.dgamma.f32(), *dbeta = t.dbeta.f32();
  const std::int64_t count = t.x.shape.size() / split.channels;
  over_channel_blocks(split.channels, [&](std::int64_t begin, std::int64_t end) {
    over_entries(split, {0, 1, split.width}, begin, end, [&](std::int64_t entry, std::int64_t c, double) {
      const GradientRest rest = gradient_rest(gamma[c], variance[c], op.epsilon, dgamma[c], dbeta[c], count);
      to.offset[entry] = rest.offset;
      to.slope[entry] = rest.slope;
    });
  });
}

// dx of `rows` rows of `width` floats; x(r), dy(r) and dx(r) point to the r-th.
template <ops::Activation kBy, class X, class Dy, class Dx>
void gradient_rows(const X& x, const Dy& dy, const Dx& dx, std::int64_t rows, std::int64_t width,
                   const Coefficients& by) {
  constexpr std::int64_t kRows = 4;
  const auto do_rows = [&](std::int64_t first, auto count) {
    decltype(x(0)) xs[kRows];
    decltype(dy(0)) dys[kRows];
    decltype(dx(0)) dxs[kRows];
    for (std::int64_t r = 0; r < count; ++r) xs[r] = x(first + r), dys[r] = dy(first + r), dxs[r] = dx(first + r);
    over_lanes(width, [&](std::int64_t c, auto lanes) {
      const Vec mean = lanes.load(by.mean + c), scale = lanes.load(by.scale + c), beta = lanes.load(by.beta + c);
      const Vec offset = lanes.load(by.offset + c), slope = lanes.load(by.slope + c);
      for (std::int64_t r = 0; r < count; ++r) {
        const Vec value = lanes.load(xs[r] + c);
        const Vec gradient = gradient_of<kBy>(lanes.load(dys[r] + c), value, mean, scale, beta);
        lanes.store(dxs[r] + c, scale * gradient - (offset + slope * (value - mean)));
      }
    });
  };
  over_row_groups<kRows>(rows, do_rows);
}

template <class T, ops::Activation kBy>
void sum_gradients(const ops::BatchNorm& op, const ops::BatchNorm::Backward& t, const Split& split,
                   const GradientSumsTable& sums, const Normaliser& by) {
  const std::int64_t x_pitch = split.pitch(t.x.pitch), dy_pitch = split.pitch(t.dy.pitch);
  const T *x = t.x.as<T>(), *dy = t.dy.as<T>();
  for_each_part(split.parts(), [&](std::int64_t i) {
    const Part part = split.part(i);
    add_gradients<kBy>([&](std::int64_t r) { return x + (part.first + r) * x_pitch; },
                       [&](std::int64_t r) { return dy + (part.first + r) * dy_pitch; }, part.rows, part.width, by,
                       FirstRows::yes, sums.part(i));
  });
  combine_gradients(
      sums, split.parts(), [&](std::int64_t i) { return split.part(i).width; }, split.channels, t.variance.f32(),
      op.epsilon, t.dgamma.f32(), t.dbeta.f32());
}

template <class T, ops::Activation kBy>
void input_gradient(const ops::BatchNorm::Backward& t, const Split& split, const Coefficients& by) {
  const std::int64_t x_pitch = split.pitch(t.x.pitch), dy_pitch = split.pitch(t.dy.pitch);
  const std::int64_t dx_pitch = split.pitch(t.dx.pitch);
  const T *x = t.x.as<T>(), *dy = t.dy.as<T>();
  T* dx = t.dx.as<T>();
  for_each_part(split.parts(), [&](std::int64_t i) {
    const Part part = split.part(i);
    gradient_rows<kBy>([&](std::int64_t r) { return x + (part.first + r) * x_pitch; },
                       [&](std::int64_t r) { return dy + (part.first + r) * dy_pitch; },
                       [&](std::int64_t r) { return dx + (part.first + r) * dx_pitch; }, part.rows, part.width, by);
  });
}

}  // namespace

void HostBackend::forward(const ops::BatchNorm& op, const ops::BatchNorm::Forward& t) {
  EXPECT((!t.y || t.x.shape == t.y.shape) && t.x.shape.back() == op.channels && t.x.shape.size() > 0);
  const Split split(t.x.shape, t.x.dense());  // the statistics follow from x alone, wherever y lies
  const std::int64_t pitch = split.pitch(t.x.pitch);
  const MomentsTable moments(scratch(Scratch::partial_sums, MomentsTable::size(split.parts(), split.width)),
                             split.width);
  with_element(t.x.dtype, [&](auto element) {
    const auto* x = t.x.as<typename decltype(element)::Type>();
    for_each_part(split.parts(), [&](std::int64_t i) {
      const Part part = split.part(i);
      const auto* first = x + part.first * pitch;
      measure([&](std::int64_t r) { return first + r * pitch; }, part.rows, part.width, moments.part(i));
    });
  });
  const auto part_of = [&](std::int64_t i) { return MomentsPart{split.part(i).rows, split.part(i).width}; };
  combine_moments(moments, split.parts(), part_of, split.channels, t.x.shape.size() / split.channels, t.mean.f32(),
                  t.variance.f32());
  if (t.y) infer(op, {t.x, t.gamma, t.beta, t.mean, t.variance, t.y});
}

void HostBackend::infer(const ops::BatchNorm& op, const ops::BatchNorm::Inference& t) {
  EXPECT(t.x.shape == t.y.shape && t.x.shape.back() == op.channels);
  const Split split(t.x.shape, t.x.dense() && t.y.dense());
  const Coefficients by = coefficients_at(scratch(Scratch::partial_sums, 5 * split.width), split.width);
  fill_normalisation(op, split, t.gamma.f32(), t.beta.f32(), t.mean.f32(), t.variance.f32(), by);
  with_element(t.x.dtype,
               [&](auto element) { normalise_all<typename decltype(element)::Type>(op, split, t.x, t.y, by); });
}

void HostBackend::backward(const ops::BatchNorm& op, const ops::BatchNorm::Backward& t) {
  EXPECT(t.x.shape == t.dy.shape && (!t.dx || t.dx.shape == t.x.shape) && t.x.shape.back() == op.channels);
  const Split split(t.x.shape, t.x.dense() && t.dy.dense() && (!t.dx || t.dx.dense()));
  float* memory = scratch(Scratch::partial_sums, 5 * split.width + GradientSumsTable::size(split.parts(), split.width));
  const Coefficients by = coefficients_at(memory, split.width);
  fill_normalisation(op, split, t.gamma.f32(), t.beta.f32(), t.mean.f32(), t.variance.f32(), by);
  with_element(t.x.dtype, [&](auto element) {
    using T = typename decltype(element)::Type;
    with_activation(op.activation, [&](auto activation) {
      if (t.sums == ops::BatchNorm::Sums::computed)
        sum_gradients<T, activation()>(op, t, split, {memory + 5 * split.width, split.width},
                                       {by.mean, by.scale, by.beta});
      if (!t.dx) return;
      fill_gradient(op, split, t, by);
      input_gradient<T, activation()>(t, split, by);
    });
  });
}

NormGradientMaker::NormGradientMaker(HostBackend& backend, const ops::BatchNorm& op,
                                     const ops::BatchNorm::Backward& tensors)
    : tensors_(tensors), coefficients_(backend.scratch(Scratch::made_pixels, 5 * op.channels)) {
  EXPECT(op.activation == ops::Activation::none && tensors.sums == ops::BatchNorm::Sums::given);
  const Split split(tensors.x.shape, false);  // pixels, not folded
  const Coefficients by = coefficients_at(coefficients_, op.channels);
  fill_normalisation(op, split, tensors.gamma.f32(), tensors.beta.f32(), tensors.mean.f32(), tensors.variance.f32(),
                     by);
  fill_gradient(op, split, tensors, by);
}

void NormGradientMaker::make(std::span<const std::int64_t> pixels, std::int64_t first, std::int64_t channels) const {
  const Coefficients all = coefficients_at(coefficients_, tensors_.x.shape.back());
  const Coefficients by{all.mean + first, all.scale + first, all.beta + first, all.offset + first, all.slope + first};
  with_element(tensors_.x.dtype, [&](auto element) {
    using T = typename decltype(element)::Type;
    const auto rows_of = [&](const auto& tensor, auto* data) {
      return [=](std::int64_t r) { return data + pixels[static_cast<std::size_t>(r)] * tensor.pitch + first; };
    };
    gradient_rows<ops::Activation::none>(
        rows_of(tensors_.x, tensors_.x.template as<T>()), rows_of(tensors_.dy, tensors_.dy.template as<T>()),
        rows_of(tensors_.dx, tensors_.dx.template as<T>()), static_cast<std::int64_t>(pixels.size()), channels, by);
  });
}

void HostBackend::centre(const ops::BatchNorm::Centring& t) {
  EXPECT(t.x.shape == t.dx.shape);
  const std::int64_t channels = t.x.shape.back();
  const float *mean_of = t.mean.f32(), *offset_of = t.offset.f32(), *slope_of = t.slope.f32();
  with_element(t.x.dtype, [&](auto element) {
    using T = typename decltype(element)::Type;
    const T* x = t.x.as<T>();
    T* dx = t.dx.as<T>();
    constexpr std::int64_t kRows = 32;
    const std::int64_t rows = t.x.shape.size() / channels;
    for_each_part((rows + kRows - 1) / kRows, [&](std::int64_t part) {
      const std::int64_t end = std::min(rows, (part + 1) * kRows);
      over_lanes(channels, [&](std::int64_t c, auto lanes) {
        const Vec mean = lanes.load(mean_of + c), offset = lanes.load(offset_of + c), slope = lanes.load(slope_of + c);
        for (std::int64_t r = part * kRows; r < end; ++r) {
          T* at = dx + r * t.dx.pitch + c;
          lanes.store(at, lanes.load(at) - (offset + slope * (lanes.load(x + r * t.x.pitch + c) - mean)));
        }
      });
    });
  });
}

}  // namespace brigade::host
