// Deep 1 x 1 convolutions by one level of Strassen's product (Strassen, "Gaussian elimination is not optimal",
// Numerische Mathematik 13, 1969): 7 products of half the rows, channels and columns instead of 8. Rows and channels of
// x, [pixels][channels], and channels and columns of w are cut in half:
//
//     M1 = (A11 + A22)(B11 + B22)   M2 = (A21 + A22) B11   M3 = A11 (B12 - B22)   M4 = A22 (B21 - B11)
//     M5 = (A11 + A12) B22          M6 = (A21 - A11)(B11 + B12)                   M7 = (A12 - A22)(B21 + B22)
//
//     C11 = M1 + M4 - M5 + M7   C12 = M3 + M5   C21 = M2 + M4   C22 = M1 - M2 + M3 + M6
//
// where A11, A12 are the halves of the even pixels' channels and A21, A22 those of the odd pixels': neighbours in a
// row, so that no number depends on other images, on other rows, or on how pixels are dealt to threads.
//
// Loop nest, outermost first:
//   blocks     of pairs of pixels, over the threads; the sums of A are made once, into the second-level cache
//   panels     of half the columns
//   products   M1 to M7 of a block and panel, by the tiles of tile_kernel.hpp: they stay in the second-level cache, and
//              become y at once
// The sums and differences cost about a third of the eighth product that they replace, at 512 channels: layers take 8 %
// less time. Weights that are kept take 7/4 of their memory.
//
// Rounding: the sums of a pair's numbers lose about a bit more than the direct sum of the same length (Higham,
// "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 23.2.2).
#pragma once

#include "host_backend.hpp"

namespace brigade::host {

// Whether a convolution in float32 that writes images of this shape is quicker so. Neither the number of images nor of
// threads matters, nor whether weights are kept, so that none of them changes a bit.
bool takes_strassen(const ops::Conv2d& conv, const Shape& out);

// Without moments and normalisation.
void forward_by_strassen(HostBackend& backend, const ops::Conv2d& conv, const ops::Conv2d::Forward& a);

}  // namespace brigade::host
