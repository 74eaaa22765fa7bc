#include "brigade/telemetry/place.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <string_view>

#include "brigade/core/host_name.hpp"
#include "brigade/core/processors.hpp"

namespace brigade::telemetry {
namespace {

// The first 8 digits tell machines apart; drawn anew at every boot.
std::string machine_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  in >> id;
  return id.substr(0, 8);
}

constexpr char kSeparator = '\t';

Place parse(std::string_view line) {
  std::array<std::string, 5> fields;
  for (std::string& field : fields) {
    const auto end = std::min(line.find(kSeparator), line.size());
    field = line.substr(0, end);
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return {.role = fields[0],
          .host = fields[1],
          .machine = fields[2],
          .processors = fields[3],
          .processor_limit = fields[4].empty() ? kUnlimited : std::stod(fields[4])};
}

}  // namespace

std::string as_ranges(std::vector<int> processors) {
  std::ranges::sort(processors);
  std::string text;
  for (std::size_t i = 0, next; i < processors.size(); i = next) {
    for (next = i + 1; next < processors.size() && processors[next] - processors[next - 1] <= 1;) ++next;
    const int first = processors[i], last = processors[next - 1];
    text += fmt::format("{}{}", text.empty() ? "" : ",", first);
    if (last > first) text += fmt::format("-{}", last);
  }
  return text;
}

Place place_of_this_process(const std::vector<int>& pinned) {
  return {.host = host_name(),
          .machine = machine_id(),
          .processors = as_ranges(pinned.empty() ? allowed_processors() : pinned),
          .processor_limit = processor_limit()};
}

std::string to_line(const Place& place) {
  return fmt::format("{}{}{}{}{}{}{}{}{}", place.role, kSeparator, place.host, kSeparator, place.machine, kSeparator,
                     place.processors, kSeparator, place.processor_limit);
}

std::vector<Place> places_from(const std::vector<std::string>& lines) {
  std::vector<Place> places;
  for (const std::string& line : lines) places.push_back(parse(line));
  return places;
}

}  // namespace brigade::telemetry
