// The gradient of a normalised tensor, taken back through the normalisation while it is in a cache: the formulas are at
// ops::GradientThrough. Memory passes, with the gradient in a cache: reads x, writes dx; reads dx, too, if it is added
// to.
#pragma once

#include "gradient_sums.hpp"
#include "parallel.hpp"
#include "row_groups.hpp"

namespace brigade::host {

// dx (+)= scale * g for `rows` rows of `width` entries, g being `gradient` where the activation let the normalised x
// through; adds g and g * (x - mean) to the sums. gradient(r), x(r) and dx(r) point to the r-th rows; gradient and dx
// may be the same.
template <ops::Activation kBy, class Gradient, class X, class Dx>
void take_through(const Gradient& gradient, const X& x, const Dx& dx, std::int64_t rows, std::int64_t width,
                  const Normaliser& by, bool add, FirstRows first_rows, const GradientSums& to) {
  constexpr std::int64_t kRows = 8;  // summed in registers before L1 is touched
  const auto do_rows = [&](std::int64_t first, auto count, auto adding) {
    const bool fresh = first == 0 && first_rows == FirstRows::yes;
    // Looked up once, not for every vector: the compiler cannot know that the stores leave the tables alone.
    decltype(gradient(0)) gradients[kRows];
    decltype(x(0)) xs[kRows];
    decltype(dx(0)) dxs[kRows];
    for (std::int64_t r = 0; r < count; ++r)
      gradients[r] = gradient(first + r), xs[r] = x(first + r), dxs[r] = dx(first + r);
    over_lanes(width, [&](std::int64_t c, auto lanes) {
      const Vec mean = lanes.load(by.mean + c), scale = lanes.load(by.scale + c), beta = lanes.load(by.beta + c);
      Vec plain{}, weighted{};
      for (std::int64_t r = 0; r < count; ++r) {
        const Vec value = lanes.load(xs[r] + c);
        const Vec g = gradient_of<kBy>(lanes.load(gradients[r] + c), value, mean, scale, beta);
        plain += g;
        weighted += g * (value - mean);
        if constexpr (adding())
          lanes.store(dxs[r] + c, lanes.load(dxs[r] + c) + scale * g);
        else
          lanes.store(dxs[r] + c, scale * g);
      }
      lanes.store(to.plain + c, fresh ? plain : lanes.load(to.plain + c) + plain);
      lanes.store(to.weighted + c, fresh ? weighted : lanes.load(to.weighted + c) + weighted);
    });
  };
  over_row_groups<kRows>(rows, add, do_rows);
}

// dgamma, dbeta, offset and slope from the sums of all parts, as combine_gradients takes them.
template <class WidthOf>
void finish_through(const ops::GradientThrough& t, const GradientSumsTable& sums, std::int64_t parts,
                    const WidthOf& width_of) {
  const std::int64_t channels = t.x.shape.back(), count = t.x.shape.size() / channels;
  const float *gamma = t.by.gamma.f32(), *variance = t.by.variance.f32();
  float *dgamma = t.dgamma.f32(), *dbeta = t.dbeta.f32(), *offset = t.offset.f32(), *slope = t.slope.f32();
  combine_gradients(sums, parts, width_of, channels, variance, t.by.epsilon, dgamma, dbeta);
  constexpr std::int64_t kBlock = 64;  // channels
  for_each_part((channels + kBlock - 1) / kBlock, [&](std::int64_t block) {
    for (std::int64_t c = block * kBlock; c < std::min(channels, (block + 1) * kBlock); ++c) {
      const GradientRest rest = gradient_rest(gamma[c], variance[c], t.by.epsilon, dgamma[c], dbeta[c], count);
      offset[c] = t.add_rest ? offset[c] + rest.offset : rest.offset;
      slope[c] = t.add_rest ? slope[c] + rest.slope : rest.slope;
    }
  });
}

}  // namespace brigade::host
