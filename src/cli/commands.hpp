// The commands of the program, one file each.
#pragma once

#include <string>
#include <vector>

#include "brigade/communication/communicator.hpp"
#include "launch_check.hpp"

namespace brigade::cli {

struct Call {
  std::string command_line;            // as typed
  std::vector<std::string> arguments;  // after the command
  communication::Communicator& communicator;
  const Launch& launch;

  bool speaks() const { return communicator.rank() == 0; }
};

// Each returns the exit code; errors are thrown.
ExitCode shard(Call& call);
ExitCode inspect(Call& call);
ExitCode train(Call& call);
ExitCode evaluate(Call& call);
ExitCode models(Call& call);
ExitCode bench(Call& call);
ExitCode bench_allreduce(Call& call);  // parts of bench
ExitCode bench_io(Call& call);

}  // namespace brigade::cli
