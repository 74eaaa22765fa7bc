// Reader `preload`: the files as they are lie one after another, each from the beginning of a page, in one block of
// memory that the ranks of a node share. Each rank copies and verifies an equal part of them.
#include <algorithm>

#include "brigade/core/clock.hpp"
#include "places.hpp"
#include "plain_file.hpp"
#include "shard_reader.hpp"

namespace brigade::dataset {
namespace {

using Shards = std::vector<MappedShard>;

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kPieceBytes = 16U << 20;  // copied by one rank before the next one's turn

std::size_t whole_pages(std::int64_t bytes) {
  return (static_cast<std::size_t>(bytes) + kPageBytes - 1) / kPageBytes * kPageBytes;
}

void copy_own_pieces(const std::vector<ShardFile>& files, std::span<std::byte> block, const Team& node) {
  std::size_t piece = 0, base = 0;
  for (const auto& file : files) {
    const PlainFile in(file.path());
    const auto size = static_cast<std::size_t>(file.bytes());
    for (std::size_t at = 0; at < size; at += kPieceBytes)
      if (piece++ % static_cast<std::size_t>(node.size()) == static_cast<std::size_t>(node.rank()))
        in.read(at, block.subspan(base + at, std::min(kPieceBytes, size - at)));
    base += whole_pages(file.bytes());
  }
}

void verify_own_samples(const Shards& shards, const Team& node) {
  std::vector<std::uint8_t> unused;
  std::int64_t sample = 0;
  for (const auto& shard : shards)
    for (std::int64_t row = 0; row < shard.file().header().samples; ++row)
      if (sample++ / 64 % node.size() == node.rank())
        shard.file().verify(row, shard.sample(row, unused), [&] { return shard.name(row); });
}

}  // namespace

ReaderMaker read_preloaded(std::vector<ShardFile> files, std::shared_ptr<SplitIndex> index, Verify verify, Team& job,
                           Team& node, Prepared& prepared) {
  const Stopwatch watch;
  std::size_t total = 0;
  for (const auto& file : files) {
    total += whole_pages(file.bytes());
    prepared.bytes += file.bytes();
  }
  collectively(job, "finding memory for the shards", [&] {
    const std::int64_t free = free_memory_bytes();
    require<OptionError>(static_cast<std::int64_t>(total) < free,
                         "the shards cannot be preloaded (they take {:.2f} GB, this node has {:.2f} GB of memory to "
                         "share). Use --reader mmap or --reader stage?",
                         static_cast<double>(total) * 1e-9, static_cast<double>(free) * 1e-9);
  });
  const std::shared_ptr<SharedBlock> block = node.share(std::max(total, kPageBytes), "sharing memory for the shards");
  const auto shards = std::make_shared<Shards>();
  collectively(job, "preloading the shards", [&] {
    require<OptionError>(block != nullptr,
                         "the shards cannot be preloaded (this node does not give {:.2f} GB of shared memory). Use "
                         "--reader mmap or --reader stage, or a larger /dev/shm?",
                         static_cast<double>(total) * 1e-9);
    copy_own_pieces(files, block->bytes(), node);
  });
  collectively(job, "verifying the shards", [&] {
    std::span<const std::byte> rest = block->bytes();
    for (auto& file : files) {
      const auto size = static_cast<std::size_t>(file.bytes()), pages = whole_pages(file.bytes());
      shards->emplace_back(std::move(file), rest.first(size));
      rest = rest.subspan(pages);
    }
    if (verify == Verify::first) verify_own_samples(*shards, node);
  });
  index->verified_all();
  prepared.copied_bytes = prepared.bytes;
  prepared.seconds = watch.elapsed();
  // Readers hold on to the block through the shards in it.
  return read_from_memory({shards.get(), [block, shards](const Shards*) {}}, std::move(index), 1);
}

}  // namespace brigade::dataset
