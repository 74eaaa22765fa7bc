#include "brigade/dataset/manifest.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string_view>
#include <utility>

#include "brigade/core/atomic_file.hpp"
#include "brigade/core/error.hpp"

namespace brigade::dataset {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostSamples = std::int64_t{1} << 40;
constexpr std::int64_t kMostBytes = std::int64_t{1} << 56;
constexpr std::int64_t kLargestSide = 1 << 16;

using namespace std::string_view_literals;
constexpr std::array kLayouts{std::pair{"raw"sv, Layout::raw}, std::pair{"encoded"sv, Layout::encoded}};
constexpr std::array kResizes{std::pair{"squash"sv, Resize::squash}, std::pair{"shorter-crop"sv, Resize::shorter_crop},
                              std::pair{"pad"sv, Resize::pad}};

// Whole numbers only: 1.0, "1" and 1e30 are not accepted for 1.
std::int64_t integer(const json& object, const char* key, std::int64_t least, std::int64_t most) {
  const auto& value = object.at(key);
  require(value.is_number_integer(), "\"{}\" is not a whole number", key);
  const bool fits = !value.is_number_unsigned() ||
                    value.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  const std::int64_t number = fits ? value.get<std::int64_t>() : most;
  require(fits && number >= least && number <= most, "\"{}\" is {} (expected {} to {})", key, value.dump(), least,
          most);
  return number;
}

template <class Words>
auto word(const json& object, const char* key, const Words& words) {
  const auto text = object.at(key).get<std::string>();
  std::string known;
  for (const auto& [name, value] : words) {
    if (name == text) return value;
    known += fmt::format("{}\"{}\"", known.empty() ? "" : ", ", name);
  }
  throw DataError(fmt::format("\"{}\" is \"{}\" (this program reads {})", key, text, known));
}
template <class Words, class Enum>
std::string_view text_of(const Words& words, Enum wanted) {
  return std::find_if(words.begin(), words.end(), [&](const auto& word) { return word.second == wanted; })->first;
}

std::array<float, 3> per_channel(const json& object, const char* key, std::int64_t channels, float unused) {
  const auto& values = object.at(key);
  require(values.is_array() && static_cast<std::int64_t>(values.size()) == channels, "\"{}\" does not have {} numbers",
          key, channels);
  std::array<float, 3> result{unused, unused, unused};
  for (std::size_t c = 0; c < values.size(); ++c) {
    result[c] = values[c].get<float>();
    require(std::isfinite(result[c]), "\"{}\" holds a number that is not finite", key);
  }
  return result;
}

// The shards lie in the directory of the manifest, and nowhere else.
std::string file_name(const json& shard) {
  auto name = shard.at("file").get<std::string>();
  require(!name.empty() && name != "." && name.find("..") == std::string::npos &&
              name.find_first_of(std::string("/\\\0", 3)) == std::string::npos,
          "\"file\" is \"{}\" (expected the name of a file in the same directory)", name);
  return name;
}

SplitInfo split_from(const json& object) {
  SplitInfo split;
  for (const auto& shard : object.at("shards"))
    split.shards.push_back({.file = file_name(shard),
                            .samples = integer(shard, "samples", 0, kMostSamples),
                            .bytes = integer(shard, "bytes", 0, kMostBytes)});
  require(integer(object, "samples", 0, kMostSamples) == split.samples(),
          "\"samples\" is {}, but the shards hold {} together", object.at("samples").dump(), split.samples());
  return split;
}

Manifest manifest_from(const json& root) {
  const auto version = integer(root, "brigade_manifest_version", 0, std::numeric_limits<std::int32_t>::max());
  require(version == Manifest::kVersion, "it has version {} (this program reads version {}). Ingest the data again?",
          version, Manifest::kVersion);

  Manifest manifest;
  manifest.layout = word(root, "layout", kLayouts);
  if (manifest.layout == Layout::encoded) manifest.resize = word(root, "resize", kResizes);
  const auto& image = root.at("image");
  manifest.image = {.height = integer(image, "height", 1, kLargestSide),
                    .width = integer(image, "width", 1, kLargestSide),
                    .channels = integer(image, "channels", 1, 3)};
  require(manifest.image.channels != 2, "\"channels\" is 2 (expected 1 or 3)");
  manifest.mean = per_channel(root, "mean", manifest.image.channels, 0);
  manifest.stddev = per_channel(root, "stddev", manifest.image.channels, 1);
  for (const float deviation : manifest.stddev) require(deviation > 0, "\"stddev\" holds {}", deviation);
  manifest.classes = root.at("classes").get<std::vector<std::string>>();
  require(!manifest.classes.empty(), "\"classes\" is empty");
  const auto& splits = root.at("splits");
  require(splits.is_object(), "\"splits\" is not an object");
  for (const auto& [name, split] : splits.items()) manifest.splits.emplace(name, split_from(split));
  return manifest;
}

}  // namespace

std::int64_t SplitInfo::samples() const {
  return std::accumulate(shards.begin(), shards.end(), std::int64_t{0},
                         [](std::int64_t sum, const ShardInfo& shard) { return sum + shard.samples; });
}

const SplitInfo& Manifest::split(const std::string& name) const {
  const auto found = splits.find(name);
  if (found != splits.end()) return found->second;
  std::string known;
  for (const auto& [other, info] : splits) known += (known.empty() ? "" : ", ") + other;
  throw OptionError(fmt::format("there is no split '{}' (the dataset has: {})", name, known));
}

Manifest read_manifest(const std::filesystem::path& directory) {
  const auto path = directory / "manifest.json";
  require(std::filesystem::is_regular_file(path),
          "{} is not a dataset (it has no manifest.json). Make one with `brigade shard`?", directory.string());
  try {
    return manifest_from(json::parse(read_file(path)));
  } catch (const json::exception& error) {
    throw DataError(fmt::format("{} is damaged ({}). Run `brigade shard` again?", path.string(), error.what()));
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: {}", path.string(), error.what()));
  }
}

void write_manifest(const std::filesystem::path& directory, const Manifest& manifest) {
  const auto channels = static_cast<std::ptrdiff_t>(manifest.image.channels);
  const auto numbers = [&](const std::array<float, 3>& values) {
    return std::vector<float>(values.begin(), values.begin() + channels);
  };
  nlohmann::ordered_json root = {
      {"brigade_manifest_version", Manifest::kVersion},
      {"layout", text_of(kLayouts, manifest.layout)},
      {"image",
       {{"height", manifest.image.height}, {"width", manifest.image.width}, {"channels", manifest.image.channels}}},
      {"mean", numbers(manifest.mean)},
      {"stddev", numbers(manifest.stddev)},
      {"classes", manifest.classes},
      {"splits", nlohmann::ordered_json::object()}};
  if (manifest.layout == Layout::encoded) root["resize"] = text_of(kResizes, manifest.resize);
  for (const auto& [name, split] : manifest.splits) {
    auto shards = nlohmann::ordered_json::array();
    for (const auto& shard : split.shards)
      shards.push_back({{"file", shard.file}, {"samples", shard.samples}, {"bytes", shard.bytes}});
    root["splits"][name] = {{"samples", split.samples()}, {"shards", shards}};
  }
  write_file(directory / "manifest.json", root.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace brigade::dataset
