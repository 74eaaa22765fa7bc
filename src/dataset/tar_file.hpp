// The members of a tar archive, by place.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "source_support.hpp"

namespace brigade::dataset {

struct TarMember {
  std::string name;
  std::uint64_t offset = 0, bytes = 0;  // of the content, in the archive
};

// Calls `visit` for every regular file of the archive, in order, after reading headers only. Throws DataError if the
// archive is damaged, truncated or compressed.
void for_each_member(const InputFile& archive, const std::function<void(const TarMember&)>& visit);

}  // namespace brigade::dataset
