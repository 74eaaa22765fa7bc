// The transforms of Winograd's minimal filtering F(m, 3), in one dimension, on registers.
//
//     y = A' [(G g) * (B' d)]        m outputs y, 3 filter taps g, m + 2 inputs d, * element by element
//
// (Lavin, Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4), for which direct sums
// multiply 3 m times and this m + 2 times. In two dimensions each transform is taken along both.
//
// The matrices are Toom and Cook's for polynomials evaluated at points p and at infinity: row p of G is
// (1, p, p^2) / prod over q != p of (p - q), of B' the coefficients of prod over q != p of (x - q), of A (1, p, ...).
//     F(2, 3)   0, 1, -1
//     F(4, 3)   0, r, -r, 1/r, -1/r with r = sqrt(1/2)
// Points r and 1/r keep the powers small both ways: sums of 256 channels are wrong by 2e-6 of the largest, against
// 1e-5 with Lavin and Gray's 0, 1, -1, 2, -2, and 4e-7 of direct sums. (Alam, Anderson, Barabasz, Gregg, "Winograd
// convolution for deep neural networks: efficient point selection", ACM TECS 2022; Barabasz et al., "Error analysis
// and improving the accuracy of Winograd convolution for deep neural networks", ACM TOMS 2020.) F(6, 3) loses another
// digit.
#pragma once

#include "vector.hpp"

namespace brigade::host {

inline constexpr float kRootHalf = 0.70710678118654752F;

template <int m>
struct Winograd;

template <>
struct Winograd<2> {
  // Rows 0 of B' and G with the other sign than above.
  [[gnu::always_inline]] static void input(const Vec (&d)[4], Vec (&t)[4]) {
    t[0] = d[0] - d[2];
    t[1] = d[2] + d[1];
    t[2] = d[2] - d[1];
    t[3] = d[3] - d[1];
  }
  [[gnu::always_inline]] static void weights(const Vec (&g)[3], Vec (&t)[4]) {
    const Vec even = 0.5F * (g[0] + g[2]), odd = 0.5F * g[1];
    t[0] = g[0];
    t[1] = even + odd;
    t[2] = even - odd;
    t[3] = g[2];
  }
  [[gnu::always_inline]] static void output(const Vec (&t)[4], Vec (&y)[2]) {
    y[0] = t[0] + (t[1] + t[2]);
    y[1] = t[3] + (t[1] - t[2]);
  }
};

template <>
struct Winograd<4> {
  [[gnu::always_inline]] static void input(const Vec (&d)[6], Vec (&t)[6]) {
    const Vec even_r = d[4] - 2.0F * d[2], odd_r = kRootHalf * (d[3] - 2.0F * d[1]);
    const Vec even_s = d[4] - 0.5F * d[2], odd_s = kRootHalf * (2.0F * d[3] - d[1]);
    t[0] = (d[0] + d[4]) - 2.5F * d[2];
    t[1] = even_r + odd_r;
    t[2] = even_r - odd_r;
    t[3] = even_s + odd_s;
    t[4] = even_s - odd_s;
    t[5] = (d[1] + d[5]) - 2.5F * d[3];
  }
  [[gnu::always_inline]] static void weights(const Vec (&g)[3], Vec (&t)[6]) {
    const Vec even_r = (-2.0F / 3) * (g[0] + 0.5F * g[2]), odd_r = (-2.0F / 3 * kRootHalf) * g[1];
    const Vec even_s = (1.0F / 6) * (g[0] + 2.0F * g[2]), odd_s = (1.0F / 3 * kRootHalf) * g[1];
    t[0] = g[0];
    t[1] = even_r + odd_r;
    t[2] = even_r - odd_r;
    t[3] = even_s + odd_s;
    t[4] = even_s - odd_s;
    t[5] = g[2];
  }
  [[gnu::always_inline]] static void output(const Vec (&t)[6], Vec (&y)[4]) {
    const Vec even_r = t[1] + t[2], odd_r = kRootHalf * (t[1] - t[2]);
    const Vec even_s = t[3] + t[4], odd_s = (2.0F * kRootHalf) * (t[3] - t[4]);
    y[0] = t[0] + (even_r + even_s);
    y[1] = odd_r + odd_s;
    y[2] = 0.5F * even_r + 2.0F * even_s;
    y[3] = t[5] + (0.5F * odd_r + 2.0F * odd_s);
  }
  // The transposes of output() and weights().
  [[gnu::always_inline]] static void output_gradient(const Vec (&y)[4], Vec (&t)[6]) {
    const Vec even_r = y[0] + 0.5F * y[2], odd_r = kRootHalf * (y[1] + 0.5F * y[3]);
    const Vec even_s = y[0] + 2.0F * y[2], odd_s = (2.0F * kRootHalf) * (y[1] + 2.0F * y[3]);
    t[0] = y[0];
    t[1] = even_r + odd_r;
    t[2] = even_r - odd_r;
    t[3] = even_s + odd_s;
    t[4] = even_s - odd_s;
    t[5] = y[3];
  }
  [[gnu::always_inline]] static void weights_gradient(const Vec (&t)[6], Vec (&g)[3]) {
    const Vec even_r = (-2.0F / 3) * (t[1] + t[2]), odd_r = (-2.0F / 3 * kRootHalf) * (t[1] - t[2]);
    const Vec even_s = (1.0F / 6) * (t[3] + t[4]), odd_s = (1.0F / 3 * kRootHalf) * (t[3] - t[4]);
    g[0] = t[0] + (even_r + even_s);
    g[1] = odd_r + odd_s;
    g[2] = t[5] + (0.5F * even_r + 2.0F * even_s);
  }
};

// The two-dimensional transforms of a tile of m x m outputs: along columns, then along rows.
template <int m>
struct Winograd2d {
  static constexpr int kOutputs = m;     // in each direction
  static constexpr int kPlaces = m + 2;  // of inputs and products

