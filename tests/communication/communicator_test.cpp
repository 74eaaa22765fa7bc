#include "brigade/communication/communicator.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "brigade/communication/reducer.hpp"
#include "brigade/communication/require_same.hpp"
#include "brigade/core/clock.hpp"
#include "world.hpp"

namespace brigade::communication {
namespace {

TEST(Communicator, CountsTheRanksOfANode) {
  std::array<char, 256> name{};
  ASSERT_EQ(gethostname(name.data(), name.size() - 1), 0);
  const std::string mine = name.data();
  const auto hosts = world().hosts();
  EXPECT_EQ(hosts, world().all_gather(mine, "host names"));
  EXPECT_EQ(world().node_size(), std::count(hosts.begin(), hosts.end(), mine));
  EXPECT_EQ(world().node_rank(), std::count(hosts.begin(), hosts.begin() + world().rank(), mine));
}

TEST(Communicator, AloneIsRankZeroOfOne) {
  Communicator alone;
  EXPECT_EQ(alone.rank(), 0);
  EXPECT_EQ(alone.size(), 1);
  EXPECT_EQ(alone.node_rank(), 0);
  EXPECT_EQ(alone.node_size(), 1);
  EXPECT_EQ(std::ssize(alone.hosts()), 1);
  alone.barrier("nobody");
  std::vector<double> doubles{1.5, -2};
  alone.sum(doubles, "nobody");
  EXPECT_EQ(doubles, (std::vector<double>{1.5, -2}));
  std::vector<std::int64_t> integers{7};
  alone.sum(integers, "nobody");
  EXPECT_EQ(integers, std::vector<std::int64_t>{7});
  EXPECT_EQ(alone.broadcast("text", 0, "nobody"), "text");
  EXPECT_EQ(alone.all_gather("mine", "nobody"), std::vector<std::string>{"mine"});
  alone.maximum(doubles, "nobody");
  EXPECT_EQ(alone.all_gather(doubles, "nobody"), (std::vector<double>{1.5, -2}));
}

TEST(Communicator, BroadcastsFromEveryRoot) {
  for (int root = 0; root < world().size(); ++root) {
    std::vector<float> weights(1000, static_cast<float>(world().rank()));
    world().broadcast(std::as_writable_bytes(std::span(weights)), root, "weights");
    EXPECT_EQ(weights, std::vector<float>(1000, static_cast<float>(root)));

    const auto text_of = [](int rank) { return std::string(static_cast<std::size_t>(rank) * 100, 'a' + char(rank)); };
    EXPECT_EQ(world().broadcast(text_of(world().rank()), root, "text"), text_of(root));  // empty from rank 0
  }
}

TEST(Communicator, SumsIntegersExactly) {
  std::vector<std::int64_t> values{world().rank(), std::int64_t{1} << 53, -world().rank()};
  world().sum(values, "counts");
  const std::int64_t ranks = world().size();
  const std::int64_t triangle = ranks * (ranks - 1) / 2;
  EXPECT_EQ(values, (std::vector<std::int64_t>{triangle, ranks << 53, -triangle}));
}

// 1e16 + 1 + 1 + ... rounds to 1e16 only if added from the left.
TEST(Communicator, SumsDoublesInRankOrder) {
  std::vector<double> values{world().rank() == 0 ? 1e16 : 1.0, 0.1 * (world().rank() + 1)};
  double in_order = 0.1;
  for (int rank = 1; rank < world().size(); ++rank) in_order += 0.1 * (rank + 1);
  world().sum(values, "losses");
  EXPECT_EQ(values, (std::vector<double>{1e16, in_order}));
}

TEST(Communicator, GathersNumbersInRankOrder) {
  const double rank = world().rank();
  std::vector<double> expected;
  for (int other = 0; other < world().size(); ++other) expected.insert(expected.end(), {other + 0.5, -other * 1e300});
  EXPECT_EQ(world().all_gather(std::array{rank + 0.5, -rank * 1e300}, "numbers"), expected);
  EXPECT_TRUE(world().all_gather(std::span<const double>{}, "nothing").empty());
}

TEST(Communicator, FindsTheGreatestOfEachElement) {
  std::vector<double> values{1.0 * world().rank(), -1.0 * world().rank(), -7};
  world().maximum(values, "a test");
  EXPECT_EQ(values, (std::vector<double>{world().size() - 1.0, 0, -7}));
}

// A key that is too long is this rank's own mistake.
TEST(Communicator, DoesNotBlameOthersForItsOwnMistakes) {
  try {
    world().mpi({{std::string(1000, 'k'), "value"}});
    FAIL() << "the key was taken";
  } catch (const Error& error) {
    FAIL() << "thrown with exit code " << static_cast<int>(error.code()) << ": " << error.what();
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("MPI_Info_set failed ("));
    EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr("gone")));
  }
}

