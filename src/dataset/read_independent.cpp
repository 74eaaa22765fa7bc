// Reader `independent`: H5Dread, in file order, neighbours together; for file systems whose mappings are slow or
// unreliable, and for compressed chunks, which only HDF5 can read.
#include "shard_reader.hpp"

namespace brigade::dataset {
namespace {

using Shards = std::vector<ShardFile>;

class IndependentReader final : public ShardReader {
 public:
  IndependentReader(std::shared_ptr<const Shards> files, std::shared_ptr<SplitIndex> index)
      : ShardReader(std::move(index)), files_(std::move(files)) {}

  void fetch(std::span<const std::int64_t> indices, StoredSamples& stored) override {
    in_file_order(indices, stored, places_, order_);
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

  // Neighbours in the file; `order` are their places in the batch. Returns the end of their bytes.
  std::byte* read_run(std::span<const std::size_t> order, std::byte* target, StoredSamples& stored) const {
    const Location first = places_[order.front()];
    const ShardFile& file = shard(first.shard);
    file.read_rows(first.row, static_cast<std::int64_t>(order.size()), reinterpret_cast<std::uint8_t*>(target));
    for (const std::size_t i : order) {
      const std::int64_t row = places_[i].row;
      stored.bytes[i] = {target, file.sample_bytes(row)};
      stored.labels[i] = file.labels()[static_cast<std::size_t>(row)];
      target += stored.bytes[i].size();
    }
    return target;
  }

  const ShardFile& shard(std::size_t shard) const override { return (*files_)[shard]; }
  std::string name_of(Location place) const override { return shard(place.shard).read_name(place.row); }

  std::shared_ptr<const Shards> files_;
  std::vector<Location> places_;
  std::vector<std::size_t> order_;
};

}  // namespace

ReaderMaker read_independently(std::vector<ShardFile> files, std::shared_ptr<SplitIndex> index) {
  const auto shards = std::make_shared<const Shards>(std::move(files));
  return [shards, index] { return std::make_unique<IndependentReader>(shards, index); };
}

}  // namespace brigade::dataset
