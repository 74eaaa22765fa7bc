// Which samples go into which shard, and in which order: a function of source, options and seed alone, never of ranks.
#pragma once

#include <string>
#include <vector>

#include "brigade/dataset/ingest.hpp"
#include "brigade/dataset/sampling.hpp"
#include "shard.hpp"

namespace brigade::dataset {

// One shard that should be there when ingest has finished.
struct Job {
  std::string split;
  const Source* source = nullptr;
  ImageShape image;
  std::int64_t index = 0, count = 0;  // of the shards of the split
  Range places;                       // in the shuffled split

  std::string file() const;
};

// The shards of all splits in one row; rank r does the jobs r, r + size, ...
std::vector<Job> plan_jobs(const Sources& sources, const IngestOptions& options);

// The samples of the shard, in their order.
std::vector<std::int64_t> planned_samples(const Job& job, std::uint64_t seed);

// What makes the shard this shard and no other: written into it, and compared by a restart.
ShardHeader planned_header(const Job& job, const std::vector<std::int64_t>& indices, const IngestOptions& options);
bool same_plan(const ShardHeader& a, const ShardHeader& b);

}  // namespace brigade::dataset