TEST(Communicator, GathersTextsOfAnyLengthInRankOrder) {
  const auto text_of = [](int rank) { return std::string(static_cast<std::size_t>((rank + 1) % 3), 'x') + "\0y"; };
  std::vector<std::string> expected;
  for (int rank = 0; rank < world().size(); ++rank) expected.push_back(text_of(rank));
  EXPECT_EQ(world().all_gather(text_of(world().rank()), "texts"), expected);
}

TEST(Communicator, FindsTheLeastOfAllRanks) {
  EXPECT_EQ(world().minimum(10 - world().rank(), "a test"), 11 - world().size());
  EXPECT_EQ(Communicator().minimum(7, "nobody"), 7);
}

// Every rank of the node writes its name into a block that all of them see.
TEST(Communicator, SharesABlockOnANode) {
  Team& node = world().node();
  EXPECT_EQ(node.size(), world().node_size());
  EXPECT_EQ(node.rank(), world().node_rank());
  const auto block = node.share(100'003, "a block");
  ASSERT_NE(block, nullptr);
  const auto bytes = block->bytes();
  ASSERT_EQ(bytes.size(), 100'003U);
  EXPECT_TRUE(std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; }));
  node.barrier("looking at it");
  const auto places = bytes.size() / static_cast<std::size_t>(node.size());
  for (std::size_t i = 0; i < places; ++i)
    bytes[i * static_cast<std::size_t>(node.size()) + static_cast<std::size_t>(node.rank())] =
        static_cast<std::byte>(node.rank() + 1);
  node.barrier("filling it");
  for (std::size_t i = 0; i < places * static_cast<std::size_t>(node.size()); ++i)
    ASSERT_EQ(static_cast<int>(bytes[i]), static_cast<int>(i) % node.size() + 1);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (line.find("-block") != std::string::npos) {
      EXPECT_TRUE(line.ends_with(" (deleted)")) << line;
    }
  EXPECT_EQ(node.share(std::size_t{1} << 60, "too much"), nullptr);
}

TEST(Communicator, SplitsInRankOrder) {
  EXPECT_EQ(std::ssize(world().split(0).hosts()), world().size());
  const int part = world().rank() % 2;
  Communicator half = world().split(part);
  EXPECT_EQ(half.size(), (world().size() + 1 - part) / 2);
  EXPECT_EQ(half.rank(), world().rank() / 2);
  std::vector<double> values{static_cast<double>(world().rank())};
  half.sum(values, "a half");
  double expected = 0;
  for (int rank = part; rank < world().size(); rank += 2) expected += rank;
  EXPECT_EQ(values[0], expected);
}

// ---- require_same() ----

