// The ranks of a test.
#pragma once

#include "brigade/communication/communicator.hpp"

namespace brigade::communication {

/// All ranks of the job; waits at most 30 s, so that a failure on one rank does not stall the others for long.
Communicator& world();

}  // namespace brigade::communication