  // load(y, x) gives d, store(y, x, value) takes B' d B.
  template <class Load, class Store>
  [[gnu::always_inline]] static void input(const Load& load, const Store& store) {
    both_ways<kPlaces, kPlaces>([](const auto& from, auto& to) { Winograd<m>::input(from, to); }, load, store);
  }

  // load gives g, 3 x 3; store takes G g G'.
  template <class Load, class Store>
  [[gnu::always_inline]] static void weights(const Load& load, const Store& store) {
    both_ways<3, kPlaces>([](const auto& from, auto& to) { Winograd<m>::weights(from, to); }, load, store);
  }

  // load gives the products; store takes y = A' products A.
  template <class Load, class Store>
  [[gnu::always_inline]] static void output(const Load& load, const Store& store) {
    both_ways<kPlaces, kOutputs>([](const auto& from, auto& to) { Winograd<m>::output(from, to); }, load, store);
  }

  // load gives dy; store takes A dy A', the gradient by the products. For m = 4.
  template <class Load, class Store>
  [[gnu::always_inline]] static void output_gradient(const Load& load, const Store& store) {
    both_ways<kOutputs, kPlaces>([](const auto& from, auto& to) { Winograd<m>::output_gradient(from, to); }, load,
                                 store);
  }

  // load gives the gradient by G g G'; store takes that by g, 3 x 3. For m = 4.
  template <class Load, class Store>
  [[gnu::always_inline]] static void weights_gradient(const Load& load, const Store& store) {
    both_ways<kPlaces, 3>([](const auto& from, auto& to) { Winograd<m>::weights_gradient(from, to); }, load, store);
  }

 private:
  template <int kFrom, int kTo, class Transform, class Load, class Store>
  [[gnu::always_inline]] static void both_ways(const Transform& transform, const Load& load, const Store& store) {
    Vec half[kTo][kFrom];
#pragma GCC unroll 6
    for (int x = 0; x < kFrom; ++x) {
      Vec from[kFrom], to[kTo];
#pragma GCC unroll 6
      for (int y = 0; y < kFrom; ++y) from[y] = load(y, x);
      transform(from, to);
#pragma GCC unroll 6
      for (int y = 0; y < kTo; ++y) half[y][x] = to[y];
    }
#pragma GCC unroll 6
    for (int y = 0; y < kTo; ++y) {
      Vec to[kTo];
      transform(half[y], to);
#pragma GCC unroll 6
      for (int x = 0; x < kTo; ++x) store(y, x, to[x]);
    }
  }
};

// Calls body(Winograd2d<m>()) for m = 2 or 4.
template <class Body>
void with_winograd(int m, const Body& body) {
  if (m == 4)
    body(Winograd2d<4>());
  else
    body(Winograd2d<2>());
}

}  // namespace brigade::host
