#include "brigade/communication/probe.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "brigade/core/clock.hpp"
#include "brigade/core/median.hpp"
#include "brigade/core/memory.hpp"
#include "check_mpi.hpp"
#include "communicator_impl.hpp"
#include "watch.hpp"

namespace brigade::communication {
namespace {

constexpr int kPings = 64, kMessages = 5, kClockPings = 16;
constexpr const char* kWhat = "measuring the links";

void send(Communicator::Impl& impl, const void* data, std::size_t bytes, int to) {
  MPI_Request request;
  check_mpi(MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, to, Communicator::Impl::kProbeTag, impl.comm, &request),
            "MPI_Isend");
  wait(impl, request, kWhat);
}

void receive(Communicator::Impl& impl, void* data, std::size_t bytes, int from) {
  MPI_Request request;
  check_mpi(
      MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, from, Communicator::Impl::kProbeTag, impl.comm, &request),
      "MPI_Irecv");
  wait(impl, request, kWhat);
}

void exchange(Communicator::Impl& impl, const Buffer& mine, const Buffer& theirs, int peer) {
  MPI_Request request;
  check_mpi(MPI_Irecv(theirs.data(), static_cast<int>(theirs.bytes()), MPI_BYTE, peer, Communicator::Impl::kProbeTag,
                      impl.comm, &request),
            "MPI_Irecv");
  send(impl, mine.data(), mine.bytes(), peer);
  wait(impl, request, kWhat);
}

// Both ends call it; the numbers of the lower rank count.
Link measure(Communicator::Impl& impl, int from, int to, const Buffer& mine, const Buffer& theirs) {
  const bool asks = impl.rank == from;
  const int peer = asks ? to : from;
  std::byte byte{};
  std::vector<double> round_trips;
  for (int i = 0; i < kPings; ++i) {
    const double start = now_s();
    if (asks) send(impl, &byte, 1, peer);
    receive(impl, &byte, 1, peer);
    if (!asks) send(impl, &byte, 1, peer);
    round_trips.push_back(now_s() - start);
  }
  double fastest_s = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kMessages; ++i) {
    const double start = now_s();
    exchange(impl, mine, theirs, peer);
    fastest_s = std::min(fastest_s, now_s() - start);
  }
  return {from, to, median(round_trips) / 2, static_cast<double>(mine.bytes()) / fastest_s};
}

}  // namespace

// In rounds: links from even ranks, from odd ranks, then that of the last rank and the first, for which an odd number
// of ranks leaves no room in the others.
std::vector<Link> probe_links(Communicator& communicator, std::size_t message_bytes) {
  Communicator::Impl* impl = communicator.impl();
  if (impl == nullptr) return {};
  require<OptionError>(message_bytes >= 1 && message_bytes <= (1U << 30), "a message of {} bytes is not in 1 ... 2^30",
                       message_bytes);
  const int ranks = impl->size, links = ranks == 2 ? 1 : ranks;
  const Buffer mine(host_memory(), message_bytes), theirs(host_memory(), message_bytes);
  std::array<double, 2> mine_to_next{};  // latency and bandwidth of the link that begins here
  for (int round = 0; round < 3; ++round) {
    communicator.barrier(kWhat);
    for (int from = 0; from < links; ++from) {
      const int to = (from + 1) % ranks;
      if ((to == 0 ? 2 : from % 2) != round || (impl->rank != from && impl->rank != to)) continue;
      const Link link = measure(*impl, from, to, mine, theirs);
      if (impl->rank != from) continue;
      mine_to_next = {link.latency_s, link.bytes_per_s};
    }
  }
  const std::vector<double> numbers = communicator.all_gather(mine_to_next, kWhat);
  std::vector<Link> all;
  for (int from = 0; from < links; ++from) {
    const double* number = &numbers[2 * static_cast<std::size_t>(from)];
    all.push_back({from, (from + 1) % ranks, number[0], number[1]});
  }
  return all;
}

double clock_offset_s(Communicator& communicator) {
  Communicator::Impl* impl = communicator.impl();
  if (impl == nullptr) return 0;
  const auto elsewhere = [&](int rank) { return impl->host(rank) != impl->host(0); };
  if (impl->rank != 0 && !elsewhere(impl->rank)) return 0;
  if (impl->rank == 0) {
    for (int rank = 1; rank < impl->size; ++rank)
      for (int i = 0; elsewhere(rank) && i < kClockPings; ++i) {
        std::byte byte{};
        receive(*impl, &byte, 1, rank);
        const double now = now_s();
        send(*impl, &now, sizeof now, rank);
      }
    return 0;
  }
  double shortest_s = std::numeric_limits<double>::infinity(), offset_s = 0;
  for (int i = 0; i < kClockPings; ++i) {
    std::byte byte{};
    double theirs = 0;
    const double start = now_s();
    send(*impl, &byte, 1, 0);
    receive(*impl, &theirs, sizeof theirs, 0);
    const double end = now_s();
    if (end - start >= shortest_s) continue;
    shortest_s = end - start;
    offset_s = theirs - (start + end) / 2;
  }
  return offset_s;
}

}  // namespace brigade::communication
