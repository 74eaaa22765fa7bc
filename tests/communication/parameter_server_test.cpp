#include "brigade/communication/parameter_server.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

#include "world.hpp"

namespace brigade::communication {
namespace {

float pushed(int worker, std::int64_t step, std::size_t i) {
  return static_cast<float>(1000 * (worker + 1) + 10 * step) + 0.25F * static_cast<float>(i % 13);
}

// Answers sums over all workers, in rank order.
void serve_sums(const ServedArray& served, std::int64_t steps) {
  ParameterServer server(world(), served);
  const std::size_t size = server.range().size();
  std::vector<std::vector<float>> values(static_cast<std::size_t>(server.workers()));
  std::int64_t sums = 0, here = 0;
  while (const auto push = server.next("pushes of a test")) {
    EXPECT_EQ(push->note[0], sums);
    values[static_cast<std::size_t>(push->worker)].assign(push->values.begin(), push->values.end());
    if (++here < server.workers()) continue;
    std::vector<float> sum(size);
    for (const auto& one : values)
      for (std::size_t i = 0; i < size; ++i) sum[i] += one[i];
    for (int worker = 0; worker < server.workers(); ++worker) server.answer(worker, {sums, worker}, sum);
    here = 0;
    ++sums;
  }
  EXPECT_EQ(sums, steps);
}

void push_and_pull(const ServedArray& served, std::int64_t steps) {
  ServedByOthers servers(world(), served);
  ASSERT_EQ(servers.workers(), world().size() - served.servers);
  std::vector<float> array(served.floats);
  for (std::int64_t step = 0; step < steps; ++step) {
    // The front is computed after the rest was pushed.
    const std::size_t half = served.floats / 2;
    for (std::size_t i = half; i < array.size(); ++i) array[i] = pushed(world().rank(), step, i);
    servers.push({step}, array, half);
    for (std::size_t i = 0; i < half; ++i) array[i] = pushed(world().rank(), step, i);
    EXPECT_EQ(servers.pull({step}, array, "sums of a test"), (Note{step, world().rank()}));
    for (std::size_t i = 0; i < array.size(); ++i) {
      float sum = 0;
      for (int worker = 0; worker < servers.workers(); ++worker) sum += pushed(worker, step, i);
      ASSERT_EQ(array[i], sum) << "step " << step << ", element " << i;
    }
  }
  EXPECT_EQ(servers.bytes_sent(), static_cast<std::size_t>(steps) * served.floats * sizeof(float));
}

TEST(ParameterServer, RangesCoverTheArray) {
  const ServedArray served{.servers = 3, .floats = 11};
  EXPECT_EQ(served.range(0).begin, 0U);
  EXPECT_EQ(served.range(0).end, 4U);
  EXPECT_EQ(served.range(1).begin, 4U);
  EXPECT_EQ(served.range(1).end, 8U);
  EXPECT_EQ(served.range(2).begin, 8U);
  EXPECT_EQ(served.range(2).end, 11U);
}

TEST(ParameterServer, AnswersEveryPush) {
  for (int servers = 1; servers < world().size(); ++servers)
    for (const std::size_t floats : {7U, 1001U, 100000U}) {
      const ServedArray served{.servers = servers, .floats = floats, .piece_bytes = 1U << 12};
      constexpr std::int64_t kSteps = 4;
      if (world().rank() < world().size() - servers)
        push_and_pull(served, kSteps);
      else
        serve_sums(served, kSteps);
    }
}

// A push whose pieces come one after the other takes longer than the hang timeout.
TEST(ParameterServer, IsPatientWithAPushThatMoves) {
  if (world().size() == 1) GTEST_SKIP() << "needs a worker and a server";
  Communicator impatient = Communicator::world(1.5);
  const ServedArray served{.servers = 1, .floats = 3000, .piece_bytes = 4000};
  if (world().rank() == world().size() - 1) {
    ParameterServer server(impatient, served);
    while (const auto push = server.next("a slow push")) {
      EXPECT_EQ(push->values[0] + push->values[2999], 3);
      server.answer(push->worker, {}, push->values);
    }
  } else {
    ServedByOthers servers(impatient, served);
    std::vector<float> array(3000, 1.0F);
    array[2999] = 2;
    for (const std::size_t offset : {2000U, 1000U}) {
      servers.push({}, array, offset);
      std::this_thread::sleep_for(std::chrono::milliseconds(900));
    }
    servers.pull({}, array, "an answer");
  }
}

TEST(ParameterServer, NeedsAWorkerAndAServer) {
  for (const int servers : {0, world().size()})
    EXPECT_THROW(ParameterServer(world(), {.servers = servers, .floats = 100}), OptionError);
  EXPECT_THROW(ServedByOthers(world(), {.servers = 1, .floats = 0}), OptionError);
}

// While no worker waits, a server waits for as long as they like; once one does, not longer than the hang timeout.
TEST(ParameterServer, MissesALateWorkerOnlyIfAnotherWaits) {
  if (world().size() < 3) GTEST_SKIP() << "needs two workers";
  Communicator impatient = Communicator::world(0.5);
  const ServedArray served{.servers = 1, .floats = 100};
  const int last = world().size() - 1;
  std::vector<float> array(100, 1.0F);  // as long as MPI may write to it
  if (world().rank() == last) {
    ParameterServer server(impatient, served);
    std::vector<ParameterServer::Push> pushes;
    for (int worker = 0; worker + 1 < last; ++worker) pushes.push_back(server.next("the punctual pushes").value());
    try {
      server.next("the late push");
      ADD_FAILURE() << "the server did not miss the last worker";
    } catch (const PeerError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(fmt::format("no answer from rank {} on host", last - 1)));
    }
    world().barrier("the server has given up");
    pushes.push_back(server.next("the late push").value());  // now nothing is left open
    for (const auto& push : pushes) server.answer(push.worker, {}, push.values);
    world().barrier("all is answered");
    EXPECT_FALSE(server.next("the end"));
  } else {
    ServedByOthers servers(impatient, served);
    if (world().rank() + 1 < last) {
      std::this_thread::sleep_for(std::chrono::milliseconds(900));  // more than the timeout
      EXPECT_THROW(servers.pull({}, array, "an answer"), PeerError);
      world().barrier("the server has given up");
    } else {
      world().barrier("the server has given up");
      servers.pull({}, array, "an answer");
    }
    world().barrier("all is answered");
  }
}

}  // namespace
}  // namespace brigade::communication
