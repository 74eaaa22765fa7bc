// Training with parameter servers: what workers and servers say to one another, and both ends.
//
// The model lies on the servers as the array that workers push (strategy.hpp) lies on the workers, so that a server's
// range of one is its range of the other:
//
//     pushed   [ status | batch statistics   | gradients ]
//     pulled   [ status | running statistics | weights   ]
//
// Synchronous: a server adds the pushes of all workers in rank order, does the optimizer's step on its range, and
// answers all. Asynchronous: every push is a step of its own, worth the worker's share of the batch (its learning rate
// is that part of the whole), and is answered unless the worker is more than `staleness` steps ahead of the slowest
// (Ho et al., "More Effective Distributed ML via a Stale Synchronous Parallel Parameter Server", NIPS 2013).
// The optimizer has a state for each worker (Hakimi et al., "Taming Momentum in a Distributed Asynchronous
// Environment", 2019). With momentum b, rate r for a whole step, and two workers in turn, a direction of curvature c
// swings out of bounds when r c / 2 > 1 - b^2 (0.19 for b = 0.9); with one velocity for both, from a quarter of that
// (0.051).
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "brigade/communication/parameter_server.hpp"
#include "brigade/network/executor.hpp"
#include "model_update.hpp"
#include "plan.hpp"
#include "strategy.hpp"

namespace brigade::training {

// A worker's notes are {Ask, number, zero of the run's clock}: nanoseconds of rank 0's now_s(). The answer to a step is
// {stale updates, step to stop at}: how many updates by others came between the weights a gradient was computed with
// and those it changed, and after how many steps all workers meet because one of them wishes to.
enum class Ask : std::int64_t {
  step,        // number: of the step, from 0; the answer carries the status and the new model
  model,       // the answer carries the model
  state,       // number: of the optimizer's array; the answer carries it in place of the weights
  load_model,  // number: steps done. The push replaces the model, and logs begin
  load_state,  // number: of the optimizer's array, which the push replaces
};
inline constexpr std::int64_t kNeverStop = std::numeric_limits<std::int64_t>::max();

// How the worker's array lies on the servers.
communication::ServedArray served_array(const TrainOptions& options, const network::Executor& executor);

// A worker's end.
class ServedByServers final : public Strategy {
 public:
  // `workers`: the ranks but for servers. Worker 0's model and optimizer state, at `first_step`, become the servers'.
  ServedByServers(communication::ServedByOthers& servers, communication::Communicator& workers,
                  network::Executor& executor, Optimizer& optimizer, ops::Backend& backend, TensorView array,
                  StepShare share, bool asynchronous, std::int64_t first_step, double clock_origin_s);

  StepShare share() const override { return share_; }
  void ready(std::int64_t offset) override;
  void reduce(std::string_view what) override;
  bool take_model() override;
  void settle(std::int64_t step, bool boundary, StepStatus& status) override;
  void fetch_state() override;
  std::size_t bytes_sent() const override { return servers_.bytes_sent(); }
  std::int64_t staleness() const override { return staleness_; }
  std::string report() override;

 private:
  communication::Note exchange(Ask ask, std::int64_t number, std::string_view what);
  void load();
  TensorView pulled_weights() const { return part_of(array_, executor_.gradients_offset(), array_.shape.size()); }
  TensorView pulled_statistics() const { return part_of(array_, kStatusFloats, executor_.gradients_offset()); }
  void copy(const TensorView& from, const TensorView& to);

  communication::ServedByOthers& servers_;
  communication::Communicator& workers_;
  network::Executor& executor_;
  Optimizer& optimizer_;
  ops::Backend& backend_;
  TensorView array_;
  StepShare share_;
  bool asynchronous_;
  std::int64_t step_;  // under way
  std::int64_t clock_origin_ns_;
  std::int64_t stop_at_ = kNeverStop;
  std::int64_t staleness_ = 0;
  std::int64_t stale_updates_ = 0, most_stale_ = 0, pushes_ = 0;  // since the last report
  StepStatus since_;  // asynchronous: of this worker's steps since workers last met
};

// A server's end: answers until all workers are done.
void serve(const TrainOptions& options, const Plan& plan, ops::Backend& backend, communication::Communicator& ranks,
           const Job& job);

// Collective. The first `workers` ranks train, the others serve, and all of them end alike. A failure that all workers
// agree on ends their talk with the servers (~ServedByOthers), so servers come here, too; any other ends the job at
// once.
TrainResult train_with_servers(const TrainOptions& options, const Plan& plan, ops::Backend& backend,
                               communication::Communicator& ranks, int workers, const Job& job);

}  // namespace brigade::training
