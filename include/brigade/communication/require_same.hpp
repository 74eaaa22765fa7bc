/// Ranks that were started differently are found at the start, not by a hang an hour later.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "brigade/communication/communicator.hpp"

namespace brigade::communication {

/// Collective. Throws an Error with this code, on all ranks, unless every rank gives the same facts ("--batch-size":
/// "128"); the message says which of them differ, and which value which ranks have. `suggestion` ends it. Costs one
/// exchange of a digest while all is well.
void require_same(Communicator& ranks, const std::map<std::string, std::string>& facts, ExitCode code,
                  const std::string& suggestion);

/// A fact about a file's content: "CRC-32C 1a2b3c4d, 560 bytes". Throws DataError if it cannot be read.
std::string content_of(const std::filesystem::path& file);

}  // namespace brigade::communication
