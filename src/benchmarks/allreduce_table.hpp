// A file with what `bench allreduce --table` measured, for `train --allreduce-table`: JSON,
//
//     {"brigade_allreduce_table": 1,
//      "nodes": [{"nodes": 4, "halving_doubling_up_to_bytes": 131072}, ...]}
//
// For cli only.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>

namespace brigade::benchmarks {

// By the number of nodes that exchange messages, at least 2: AllreduceOptions::short_bytes.
using AllreduceTable = std::map<int, std::size_t>;

// Throw OptionError unless it is such a table.
AllreduceTable parse_allreduce_table(const std::string& text);
AllreduceTable read_allreduce_table(const std::filesystem::path& file);

std::string to_json(const AllreduceTable& table);

}  // namespace brigade::benchmarks
