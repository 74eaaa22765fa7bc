#include "brigade/dataset/ingest.hpp"
#include "open_shard.hpp"
#include "shard.hpp"

namespace brigade::dataset {

std::vector<ShardReport> verify_shards(const std::filesystem::path& directory, const Manifest& manifest, int rank,
                                       int size) {
  EXPECT(rank >= 0 && rank < size);
  std::vector<ShardReport> reports;
  int number = 0;
  for (const auto& [split, info] : manifest.splits)
    for (const auto& shard_info : info.shards) {
      if (number++ % size != rank) continue;
      const MappedShard shard(open_shard(directory, manifest, split, shard_info));
      shard.verify_all();
      ShardReport report{.split = split, .info = shard_info, .class_counts = {}};
      report.class_counts.resize(manifest.classes.size());
      for (const std::int32_t label : shard.file().labels()) ++report.class_counts[static_cast<std::size_t>(label)];
      reports.push_back(std::move(report));
    }
  return reports;
}

}  // namespace brigade::dataset
