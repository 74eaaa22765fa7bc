// How the passes of a depthwise convolution share out rows, and how they read them through a normalisation.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "conv_product.hpp"
#include "lanes.hpp"
#include "normalise.hpp"
#include "thread_memory.hpp"

namespace brigade::host {

// Parts of the output whose number depends on its shape only, since each adds up partial sums of its own: as many as
// threads may want, none below 128 KiB; several images, or some rows of one.
class DepthwiseSplit {
 public:
  struct Part {
    std::int64_t first_image, last_image;  // [first, last)
    std::int64_t first_row, last_row;      // of each of these images
    std::int64_t rows() const { return (last_image - first_image) * (last_row - first_row); }
  };

  explicit DepthwiseSplit(const Shape& y) : images_(y[0]), height_(y[1]) {
    constexpr std::int64_t kMaxParts = 128, kMinFloats = 32768, kMinRows = 4;
    const std::int64_t image_floats = y[1] * y[2] * y[3];
    images_per_part_ =
        std::max({std::int64_t{1}, images_ / kMaxParts, kMinFloats / std::max<std::int64_t>(1, image_floats)});
    const std::int64_t strips = std::min({kMaxParts / std::max<std::int64_t>(1, images_), image_floats / kMinFloats,
                                          (height_ + kMinRows - 1) / kMinRows});
    rows_per_part_ = strips <= 1 || images_per_part_ > 1 ? height_ : (height_ + strips - 1) / strips;
    strips_ = (height_ + rows_per_part_ - 1) / rows_per_part_;
  }
  std::int64_t parts() const { return (images_ + images_per_part_ - 1) / images_per_part_ * strips_; }
  Part part(std::int64_t i) const {
    const std::int64_t image = i / strips_ * images_per_part_, row = i % strips_ * rows_per_part_;
    return {image, std::min(images_, image + images_per_part_), row, std::min(height_, row + rows_per_part_)};
  }

 private:
  std::int64_t images_, height_, images_per_part_ = 1, rows_per_part_ = 1, strips_ = 1;
};

// A number of elements, rounded up to cache lines.
template <class T>
constexpr std::int64_t whole_lines(std::int64_t count) {
  constexpr std::int64_t kLine = 64 / sizeof(T);
  return (count + kLine - 1) / kLine * kLine;
}

// The rows of an image as a pass reads them: where they are, or normalised into a ring of the last few rows, which
// stays in the second-level cache.
template <class T>
class RowWindow {
 public:
  RowWindow(const Images<const T>& in, std::int64_t channels, const Normaliser& by, int rows)
      : in_(in), channels_(channels), by_(by), held_(by ? static_cast<std::size_t>(rows) : 0) {}

  // Of the ring, in elements.
  std::int64_t size() const { return static_cast<std::int64_t>(held_.size()) * row_size(); }
  void start(std::int64_t image, T* ring) {
    image_ = in_.data + image * in_.image;
    ring_ = ring;
    std::fill(held_.begin(), held_.end(), -1);
  }
  std::int64_t pixel() const { return by_ ? channels_ : in_.pixel; }
  // Whether pixels lie as far apart in memory as in row(): the memory of rows to come can be asked for on the way.
  bool same_pixels() const { return pixel() == in_.pixel; }
  // Row y of the image, as it lies in memory.
  const T* memory(std::int64_t y) const { return image_ + y * in_.row; }
  // Row y as the pass shall see it: valid until `rows` others have been asked for.
  const T* row(std::int64_t y) {
    if (!by_) return memory(y);
    const std::int64_t slot = y % static_cast<std::int64_t>(held_.size());
    T* to = ring_ + slot * row_size();
    if (std::int64_t& held = held_[static_cast<std::size_t>(slot)]; held != y) {
      held = y;
      const T* from = memory(y);
      with_activation(by_.activation, [&](auto activation) {
        normalise_rows<activation()>([&](std::int64_t pixel) { return from + pixel * in_.pixel; }, in_.width, channels_,
                                     by_, to, channels_);
      });
    }
    return to;
  }

 private:
  // Whole cache lines.
  std::int64_t row_size() const { return whole_lines<T>(in_.width * channels_); }

  Images<const T> in_;
  std::int64_t channels_;
  Normaliser by_;
  std::vector<std::int64_t> held_;  // by slot: the row it holds, or -1
  const T* image_ = nullptr;
  T* ring_ = nullptr;
};

// What a row's sums need beside its numbers; kept by each thread, so that a step allocates nothing.
template <class T>
struct RowMemory {
  std::vector<const T*> rows, table;
  std::vector<const float*> weights;
  void reserve(int n_rows, int classes, std::int64_t table_size) {
    rows.resize(static_cast<std::size_t>(n_rows));
    weights.resize(static_cast<std::size_t>(n_rows) * static_cast<std::size_t>(classes));
    table.resize(static_cast<std::size_t>(table_size));
  }
};

// Outputs above this size do not fit into the last cache anyway: stored past it.
inline bool can_stream(const TensorView& out) {
  constexpr std::int64_t kStreamingBytes = 24 << 20;
  return static_cast<std::int64_t>(out.bytes()) > kStreamingBytes && out.shape.back() % kLanes == 0 &&
         out.pitch % kLanes == 0 && reinterpret_cast<std::uintptr_t>(out.data) % 64 == 0;
}

// Where a row is computed that is looked at once more before it goes past the caches.
template <class T>
void stream_row(const T* from, std::int64_t width, std::int64_t channels, T* to, std::int64_t pixel) {
  for (std::int64_t x = 0; x < width; ++x)
    for (std::int64_t c = 0; c < channels; c += kLanes)
      store_streaming(to + x * pixel + c, load(from + x * channels + c));
}

// The `count` rows from `first` on, as far as an image has them, are asked for on the way.
template <class Row, class T>
void ask_for(Row& row, const Images<const T>& in, const T* image, std::int64_t first, int count) {
  row.n_next = static_cast<int>(std::clamp<std::int64_t>(in.height - first, 0, count));
  row.next = image + first * in.row;
  row.next_row = in.row;
}

}  // namespace brigade::host
