#include "brigade/communication/require_same.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <span>
#include <vector>

#include "brigade/core/atomic_file.hpp"
#include "brigade/core/checksum.hpp"

namespace brigade::communication {
namespace {

using Facts = std::map<std::string, std::string>;

// Names and values in turn, each with an end of its own.
std::string packed(const Facts& facts) {
  std::string text;
  for (const auto& [name, value] : facts) {
    text.append(name).push_back('\0');
    text.append(value).push_back('\0');
  }
  return text;
}

Facts unpacked(const std::string& text) {
  Facts facts;
  std::vector<std::string> parts;
  for (std::size_t begin = 0, end; (end = text.find('\0', begin)) != text.npos; begin = end + 1)
    parts.push_back(text.substr(begin, end - begin));
  for (std::size_t i = 0; i + 1 < parts.size(); i += 2) facts[parts[i]] = parts[i + 1];
  return facts;
}

// "rank 1 on a", "ranks 1, 2 and 5 more"
std::string named(const std::vector<int>& ranks, const std::vector<std::string>& hosts) {
  constexpr std::size_t kNamed = 4;
  if (ranks.size() == 1) return fmt::format("rank {} on {}", ranks[0], hosts[static_cast<std::size_t>(ranks[0])]);
  const std::size_t shown = std::min(kNamed, ranks.size());
  std::string text =
      fmt::format("ranks {}", fmt::join(ranks.begin(), ranks.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
  if (shown < ranks.size()) text += fmt::format(" and {} more", ranks.size() - shown);
  return text;
}

// "--batch-size is 40 on rank 0 on a, 60 on rank 1 on b"; empty if all agree.
std::string difference(const std::string& name, const std::vector<Facts>& all, const std::vector<std::string>& hosts) {
  std::map<std::string, std::vector<int>> by_value;
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    const auto own = all[rank].find(name);
    by_value[own == all[rank].end() ? "unset" : own->second].push_back(static_cast<int>(rank));
  }
  if (by_value.size() == 1) return {};
  std::vector<std::string> texts;
  for (const auto& [value, ranks] : by_value)
    texts.push_back(fmt::format("{} on {}", value.empty() ? "empty" : value.substr(0, 200), named(ranks, hosts)));
  return fmt::format("{} is {}", name, fmt::join(texts, ", "));
}

}  // namespace

void require_same(Communicator& ranks, const Facts& facts, ExitCode code, const std::string& suggestion) {
  if (ranks.size() == 1) return;
  const std::string mine = packed(facts);
  const std::int64_t digest = crc32c(std::as_bytes(std::span(mine)));
  const std::string_view what = "comparing how the ranks were started";
  const std::int64_t lowest = ranks.minimum(digest, what), highest = -ranks.minimum(-digest, what);
  if (lowest == highest) return;

  std::vector<Facts> all;
  std::set<std::string> names;
  for (const std::string& text : ranks.all_gather(mine, what)) {
    all.push_back(unpacked(text));
    for (const auto& [name, value] : all.back()) names.insert(name);
  }
  const std::vector<std::string> hosts = ranks.hosts();
  std::string differences;
  for (const std::string& name : names)
    if (const std::string text = difference(name, all, hosts); !text.empty())
      differences += (differences.empty() ? "" : "; ") + text;
  throw_on_all_ranks(code, fmt::format("the ranks do not agree: {}. {}", differences, suggestion));
}

std::string content_of(const std::filesystem::path& file) {
  const std::string bytes = read_file(file);
  return fmt::format("CRC-32C {:08x}, {} bytes", crc32c(std::as_bytes(std::span(bytes))), bytes.size());
}

}  // namespace brigade::communication
