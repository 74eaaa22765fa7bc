#include "shared_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <string>

#include "check_mpi.hpp"

namespace brigade::communication {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

std::byte* map(int fd, std::size_t bytes, int how = 0) {
  void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | how, fd, 0);
  return address == MAP_FAILED ? nullptr : static_cast<std::byte*>(address);
}

// Null if there is no room: pages are allocated now, where they can be refused, and not by a fatal signal later.
std::byte* create(const std::string& name, std::size_t bytes) {
  const Descriptor file(shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
  if (file.get() < 0 || posix_fallocate(file.get(), 0, static_cast<off_t>(bytes)) != 0) return nullptr;
  std::byte* part = map(file.get(), bytes);
  if (part != nullptr) std::memset(part, 0, bytes);
  return part;
}

// The pages of a peer, which are there already: populated, so that no sum stops to find them.
std::byte* open(const std::string& name, std::size_t bytes) {
  const Descriptor file(shm_open(name.c_str(), O_RDWR, 0));
  return file.get() < 0 ? nullptr : map(file.get(), bytes, MAP_POPULATE);
}

bool all_of(MPI_Comm node, bool mine) {
  int all = mine ? 1 : 0;
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_LAND, node), "MPI_Allreduce");
  return all != 0;
}

struct Place {
  int rank = 0, size = 1;
};
Place place_in(MPI_Comm node) {
  Place place;
  check_mpi(MPI_Comm_rank(node, &place.rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(node, &place.size), "MPI_Comm_size");
  return place;
}

// Drawn by one rank, so that all know the names.
unsigned long draw_key(MPI_Comm node) {
  unsigned long key = std::random_device()();
  check_mpi(MPI_Bcast(&key, 1, MPI_UNSIGNED_LONG, 0, node), "MPI_Bcast");
  return key;
}

class NodeBlock final : public SharedBlock {
 public:
  explicit NodeBlock(std::span<std::byte> bytes) : bytes_(bytes) {}
  ~NodeBlock() override { munmap(bytes_.data(), bytes_.size()); }
  NodeBlock(const NodeBlock&) = delete;
  NodeBlock& operator=(const NodeBlock&) = delete;
  std::span<std::byte> bytes() const override { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

// Allocates part `place.rank` of the pages, where they can be refused; null if they are.
std::byte* take_part(int fd, std::size_t bytes, Place place) {
  const auto border = [&](int r) {
    return bytes / static_cast<std::size_t>(place.size) * static_cast<std::size_t>(r) +
           (r == place.size ? bytes % static_cast<std::size_t>(place.size) : 0);
  };
  const std::size_t begin = border(place.rank);
  const std::size_t length = border(place.rank + 1) - begin;
  if (fd < 0 || (length > 0 && posix_fallocate(fd, static_cast<off_t>(begin), static_cast<off_t>(length)) != 0))
    return nullptr;
  return map(fd, bytes);
}

}  // namespace

std::unique_ptr<SharedBlock> share_block(MPI_Comm node, std::size_t bytes) {
  const Place place = place_in(node);
  const std::string name = fmt::format("/brigade-{:08x}-block", draw_key(node));
  bool made = true;
  if (place.rank == 0) {
    const Descriptor file(shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
    made = file.get() >= 0 && ftruncate(file.get(), static_cast<off_t>(bytes)) == 0;
  }
  std::byte* mapped = nullptr;
  const bool exists = all_of(node, made);
  if (exists) {
    const Descriptor file(shm_open(name.c_str(), O_RDWR, 0));
    all_of(node, file.get() >= 0);  // opened by all: the name may go before the long part begins
    if (place.rank == 0) shm_unlink(name.c_str());
    mapped = take_part(file.get(), bytes, place);
  }
  if (!exists && place.rank == 0) shm_unlink(name.c_str());
  const bool complete = all_of(node, mapped != nullptr);
  if (complete) return std::make_unique<NodeBlock>(std::span(mapped, bytes));
  if (mapped != nullptr) munmap(mapped, bytes);
  return nullptr;
}

SharedMemory::SharedMemory(MPI_Comm node, std::size_t bytes) : bytes_(bytes) {
  const Place place = place_in(node);
  rank_ = place.rank, ranks_ = place.size;
  const auto key = draw_key(node);
  const auto name = [&](int r) { return fmt::format("/brigade-{:08x}-{}", key, r); };

  parts_.assign(static_cast<std::size_t>(ranks_), nullptr);
  std::byte* mine = parts_[static_cast<std::size_t>(rank_)] = create(name(rank_), bytes);
  bool complete = all_of(node, mine != nullptr);
  if (complete) {
    for (int r = 0; r < ranks_; ++r)
      if (r != rank_) parts_[static_cast<std::size_t>(r)] = open(name(r), bytes);
    complete = true;
    for (const std::byte* part : parts_) complete = complete && part != nullptr;
    complete = all_of(node, complete);
  }
  shm_unlink(name(rank_).c_str());
  if (complete) return;
  for (std::byte* part : parts_)
    if (part != nullptr) munmap(part, bytes_);
  parts_.clear();
}

SharedMemory::~SharedMemory() {
  for (std::byte* part : parts_) munmap(part, bytes_);
}

}  // namespace brigade::communication
