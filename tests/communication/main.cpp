// Runs the same tests on every rank; rank 0 prints, others speak only to fail.
#include <gtest/gtest.h>

#include <cstdio>
#include <optional>

#include "world.hpp"

namespace brigade::communication {
namespace {

std::optional<Communicator> the_world;

class FailuresOnly : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.failed())
      std::fprintf(stderr, "rank %d: %s:%d: %s\n", the_world->rank(), result.file_name() ? result.file_name() : "?",
                   result.line_number(), result.summary());
  }
};

}  // namespace

Communicator& world() { return *the_world; }

}  // namespace brigade::communication

int main(int argc, char** argv) {
  using namespace brigade::communication;
  const Environment environment(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  the_world = Communicator::world(30);
  if (the_world->rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailuresOnly);
  }
  const int failed = RUN_ALL_TESTS();
  the_world.reset();
  return failed;
}
