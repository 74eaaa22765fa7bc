#include "brigade/core/threads.hpp"

#include <gtest/gtest.h>

#include <mutex>
#include <utility>
#include <vector>

namespace brigade {
namespace {

using Ranges = std::vector<std::pair<std::size_t, std::size_t>>;

class Pretended final : public Threads {
 public:
  explicit Pretended(int count) : count_(count) {}
  int count() const override { return count_; }
  void each(const std::function<void(int)>& work) override {
    for (int t = 0; t < count_; ++t) work(t);
  }

 private:
  int count_;
};

Ranges ranges_of(int threads, std::size_t begin, std::size_t end, std::size_t least) {
  Ranges ranges;
  Pretended pretended(threads);
  in_ranges(pretended, begin, end, least,
            [&](std::size_t first, std::size_t last) { ranges.emplace_back(first, last); });
  return ranges;
}

TEST(Threads, TheCallingThreadIsOne) {
  EXPECT_EQ(calling_thread().count(), 1);
  std::vector<int> called;
  calling_thread().each([&](int t) { called.push_back(t); });
  EXPECT_EQ(called, std::vector<int>{0});
}

TEST(Threads, ShareRangesOfWholePieces) {
  EXPECT_EQ(ranges_of(3, 5, 5 + 9 * 16, 16), (Ranges{{5, 53}, {53, 101}, {101, 149}}));
  EXPECT_EQ(ranges_of(2, 0, 40, 16), (Ranges{{0, 16}, {16, 40}}));  // the last has what is left
  EXPECT_EQ(ranges_of(4, 0, 40, 16), (Ranges{{0, 16}, {16, 40}}));  // no more than there are pieces
  EXPECT_EQ(ranges_of(4, 8, 39, 16), (Ranges{{8, 39}}));            // too little to share
  EXPECT_EQ(ranges_of(1, 0, 1000, 16), (Ranges{{0, 1000}}));
  EXPECT_EQ(ranges_of(4, 7, 7, 16), Ranges{});
}

}  // namespace
}  // namespace brigade
