/// Ranks that were started differently are found at the start, not by a hang an hour later.
#pragma once

#include <map>
#include <string>

#include "brigade/communication/communicator.hpp"

namespace brigade::communication {

/// Collective. Throws an Error with this code, on all ranks, unless every rank gives the same facts ("--batch-size":
/// "128"); the message says which of them differ, and which value which ranks have. `suggestion` ends it. Costs one
/// exchange of a digest while all is well.
void require_same(Communicator& ranks, const std::map<std::string, std::string>& facts, ExitCode code,
                  const std::string& suggestion);

}  // namespace brigade::communication
