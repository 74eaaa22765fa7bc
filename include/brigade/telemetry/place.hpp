/// Where a rank runs, and what it is for: who shares a machine, and its processors, shows in run.json.
#pragma once

#include <string>
#include <vector>

#include "brigade/core/processor_limit.hpp"

namespace brigade::telemetry {

struct Place {
  std::string role = "worker";  ///< "worker": trains; "server": keeps the weights for workers
  std::string host{};
  std::string machine{};     ///< the running kernel's id: containers and network namespaces of one machine share it
  std::string processors{};  ///< that its threads may use: "0-3,8"
  double processor_limit = kUnlimited;  ///< as processor_limit() says

  bool operator==(const Place&) const = default;
};

/// Of this process; `pinned`: the processors of its threads, if they are pinned.
Place place_of_this_process(const std::vector<int>& pinned = {});

/// "0-3,8" of {8, 0, 1, 2, 3}
std::string as_ranges(std::vector<int> processors);

/// One line, to be gathered over ranks, and the places of all of them.
std::string to_line(const Place& place);
std::vector<Place> places_from(const std::vector<std::string>& lines);

}  // namespace brigade::telemetry
