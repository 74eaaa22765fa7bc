// Were all ranks started alike? Every command begins so, and so what it does together later fits together.
#pragma once

#include <string>

#include "commands.hpp"
#include "options.hpp"

namespace brigade::cli {

// Throws OptionError, on all ranks alike, unless all run the same program and command ("bench io"). Collective.
void check_program(communication::Communicator& world, const std::string& command);

// Parses the call's arguments; false if only help was wanted. Throws OptionError, on all ranks alike, unless all have
// the same options (resolved, by name), but for those a rank may have of its own: threads and where they run.
// Collective.
bool read_options(const Call& call, Options& options);

}  // namespace brigade::cli
