#include "start_check.hpp"

#include <span>

#include "brigade/communication/require_same.hpp"
#include "brigade/core/atomic_file.hpp"
#include "brigade/core/checksum.hpp"

namespace brigade::cli {
namespace {

std::string program_digest() {
  const std::string bytes = read_file("/proc/self/exe");
  return fmt::format("version {} (CRC-32C {:08x}, {} bytes)", BRIGADE_VERSION, crc32c(std::as_bytes(std::span(bytes))),
                     bytes.size());
}

}  // namespace

void check_program(communication::Communicator& world, const std::string& command) {
  if (world.size() == 1) return;
  communication::require_same(world, {{"the program", program_digest()}, {"the command", command}},
                              ExitCode::bad_options, "Start one program on all ranks?");
}

void check_options(communication::Communicator& world, std::map<std::string, std::string> options) {
  std::map<std::string, std::string> facts;
  for (const char* own : {"threads", "pin-threads", "data-threads", "config"}) options.erase(own);
  for (auto& [name, value] : options) facts["--" + name] = value;
  communication::require_same(world, facts, ExitCode::bad_options, "Start all ranks with the same options?");
}

}  // namespace brigade::cli
