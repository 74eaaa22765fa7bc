// Every format that Brigade reads from strangers, as a function of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace brigade::dataset::fuzz {

struct Format {
  std::string name;  // of its folder in seeds/
  // Reads all there is. Errors of the kind that a user would see are fine (returns false); anything else is not.
  bool (*read)(std::span<const std::uint8_t> input);
};

// In the order of their names.
const std::vector<Format>& formats();

}  // namespace brigade::dataset::fuzz
