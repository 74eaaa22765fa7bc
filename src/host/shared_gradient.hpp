// The gradient of a tensor with several readers, finished by the last of them while its own share is in a cache: the
// formulas are at ops::SharedGradient. Memory passes: writes dx, reads what it is added to, what the mask is taken
// from, and the input of each batch norm.
#pragma once

#include <array>

#include "gradient_sums.hpp"
#include "row_groups.hpp"

namespace brigade::host {

// One of the batch norms whose sums over the gradient are taken: z(r) points to the r-th row of its input.
template <class Rows>
struct SharedNorm {
  Rows z;
  const float* mean;
  GradientSums to;
};

// dx (+)= own, but 0 where `kBy` did not let x through, for `rows` rows of `width` entries, and the sums over dx, which
// begin with these rows. own(r), x(r) and dx(r) point to the r-th rows.
template <ops::Activation kBy, class Own, class Rows, class Dx, std::size_t kNorms>
void finish_shared(const Own& own, const Rows& x, const Dx& dx, std::int64_t rows, std::int64_t width, bool add,
                   const std::array<SharedNorm<Rows>, kNorms>& norms) {
  constexpr std::int64_t kRows = 8;          // summed in registers before L1 is touched
  constexpr std::size_t kSome = kNorms + 1;  // arrays of none are not allowed
  const auto do_rows = [&](std::int64_t first, auto count, auto adding) {
    // Looked up once, not for every vector: the compiler cannot know that the stores leave the tables alone.
    decltype(own(0)) owns[kRows];
    decltype(dx(0)) dxs[kRows];
    decltype(x(0)) xs[kRows], zs[kSome][kRows];
    for (std::int64_t r = 0; r < count; ++r) {
      owns[r] = own(first + r), xs[r] = x(first + r), dxs[r] = dx(first + r);
      for (std::size_t i = 0; i != kNorms; ++i) zs[i][r] = norms[i].z(first + r);
    }
    over_lanes(width, [&](std::int64_t c, auto lanes) {
      Vec plain{}, mean[kSome]{}, weighted[kSome]{};
      for (std::size_t i = 0; i != kNorms; ++i) mean[i] = lanes.load(norms[i].mean + c);
      for (std::int64_t r = 0; r < count; ++r) {
        Vec gradient = lanes.load(owns[r] + c);
        if constexpr (adding()) gradient += lanes.load(dxs[r] + c);
        if constexpr (kBy != ops::Activation::none) gradient = masked<kBy>(gradient, lanes.load(xs[r] + c));
        lanes.store(dxs[r] + c, gradient);
        plain += gradient;
        for (std::size_t i = 0; i != kNorms; ++i) weighted[i] += gradient * (lanes.load(zs[i][r] + c) - mean[i]);
      }
      for (std::size_t i = 0; i != kNorms; ++i) {
        const GradientSums& to = norms[i].to;
        lanes.store(to.plain + c, first == 0 ? plain : lanes.load(to.plain + c) + plain);
        lanes.store(to.weighted + c, first == 0 ? weighted[i] : lanes.load(to.weighted + c) + weighted[i]);
      }
    });
  };
  over_row_groups<kRows>(rows, add, do_rows);
}

}  // namespace brigade::host
