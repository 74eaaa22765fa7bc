/// The name of the machine this process runs on.
#pragma once

#include <string>

namespace brigade {

/// As the kernel has it; "unknown" should it not tell.
std::string host_name();

}  // namespace brigade
