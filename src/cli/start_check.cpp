#include "start_check.hpp"

#include <map>

#include "brigade/communication/require_same.hpp"

namespace brigade::cli {
namespace {

using communication::require_same;

constexpr const char* kSameOptions = "Start all ranks with the same options?";

}  // namespace

void check_program(communication::Communicator& world, const std::string& command) {
  if (world.size() == 1) return;  // spares it to read the program's file
  const std::string program =
      fmt::format("version {} ({})", BRIGADE_VERSION, communication::content_of("/proc/self/exe"));
  require_same(world, {{"the program", program}, {"the command", command}}, ExitCode::bad_options,
               "Start one program on all ranks?");
}

bool read_options(const Call& call, Options& options) {
  bool run = false;
  communication::collectively(call.communicator, "reading the options",
                              [&] { run = options.parse(call.arguments, call.speaks()); });
  // By itself, for who only prints help has no other options.
  require_same(call.communicator, {{"--help", run ? "unset" : "set"}}, ExitCode::bad_options, kSameOptions);
  if (!run) return false;
  std::map<std::string, std::string> resolved = options.resolved(), facts;
  for (const char* own : {"threads", "pin-threads", "data-threads", "config"}) resolved.erase(own);
  for (const auto& [name, value] : resolved) facts["--" + name] = value;
  require_same(call.communicator, facts, ExitCode::bad_options, kSameOptions);
  return true;
}

}  // namespace brigade::cli
