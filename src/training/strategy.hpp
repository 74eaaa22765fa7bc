// How ranks share the work of training: what happens between backward and the next forward.
//
// A rank's gradients, its micro-batches' batch-norm statistics and a few numbers about the step lie in one flat array,
//
//     [ status | batch statistics | gradients in forward order ]
//
// which backward completes from its end to its front.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "brigade/communication/reducer.hpp"
#include "brigade/core/clock.hpp"
#include "brigade/network/executor.hpp"
#include "brigade/ops/backend.hpp"
#include "brigade/training/optimizer.hpp"
#include "brigade/training/trainer.hpp"
#include "bucket_tuning.hpp"

namespace brigade::training {

// What ranks tell each other about a step, at no collective of its own: all act on it at the same step.
struct StepStatus {
  float loss_sum = 0;  // over `images`
  float correct = 0;   // images classified right
  float failed = 0;    // ranks that could not get their batch
  float stop = 0;      // ranks that were asked to stop
  float images = 0;

  StepStatus& operator+=(const StepStatus& other) {
    loss_sum += other.loss_sum;
    correct += other.correct;
    failed += other.failed;
    stop += other.stop;
    images += other.images;
    return *this;
  }
};
inline constexpr std::int64_t kStatusFloats = sizeof(StepStatus) / sizeof(float);

// Whose images and micro-batches the optimizer sees in one step.
struct StepShare {
  std::int64_t images = 1, micro_batches = 1;
};

class Strategy {
 public:
  virtual ~Strategy() = default;
  virtual StepShare share() const = 0;

  // Elements [offset, end) of the array are final; called with falling offsets while backward goes on, and with 0.
  virtual void ready(std::int64_t offset) = 0;
  // After backward: the array becomes what the optimizer is to use.
  virtual void reduce(std::string_view what) = 0;
  // After reduce(): puts the updated model into the executor, if somebody else has updated it. False: do so here.
  virtual bool take_model() { return false; }
  // Whether the sum over ranks is settle()'s, not reduce()'s.
  virtual bool meets_after_optimizer() const { return false; }
  // After step number `step` of the optimizer. `status`, as reduce() left it, becomes that of all ranks since they last
  // met, or zeros if they do not meet at this step. They always meet at a `boundary`: then all hold the same weights,
  // statistics and optimizer state.
  virtual void settle(std::int64_t step, bool boundary, StepStatus& status) = 0;
  // Before rank 0 writes a checkpoint: its optimizer gets the state that is kept elsewhere.
  virtual void fetch_state() {}
  // Of the gradients of the last reduce(): updates by others since the weights they were computed with.
  virtual std::int64_t staleness() const { return 0; }
  // What there is to say about the epoch, if anything.
  virtual std::string report() { return {}; }
  virtual std::size_t bytes_sent() const = 0;
  // Of every sum over ranks, in their order, as they are decided now.
  virtual std::vector<std::size_t> summed_bytes() const { return {}; }
};

// Every step, the arrays of all ranks are summed, in buckets that end at borders of layers: every rank adds the same
// buckets in the same order. For StrategyKind::one_device, mirrored and multi_worker.
class Synchronous final : public Strategy {
 public:
  // Called by all ranks at the same step, once the size of buckets has been found.
  using Tuned = std::function<void(std::size_t bucket_bytes, const std::string& why)>;

  // Sums `array` over `communicator`. `bucket_bytes` 0: found in the first steps (bucket_tuning.hpp).
  Synchronous(communication::Communicator& communicator, const communication::AllreduceOptions& allreduce,
              TensorView array, const network::Executor& executor, std::size_t bucket_bytes, StepShare share,
              Tuned tuned);

  StepShare share() const override { return share_; }
  void ready(std::int64_t offset) override;
  void reduce(std::string_view what) override;
  void settle(std::int64_t, bool, StepStatus&) override {}
  std::size_t bytes_sent() const override { return reducer_.bytes_sent(); }
  std::vector<std::size_t> summed_bytes() const override;

 private:
  std::int64_t bucket_end(std::size_t bucket) const;
  void cut(std::size_t bucket_bytes);
  void tune();

  communication::Communicator& communicator_;
  communication::GradientReducer reducer_;
  TensorView array_;
  std::vector<std::int64_t> borders_;  // where layers begin within the array, from the last to the first
  StepShare share_;
  std::optional<BucketTuning> tuning_;  // while it goes on
  Tuned tuned_;
  Stopwatch since_first_;  // gradient of a step, while tuning
  bool timing_ = false;
  std::vector<std::int64_t> buckets_;  // begin of each within the array, from the last to the first
  std::size_t added_ = 0;
};

// Each rank trains by itself on its share of every batch; every `every` steps (and at boundaries) weights, running
// statistics and optimizer state become their averages over ranks, weighted by their images.
// Stich, "Local SGD Converges Fast and Communicates Little", ICLR 2019.
class LocalSgd final : public Strategy {
 public:
  // `weight`: this rank's part of the global batch.
  LocalSgd(communication::Communicator& communicator, const communication::AllreduceOptions& allreduce,
           network::Executor& executor, Optimizer& optimizer, ops::Backend& backend, StepShare share, float weight,
           std::int64_t every);

  StepShare share() const override { return share_; }
  void ready(std::int64_t) override {}
  void reduce(std::string_view) override {}
  bool meets_after_optimizer() const override { return true; }
  void settle(std::int64_t step, bool boundary, StepStatus& status) override;
  std::size_t bytes_sent() const override { return reducer_.bytes_sent(); }
  std::vector<std::size_t> summed_bytes() const override;

 private:
  std::vector<TensorView> averaged() const;  // weights, running statistics, optimizer state

  communication::GradientReducer reducer_;
  network::Executor& executor_;
  Optimizer& optimizer_;
  ops::Backend& backend_;
  StepShare share_;
  float weight_;
  std::int64_t every_;
  StepStatus since_;  // of this rank's steps since ranks last met
};

// Throws OptionError if the ranks are not those the strategy is for. Does not communicate.
void check_strategy(const TrainOptions& options, const communication::Communicator& communicator);
// "local-sgd, averaged every 8 steps"; those that differ in nothing but the ranks they allow have one name.
std::string describe_strategy(const TrainOptions& options);

}  // namespace brigade::training
