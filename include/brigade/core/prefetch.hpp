/// Reading pieces of memory one after another where the order of the pieces is known, but not to the processor.
///
/// Its own prefetcher follows lines within a page, and has to begin anew in each: samples in random order come at two
/// thirds of the speed at which they come if each line is asked for some time before it is read (measured: samples of
/// 12 KiB, 1.35 us to copy and check, 0.87 us with this).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

namespace brigade {

/// What lies a fixed distance ahead of what is being read: later in this piece, or in the next one.
class Lookahead {
 public:
  /// `next` is read when `now` has been, or is empty if nothing is known of it.
  Lookahead(std::span<const std::byte> now, std::span<const std::byte> next)
      : end_(now.data() + now.size()),
        next_(next.empty() ? now.data() : next.data()),  // with nothing to ask for: what is in the cache
        distance_(std::min(now.size(), kMostBytes)) {}

  /// Asks for the `kBytes` that will be read `distance` after those at `place`, which are in `now`.
  template <std::size_t kBytes>
  [[gnu::always_inline]] void pass(const std::byte* place) const {
    const auto left = static_cast<std::size_t>(end_ - place);
    const std::byte* ahead = left > distance_ ? place + distance_ : next_ + (distance_ - left);
    for (std::size_t line = 0; line < kBytes; line += kLineBytes) __builtin_prefetch(ahead + line);
  }

 private:
  static constexpr std::size_t kLineBytes = 64;
  static constexpr std::size_t kMostBytes = 16384;  // waits in a first cache of 32 KiB beside what is written meanwhile
  const std::byte *end_, *next_;
  std::size_t distance_;
};

/// Copies `from` to `to`, as many bytes and elsewhere, while `next` comes nearer.
inline void copy_ahead(std::span<std::byte> to, std::span<const std::byte> from, std::span<const std::byte> next) {
  constexpr std::size_t kPiece = 256;  // bytes
  const Lookahead ahead(from, next);
  std::size_t done = 0;
  for (; done + kPiece <= from.size(); done += kPiece) {
    ahead.pass<kPiece>(from.data() + done);
    std::memcpy(to.data() + done, from.data() + done, kPiece);
  }
  std::memcpy(to.data() + done, from.data() + done, from.size() - done);
}

}  // namespace brigade
