// brigade <command> [options]: starts MPI, finds the command, reports errors once.
//
// An error that all ranks met at the same point is printed by rank 0, and every rank ends in good order
// with its exit code. An error that only some rank met is printed by that rank, which then ends the job.
#include <csignal>
#include <cstdio>
#include <span>

#include "brigade/communication/communicator.hpp"
#include "brigade/core/error.hpp"
#include "brigade/core/host_name.hpp"
#include "brigade/host/backend.hpp"
#include "brigade/training/trainer.hpp"
#include "commands.hpp"
#include "start_check.hpp"

namespace brigade::cli {
namespace {

struct Command {
  const char* name;
  const char* summary;
  ExitCode (*run)(Call&);
};

constexpr Command kCommands[] = {
    {"shard", "turn images into a sharded dataset, in parallel over ranks; restartable", shard},
    {"inspect", "verify a dataset's checksums and summarise it", inspect},
    {"train", "train a network on a dataset", train},
    {"evaluate", "accuracy, confusion matrix and worst errors of a trained network", evaluate},
    {"models", "list the networks, or one network's layers", models},
    {"bench", "measure kernels or whole steps against what the processor can do", bench},
};

void print_usage(std::FILE* out) {
  fmt::print(out,
             "brigade - trains image classifiers on supercomputers\n\n"
             "usage: [mpirun -n RANKS | srun] brigade COMMAND [options]\n\n");
  for (const auto& command : kCommands) fmt::print(out, "  {:<10} {}\n", command.name, command.summary);
  fmt::print(out,
             "\nbrigade COMMAND --help lists a command's options. Exit codes: 0 done, 2 bad options, 3 bad data,\n"
             "4 diverged, 5 a rank is missing or late, 75 stopped early with a checkpoint: submit again.\n");
}

void stop_on_signals() {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) {
    struct sigaction action {};
    action.sa_handler = [](int) { training::request_stop(); };
    action.sa_flags = SA_RESTART | SA_RESETHAND;  // the second one kills
    sigaction(signal, &action, nullptr);
  }
}

// What is written before the first option: "train", "bench io", "models resnet50".
std::string command_of(std::span<char*> arguments) {
  std::string words;
  for (std::size_t i = 1; i < arguments.size() && (i == 1 || arguments[i][0] != '-'); ++i)
    words += fmt::format("{}{}", i == 1 ? "" : " ", arguments[i]);
  return words;
}

ExitCode dispatch(Call& call, const std::string& name) {
  if (name.empty() || name == "--help" || name == "-h" || name == "help") {
    if (call.speaks()) print_usage(stdout);
    return name.empty() ? ExitCode::bad_options : ExitCode::done;
  }
  if (name == "--version") {
    if (call.speaks()) fmt::print("brigade {}\n", BRIGADE_VERSION);
    return ExitCode::done;
  }
  for (const auto& command : kCommands)
    if (name == command.name) {
      if (command.run == train) stop_on_signals();
      return command.run(call);
    }
  OptionError error(fmt::format("there is no command '{}'. See `brigade --help`?", name));
  error.on_all_ranks = true;
  throw error;
}

[[noreturn]] void fail_alone(communication::Communicator& communicator, ExitCode code, const char* what) {
  if (communicator.size() == 1)
    fmt::print(stderr, "brigade: error: {}\n", what);
  else
    fmt::print(stderr, "brigade: error on rank {} ({}): {}\n", communicator.rank(), host_name(), what);
  std::fflush(stderr);
  communicator.abort(code);
}

int main(std::span<char*> arguments, const Launch& launch) {
  auto world = communication::Communicator::world();
  Call call{.command_line = {}, .arguments = {}, .communicator = world, .launch = launch};
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    call.command_line += fmt::format("{}{}", i == 0 ? "" : " ", arguments[i]);
    if (i >= 2) call.arguments.emplace_back(arguments[i]);
  }
  try {
    launch.check_tasks(world);
    check_program(world, command_of(arguments));
    return static_cast<int>(dispatch(call, arguments.size() > 1 ? arguments[1] : ""));
  } catch (const Error& error) {
    if (!error.on_all_ranks) fail_alone(world, error.code(), error.what());
    if (world.rank() == 0 && launch.is_first_task()) fmt::print(stderr, "brigade: error: {}\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    fail_alone(world, static_cast<ExitCode>(1), error.what());
  }
}

}  // namespace
}  // namespace brigade::cli

int main(int argc, char** argv) {
  brigade::host::Runtime::prepare_process(argv);
  const brigade::cli::Launch launch;
  try {
    launch.check_tasks();
    const brigade::communication::Environment mpi(argc, argv);
    return brigade::cli::main({argv, static_cast<std::size_t>(argc)}, launch);
  } catch (const brigade::Error& error) {  // MPI itself did not start
    if (launch.is_first_task()) fmt::print(stderr, "brigade: error: {}\n", error.what());
    return static_cast<int>(error.code());
  }
}
