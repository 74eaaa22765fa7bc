#include "allreduce_table.hpp"

#include <cstdint>
#include <nlohmann/json.hpp>

#include "brigade/core/atomic_file.hpp"
#include "brigade/core/error.hpp"

namespace brigade::benchmarks {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;
constexpr const char *kFp32 = "halving_doubling_up_to_bytes", *kNarrow = "beside_16_bit_ring_up_to_bytes";
constexpr std::uint64_t kMostNodes = 1U << 20, kMostBytes = std::uint64_t{1} << 40;

std::uint64_t integer(const json& object, const char* key, std::uint64_t least, std::uint64_t most) {
  const json& value = object.at(key);
  const bool fits =
      value.is_number_unsigned() && value.get<std::uint64_t>() >= least && value.get<std::uint64_t>() <= most;
  require<OptionError>(fits, "\"{}\" is {} (expected a whole number from {} to {})", key, value.dump().substr(0, 40),
                       least, most);
  return value.get<std::uint64_t>();
}

}  // namespace

AllreduceTable parse_allreduce_table(const std::string& text) {
  AllreduceTable table;
  try {
    const json root = json::parse(text);
    require<OptionError>(root.is_object() && root.contains("brigade_allreduce_table"),
                         "it is no table of `bench allreduce` (it lacks \"brigade_allreduce_table\")");
    const auto version = integer(root, "brigade_allreduce_table", 0, 1000);
    require<OptionError>(version == kVersion, "it has version {} (this program reads version {})", version, kVersion);
    const json& rows = root.at("nodes");
    require<OptionError>(rows.is_array() && !rows.empty(), "\"nodes\" is no list of rows");
    for (const json& row : rows) {
      const auto nodes = static_cast<int>(integer(row, "nodes", 2, kMostNodes));
      const ShortBytes bytes{.fp32 = integer(row, kFp32, 0, kMostBytes),
                             .narrow = integer(row, kNarrow, 0, kMostBytes)};
      require<OptionError>(table.emplace(nodes, bytes).second, "it has two rows of {} nodes", nodes);
    }
  } catch (const json::exception& error) {
    throw OptionError(fmt::format("it is damaged ({})", error.what()));
  }
  return table;
}

AllreduceTable read_allreduce_table(const std::filesystem::path& file) {
  constexpr std::size_t kMost = 1U << 20;
  try {
    return parse_allreduce_table(read_file(file, kMost));
  } catch (const Error& error) {
    throw OptionError(
        fmt::format("the allreduce table {} is of no use: {}. Write one with `brigade bench allreduce "
                    "--table FILE` on the nodes of the job?",
                    file.string(), error.what()));
  }
}

std::string to_json(const AllreduceTable& table) {
  nlohmann::ordered_json root = {{"brigade_allreduce_table", kVersion}, {"nodes", nlohmann::ordered_json::array()}};
  for (const auto& [nodes, bytes] : table)
    root["nodes"].push_back({{"nodes", nodes}, {kFp32, bytes.fp32}, {kNarrow, bytes.narrow}});
  return root.dump(1) + "\n";
}

}  // namespace brigade::benchmarks
