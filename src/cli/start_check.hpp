// Were all ranks started alike?
#pragma once

#include <map>
#include <string>

#include "brigade/communication/communicator.hpp"

namespace brigade::cli {

// Throws OptionError, on all ranks alike, unless all run the same program and command. Collective.
void check_program(communication::Communicator& world, const std::string& command);

// Throws OptionError, on all ranks alike, unless all have the same options (resolved, by name), but for those a rank
// may have of its own: threads and where they run. Collective.
void check_options(communication::Communicator& world, std::map<std::string, std::string> options);

}  // namespace brigade::cli
