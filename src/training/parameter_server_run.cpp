// A run with parameter servers, on all of its ranks.
#include "brigade/core/error.hpp"
#include "parameter_server.hpp"
#include "training_loop.hpp"

namespace brigade::training {

TrainResult train_with_servers(const TrainOptions& options, const Plan& plan, ops::Backend& backend,
                               communication::Communicator& ranks, int workers, const Job& job) {
  const bool serves = ranks.rank() >= workers;
  communication::Communicator colleagues = ranks.split(serves ? 1 : 0);
  TrainResult result;
  ExitCode failure = ExitCode::done;
  std::string message;
  try {
    if (serves)
      serve(options, plan, backend, ranks, job);
    else
      result = TrainingLoop(options, plan, backend, colleagues, job, &ranks).run();
  } catch (const Error& error) {
    if (!error.on_all_ranks) throw;
    failure = error.code();
    message = error.what();
  }
  colleagues = {};  // in good order: not while an error unwinds
  ranks.agree("the end of training", failure, message);
  ranks.broadcast(std::as_writable_bytes(std::span(&result.code, 1)), 0, "the end of training");
  return result;
}

}  // namespace brigade::training
