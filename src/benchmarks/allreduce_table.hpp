// A file with what `bench allreduce --table` measured, for `train --allreduce-table`: JSON,
//
//     {"brigade_allreduce_table": 1,
//      "nodes": [{"nodes": 4, "halving_doubling_up_to_bytes": 8388608, "beside_16_bit_ring_up_to_bytes": 32768}, ...]}
//
// For cli only.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>

namespace brigade::benchmarks {

// AllreduceOptions::short_bytes, where the ring sends fp32 or a format of 16 bits.
struct ShortBytes {
  std::size_t fp32 = 0, narrow = 0;
  bool operator==(const ShortBytes&) const = default;
};
// By the number of nodes that exchange messages, at least 2.
using AllreduceTable = std::map<int, ShortBytes>;

// Throw OptionError unless it is such a table.
AllreduceTable parse_allreduce_table(const std::string& text);
AllreduceTable read_allreduce_table(const std::filesystem::path& file);

std::string to_json(const AllreduceTable& table);

}  // namespace brigade::benchmarks
