// Reader `independent`: each rank reads what it needs, in file order, neighbours together; for file systems whose
// mappings are slow or unreliable. Contiguous shards are read by pread(2), whose offsets were found when they were
// opened; compressed chunks by H5Dread, because only HDF5 can.
#include "plain_file.hpp"
#include "read_ahead.hpp"
#include "shard_reader.hpp"

namespace brigade::dataset {
namespace {

struct Shard {
  ShardFile file;
  std::unique_ptr<PlainFile> plain;  // of contiguous shards
};
using Shards = std::vector<Shard>;

class IndependentReader final : public ShardReader {
 public:
  IndependentReader(std::shared_ptr<const Shards> shards, std::shared_ptr<SplitIndex> split, std::int64_t read_ahead)
      : ShardReader(std::move(split)),
        shards_(std::move(shards)),
        read_ahead_(index().samples(), read_ahead, index().sample_bytes()) {}

  void fetch(std::span<const std::int64_t> indices, StoredSamples& stored) override {
    in_file_order(indices, stored, places_, order_);
    for (const Range range : read_ahead_.before(indices, storage_reads_of_this_thread())) ask(range);
    std::byte* target = stored.memory.data();
    for (std::size_t begin = 0; begin < order_.size();) {
      std::size_t end = begin + 1;
      while (end < order_.size() && follows(places_[order_[end - 1]], places_[order_[end]])) ++end;
      target = read_run(std::span(order_).subspan(begin, end - begin), target, stored);
      begin = end;
    }
  }

 private:
  static bool follows(Location a, Location b) { return a.shard == b.shard && a.row + 1 == b.row; }

  void ask(Range range) const {
    index().for_each_part(range, [&](std::size_t shard, std::int64_t row, std::int64_t rows) {
      const auto& [file, plain] = (*shards_)[shard];
      if (plain) plain->will_need(file.sample_offset(row), bytes_of(file, row, rows));
    });
  }

  static std::size_t bytes_of(const ShardFile& file, std::int64_t row, std::int64_t rows) {
    const std::int64_t last = row + rows - 1;
    return file.sample_offset(last) + file.sample_bytes(last) - file.sample_offset(row);
  }

  // Neighbours in the file; `order` are their places in the batch. Returns the end of their bytes.
  std::byte* read_run(std::span<const std::size_t> order, std::byte* target, StoredSamples& stored) const {
    const Location first = places_[order.front()];
    const auto& [file, plain] = (*shards_)[first.shard];
    const auto rows = static_cast<std::int64_t>(order.size());
    if (plain)
      plain->read(file.sample_offset(first.row), {target, bytes_of(file, first.row, rows)});
    else
      file.read_rows(first.row, rows, reinterpret_cast<std::uint8_t*>(target));
    for (const std::size_t i : order) {
      const std::int64_t row = places_[i].row;
      stored.bytes[i] = {target, file.sample_bytes(row)};
      stored.labels[i] = file.labels()[static_cast<std::size_t>(row)];
      target += stored.bytes[i].size();
    }
    return target;
  }

  const ShardFile& shard(std::size_t shard) const override { return (*shards_)[shard].file; }
  std::string name_of(Location place) const override { return shard(place.shard).read_name(place.row); }

  std::shared_ptr<const Shards> shards_;
  ReadAhead read_ahead_;
  std::vector<Location> places_;
  std::vector<std::size_t> order_;
};

}  // namespace

ReaderMaker read_independently(std::vector<ShardFile> files, std::shared_ptr<SplitIndex> index,
                               std::int64_t read_ahead_samples) {
  const auto shards = std::make_shared<Shards>();
  for (auto& file : files) {
    auto plain = file.mappable() ? std::make_unique<PlainFile>(file.path()) : nullptr;
    if (plain) plain->random();
    shards->push_back({std::move(file), std::move(plain)});
  }
  return [shards, index, read_ahead_samples] {
    return std::make_unique<IndependentReader>(shards, index, read_ahead_samples);
  };
}

}  // namespace brigade::dataset
