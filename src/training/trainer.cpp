// Doors of training: what is checked and decided before anything runs, and which loop a rank runs.
#include "brigade/training/trainer.hpp"

#include <algorithm>
#include <atomic>
#include <optional>

#include "brigade/communication/probe.hpp"
#include "brigade/core/error.hpp"
#include "brigade/training/same_dataset.hpp"
#include "parameter_server.hpp"
#include "plan.hpp"
#include "strategy.hpp"
#include "traffic.hpp"
#include "training_loop.hpp"

namespace brigade::training {
namespace {

std::atomic<bool> stop_is_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set from a signal handler");

Job look_around(const TrainOptions& options, communication::Communicator& communicator, int workers,
                std::shared_ptr<LastWords> last_words) {
  telemetry::Place own = telemetry::place_of_this_process(options.pinned_processors);
  if (communicator.rank() >= workers) own.role = "server";
  return {
      .places = telemetry::places_from(communicator.all_gather(telemetry::to_line(own), "gathering where ranks run")),
      .clock_offset_s = communication::clock_offset_s(communicator),
      .last_words = std::move(last_words)};
}

}  // namespace

void request_stop() noexcept { stop_is_requested.store(true); }
bool stop_requested() noexcept { return stop_is_requested.load(); }

TrainResult train(const TrainOptions& options, ops::Backend& backend, communication::Communicator& communicator) {
  const bool served = options.strategy == StrategyKind::parameter_server;
  const int workers = communicator.size() - (served ? options.servers : 0);
  std::optional<Plan> plan;
  communication::collectively(communicator, "planning the run", [&] {
    check_strategy(options, communicator);
    plan = make_plan(options, std::min(communicator.rank(), workers - 1), workers, communicator.node_size());
  });
  require_same_dataset(communicator, options.dataset, plan->manifest);
  if (const std::string note = note_on_wire(*plan, options, communicator); !note.empty() && communicator.rank() == 0)
    fmt::print(stderr, "note: {}\n", note);
  if (options.dry_run) {
    if (communicator.rank() == 0) fmt::print("{}", describe(*plan, options, communicator, workers));
    return {};
  }
  const auto last_words = std::make_shared<LastWords>(options.run, communicator.rank());
  try {
    const Job job = look_around(options, communicator, workers, last_words);
    if (served) return train_with_servers(options, *plan, backend, communicator, workers, job);
    return TrainingLoop(options, *plan, backend, communicator, job).run();
  } catch (const PeerError& error) {
    last_words->say(error.what());
    throw;
  }
}

}  // namespace brigade::training
