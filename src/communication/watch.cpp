#include "watch.hpp"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "brigade/core/clock.hpp"
#include "check_mpi.hpp"

namespace brigade::communication {
namespace {

constexpr int kSpins = 200;                             // MPI_Test alone: some 20 us
constexpr double kYield_s = 1e-3;                       // then a core is offered to others
constexpr auto kSleep = std::chrono::microseconds(50);  // then it is left to them
constexpr double kListen_s = 0.05;                      // how often a waiting rank looks for roll calls
constexpr double kRollCall_s = 1.0;                     // how long answers are collected
constexpr std::size_t kLineBytes = 256;

// A short message to a rank of the world; nobody waits for its arrival, so it owns its bytes.
void send_line(Communicator::Impl& impl, int to, int tag, std::string_view text) {
  Buffer line(host_memory(), kLineBytes);  // zeroed
  std::memcpy(line.data(), text.data(), std::min(text.size(), kLineBytes - 1));
  MPI_Request request = MPI_REQUEST_NULL;
  if (MPI_Isend(line.data(), kLineBytes, MPI_CHAR, to, tag, impl.world->comm, &request) == MPI_SUCCESS)
    impl.abandon({request}, std::move(line));
}

// A message with this tag, if one is there: its sender (a rank of the world, or -1) and text.
int receive_line(Communicator::Impl& impl, int tag, std::string& text) {
  int there = 0;
  MPI_Status status;
  const MPI_Comm comm = impl.world->comm;
  if (MPI_Iprobe(MPI_ANY_SOURCE, tag, comm, &there, &status) != MPI_SUCCESS || there == 0) return -1;
  char line[kLineBytes] = {};
  if (MPI_Recv(line, kLineBytes, MPI_CHAR, status.MPI_SOURCE, tag, comm, MPI_STATUS_IGNORE) != MPI_SUCCESS) return -1;
  line[kLineBytes - 1] = '\0';
  text = line;
  return status.MPI_SOURCE;
}

}  // namespace

Watch::Watch(Communicator::Impl& impl, std::string_view what) : impl_(impl), what_(what), since_s_(now_s()) {}

void Watch::moved() {
  spins_ = 0;
  since_s_ = now_s();
}

void Watch::idle(Patience patience) {
  const Idling idling = impl_.world->idling;
  if (++spins_ < kSpins && idling == Idling::spin) return;
  const double now = now_s();
  const double waited_s = now - since_s_;
  if (waited_s < kYield_s && idling != Idling::sleep) {
    sched_yield();
    return;
  }
  if (patience == Patience::limited && waited_s > impl_.world->hang_timeout_s) give_up(waited_s);
  if (now - listened_s_ > kListen_s) {
    answer_roll_calls();
    look_around();
    listened_s_ = now;
  }
  std::this_thread::sleep_for(kSleep);
}

void Watch::answer_roll_calls() {
  std::string ignored;
  for (int caller; (caller = receive_line(impl_, Communicator::Impl::kRollCallTag, ignored)) >= 0;)
    send_line(impl_, caller, Communicator::Impl::kRollAnswerTag, what_);
}

void Watch::look_around() const {
  if (!impl_.world->presence) return;
  if (const auto missing = impl_.world->presence->missing()) throw PeerError(ended_without_a_word(*missing, what_));
}

// "no answer from rank 2 on host b; rank 0 waits in 'x'": who is where.
std::string Watch::call_the_roll() {
  std::set<int> missing(impl_.world_ranks.begin(), impl_.world_ranks.end());
  missing.erase(impl_.world_rank(impl_.rank));
  for (const int rank : missing) send_line(impl_, rank, Communicator::Impl::kRollCallTag, what_);

  std::map<int, std::string> present;
  const double until_s = now_s() + kRollCall_s;
  while (now_s() < until_s && !missing.empty()) {
    // Somebody else's call says where that rank waits as well as an answer does.
    for (const int tag : {Communicator::Impl::kRollAnswerTag, Communicator::Impl::kRollCallTag}) {
      std::string where;
      const int rank = receive_line(impl_, tag, where);
      if (rank < 0) continue;
      if (tag == Communicator::Impl::kRollCallTag) send_line(impl_, rank, Communicator::Impl::kRollAnswerTag, what_);
      missing.erase(rank);
      present[rank] = where;
    }
    std::this_thread::sleep_for(kSleep);
  }
  return account(missing, present);
}

std::string Watch::account(const std::set<int>& missing, const std::map<int, std::string>& present) const {
  constexpr int kNamed = 8;  // of thousands of ranks a few say enough
  int named = 0;
  int elsewhere = 0;
  std::string text;
  for (const int rank : missing)
    if (++named <= kNamed) text += (named == 1 ? "no answer from " : ", ") + impl_.world->name(rank);
  if (named > kNamed) text += fmt::format(" and {} more", named - kNamed);
  for (const auto& [rank, where] : present)
    if (where != what_.substr(0, kLineBytes - 1) && ++elsewhere <= kNamed)
      text += fmt::format("{}rank {} waits in '{}'", text.empty() ? "" : "; ", rank, where);
  return text.empty() ? "all ranks wait in the same place; is the network broken?" : text;
}

void Watch::give_up(double waited_s) {
  const std::string roll = call_the_roll();
  throw PeerError(fmt::format(
      "{} waited {:.4g} s in '{}' ({}). Is that rank stopped, out of memory or much slower than the others?",
      impl_.world->name(impl_.world_rank(impl_.rank)), waited_s, what_, roll));
}

void wait(Communicator::Impl& impl, MPI_Request request, std::string_view what) {
  Watch watch(impl, what);
  try {
    for (int done = 0;;) {
      check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
      if (done != 0) return;
      watch.idle();
    }
  } catch (...) {
    if (request != MPI_REQUEST_NULL) impl.abandon({request});
    throw;
  }
}

void meet(Communicator::Impl& impl, std::string_view what) {
  MPI_Request request;
  check_mpi(MPI_Ibarrier(impl.comm, &request), "MPI_Ibarrier");
  wait(impl, request, what);
}

}  // namespace brigade::communication