TEST(RequireSame, NamesWhatDiffersAndWhere) {
  std::map<std::string, std::string> facts{{"--seed", "1"}, {"--bucket", "4M"}, {"the command", "train"}};
  EXPECT_NO_THROW(require_same(world(), facts, ExitCode::bad_options, "Alike?"));
  if (world().size() == 1) return;
  const int last = world().size() - 1;
  if (world().rank() == last) {
    facts["--seed"] = "2";
    facts.erase("--bucket");
  }
  try {
    require_same(world(), facts, ExitCode::bad_data, "Alike?");
    FAIL() << "a difference was not noticed";
  } catch (const DataError& error) {
    EXPECT_TRUE(error.on_all_ranks);
    const std::string others = last == 1 ? "rank 0 on .*" : fmt::format("ranks 0, 1{}", last == 3 ? ", 2" : "");
    EXPECT_THAT(error.what(),
                testing::MatchesRegex(fmt::format(
                    "the ranks do not agree: --bucket is 4M on {}, unset on rank {} on .*; --seed is 1 on {}, "
                    "2 on rank {} on .*\\. Alike\\?",
                    others, last, others, last)));
    EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr("command")));
  }
}

// ---- collectively() ----

TEST(Collectively, ReturnsWhenNobodyFails) {
  int calls = 0;
  collectively(world(), "a test", [&] { ++calls; });
  EXPECT_EQ(calls, 1);
}

template <class Expected, class Thrown>
void expect_all_throw(int failing_rank, ExitCode code) {
  const std::string message = fmt::format("shard {} is truncated", failing_rank);
  try {
    collectively(world(), "a test", [&] {
      if (world().rank() >= failing_rank) throw Thrown(fmt::format("shard {} is truncated", world().rank()));
    });
    FAIL() << "nothing was thrown";
  } catch (const Expected& error) {
    EXPECT_EQ(error.code(), code);
    EXPECT_TRUE(error.on_all_ranks);
    EXPECT_EQ(error.what(), message);  // of the lowest failing rank
  }
}

TEST(Collectively, ThrowsTheErrorOfTheLowestFailedRankOnAll) {
  for (int rank = 0; rank < world().size(); ++rank) {
    expect_all_throw<OptionError, OptionError>(rank, ExitCode::bad_options);
    expect_all_throw<DataError, DataError>(rank, ExitCode::bad_data);
    expect_all_throw<DivergedError, DivergedError>(rank, ExitCode::diverged);
    expect_all_throw<OptionError, NotCompiled>(rank, ExitCode::bad_options);
  }
  EXPECT_THROW(collectively(world(), "a test", [] { throw Error(ExitCode::stopped_early, ""); }), Error);
}

// Else ranks would wait a second time for one that is lost.
TEST(Collectively, DoesNotAgreeWithLostPeers) {
  EXPECT_THROW(collectively(world(), "a test", [] { throw PeerError("rank 1 is lost"); }), PeerError);
  world().barrier("all have thrown, and none has waited for another");
}

// ---- a rank that does not come ----

// The last rank stays away; the others that wait for it, all but `idle` of them, name it, its host and what they wait
// for.
template <class Wait>
void expect_last_rank_is_missed(const std::string& what, Wait&& wait, int idle = 0) {
  const int last = world().size() - 1;
  if (world().rank() == last) {
    world().barrier("the others' patience to end");
    wait();  // too late, but now nothing is left open
  } else if (world().rank() < idle) {
    world().barrier("the others' patience to end");
  } else {
    const double start_s = now_s();
    try {
      wait();
      ADD_FAILURE() << "rank " << world().rank() << " did not miss rank " << last;
    } catch (const PeerError& error) {
      EXPECT_EQ(error.code(), ExitCode::peer_lost);
      EXPECT_THAT(error.what(), testing::MatchesRegex(fmt::format("rank {} on host .+ waited .+ s in '{}' "
                                                                  "\\(no answer from rank {} on host .*",
                                                                  world().rank(), what, last)));
      EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr(", rank")));  // who waits as well is not accused
    }
    EXPECT_GE(now_s() - start_s, 1.0);
    world().barrier("the others' patience to end");
  }
  world().barrier("end of the test");
}

TEST(HangTimeout, NamesABarrierAndTheMissingRank) {
  if (world().size() == 1) GTEST_SKIP() << "needs a peer";
  Communicator impatient = Communicator::world(1.0);
  expect_last_rank_is_missed("start of epoch 3", [&] { impatient.barrier("start of epoch 3"); });
}

TEST(HangTimeout, NamesAStalledSumAndTheMissingRank) {
  if (world().size() == 1) GTEST_SKIP() << "needs a peer";
  Communicator impatient = Communicator::world(1.0);
  std::vector<float> gradients(500, 1.0F);
  expect_last_rank_is_missed("sum of gradients", [&] {
    if (world().rank() == world().size() - 1) return;
    GradientReducer reducer(impatient, {.segment_bytes = 512});  // small: sent without the peer's help
    reducer.add(gradients);
    reducer.finish("sum of gradients");
  });
}

// What MPI does without a watch begins with a watched wait. The late rank comes to that wait alone, for nobody else
// would come to the rest.
TEST(HangTimeout, NamesWhoDoesNotComeToASplitOrToSharedMemory) {
  if (world().node_size() < world().size() || world().size() == 1) GTEST_SKIP() << "needs a peer on this node";
  const bool late = world().rank() == world().size() - 1;
  Communicator impatient = Communicator::world(1.0);
  expect_last_rank_is_missed("splitting the ranks into groups",
                             [&] { late ? impatient.barrier("") : static_cast<void>(impatient.split(0)); });
  expect_last_rank_is_missed("allocating arrays that the ranks of a node share", [&] {
    if (late)
      impatient.node().barrier("");
    else
      const Buffer array(impatient.array_memory(), 1000);
  });
}

// The last two ranks as a group of their own, where they are ranks 0 and 1: messages call them as the world does.
Communicator last_two(const Communicator& all) { return all.split(all.rank() >= all.size() - 2 ? 1 : 0); }

TEST(HangTimeout, NamesRanksOfAGroupAsTheWorldDoes) {
  if (world().size() == 1) GTEST_SKIP() << "needs a peer";
  const Communicator impatient = Communicator::world(1.0);
  Communicator group = last_two(impatient);
  expect_last_rank_is_missed(
      "statistics of the group", [&] { group.barrier("statistics of the group"); }, world().size() - 2);
}

// The last rank waits on `theirs`, like all others but the last but one, which waits for them on `mine`.
void expect_who_waits_elsewhere_is_not_accused(Communicator& all, Communicator& mine, Communicator& theirs) {
  const int last = world().size() - 1;
  all.set_hang_timeout(world().rank() == last - 1 ? 1.0 : 30);  // of this rank
  if (world().rank() == last - 1) {
    try {
      mine.barrier("here");
      ADD_FAILURE() << "rank " << last << " was not missed";
    } catch (const PeerError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(fmt::format("rank {} waits in 'there'", last)));
      EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr("no answer")));
    }
    all.set_hang_timeout(30);
    theirs.barrier("there");
  } else if (world().rank() == last) {
    theirs.barrier("there");
    mine.barrier("here");  // now nothing is left open
  } else {
    all.barrier("there");
  }
  world().barrier("end of the test");
}

TEST(HangTimeout, DoesNotAccuseWhoWaitsOnAnotherCommunicator) {
  if (world().size() == 1) GTEST_SKIP() << "needs a peer";
  Communicator all = Communicator::world(30);
  Communicator group = last_two(all);
  expect_who_waits_elsewhere_is_not_accused(all, group, all);
  expect_who_waits_elsewhere_is_not_accused(all, all, group);
}

// ---- watch_call() ----

// Longer ones end the process: tests/cli/test_lost_ranks.py.
TEST(WatchedCall, LastsForTheHangTimeoutEach) {
  if (world().size() == 1) {
    EXPECT_EQ(world().watch_call("nothing"), nullptr);
    return;
  }
  Communicator impatient = Communicator::world(0.6);
  for (int call = 0; call < 3; ++call) {
    const auto watched = impatient.watch_call("a call");
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
  }
}

}  // namespace
}  // namespace brigade::communication
