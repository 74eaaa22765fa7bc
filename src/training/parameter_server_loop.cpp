// A server: a mailbox opens, the push in it becomes part of a step, an answer goes out.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include "brigade/core/error.hpp"
#include "model_update.hpp"
#include "parameter_server.hpp"

namespace brigade::training {
namespace {

using communication::Note;
using communication::ParameterServer;

// The flat array's borders, on a server those of its range.
struct Layout {
  std::int64_t statistics = 0, weights = 0, size = 0;  // begin of each, and the end
  std::vector<network::FlatTensor> parameters;         // offsets from `weights`

  Layout within(const communication::ServedArray::Range& range) const {
    const auto begin = static_cast<std::int64_t>(range.begin), end = static_cast<std::int64_t>(range.end);
    const auto local = [&](std::int64_t at) { return std::clamp(at, begin, end) - begin; };
    Layout part{local(statistics), local(weights), end - begin, {}};
    for (const auto& parameter : parameters) {
      const std::int64_t from = local(weights + parameter.offset),
                         to = local(weights + parameter.offset + parameter.size());
      if (from < to)
        part.parameters.push_back({parameter.name, Shape{to - from}, from - part.weights, parameter.decay});
    }
    return part;
  }
};

// As workers have it: the passes leave the order of parameters alone, whatever the batch.
Layout whole_layout(const network::Executor& executor) {
  return {kStatusFloats, executor.gradients_offset(),
          executor.gradients_offset() + parameter_floats(executor.parameters()), executor.parameters()};
}

class Server {
 public:
  Server(const TrainOptions& options, const Plan& plan, ops::Backend& backend, communication::Communicator& ranks,
         const network::Executor& executor)
      : options_(options),
        plan_(plan),
        backend_(backend),
        server_(ranks, served_array(options, executor)),
        layout_(whole_layout(executor).within(server_.range())),
        optimizer_(plan.optimizer, layout_.parameters, backend),
        pushed_(backend.memory(), bytes()),
        model_(backend.memory(), bytes()),
        waiting_(static_cast<std::size_t>(server_.workers())),
        stale_(waiting_.size()),
        seen_(waiting_.size()),
        clocks_(waiting_.size()) {}

  void run() {
    while (const auto push = server_.next("the workers' pushes")) take(*push);
  }

 private:
  void take(const ParameterServer::Push& push);
  void collect(const ParameterServer::Push& push);
  void step_at_once(const ParameterServer::Push& push);
  void answer_those_in_time();
  void update(std::span<const float> sum, std::int64_t micro_batches, std::int64_t step, std::int64_t rate_step);
  void note_wishes(const StepStatus& status);
  void answer(const ParameterServer::Push& push, const Note& note, const StepStatus& status);
  void answer_as_it_is(const ParameterServer::Push& push) { server_.answer(push.worker, {}, push.values); }

  std::size_t bytes() const { return static_cast<std::size_t>(layout_.size) * sizeof(float); }
  TensorView flat(const Buffer& buffer) const { return {buffer.as<float>(), Shape{layout_.size}}; }
  // The first server has the status.
  bool has_status() const { return layout_.statistics > 0; }
  StepStatus status_of(std::span<const float> values) const {
    StepStatus status;
    if (has_status()) std::memcpy(static_cast<void*>(&status), values.data(), sizeof status);
    return status;
  }

  const TrainOptions& options_;
  const Plan& plan_;
  ops::Backend& backend_;
  ParameterServer server_;
  Layout layout_;
  Optimizer optimizer_;
  Buffer pushed_, model_;                                      // laid out as the range
  std::vector<std::optional<ParameterServer::Push>> waiting_;  // by worker
  // Asynchronous. A worker's clock is the number of its steps.
  std::vector<std::int64_t> stale_, seen_, clocks_;  // by worker: of its last push, updates it knew, clock
  std::int64_t updates_ = 0, stop_at_ = kNeverStop;
};

void Server::take(const ParameterServer::Push& push) {
  const std::int64_t number = push.note[1];
  const auto size = static_cast<std::size_t>(layout_.size - layout_.weights) * sizeof(float);
  float* const weights = push.values.data() + layout_.weights;
  switch (static_cast<Ask>(push.note[0])) {
    case Ask::step: return options_.asynchronous ? step_at_once(push) : collect(push);
    case Ask::model: return answer(push, {}, {});
    case Ask::state:
      backend_.download(optimizer_.state(static_cast<std::size_t>(number)).data, weights, size);
      return answer_as_it_is(push);
    case Ask::load_model:
      backend_.upload(push.values.data(), model_.data(), bytes());
      clocks_.assign(clocks_.size(), number);
      updates_ = number * server_.workers();
      seen_.assign(seen_.size(), updates_);
      return answer_as_it_is(push);
    case Ask::load_state:
      backend_.upload(weights, optimizer_.state(static_cast<std::size_t>(number)).data, size);
      return answer_as_it_is(push);
  }
}

// Synchronous: once all are here, they are added in rank order, so that the sum does not depend on who came first.
void Server::collect(const ParameterServer::Push& push) {
  waiting_[static_cast<std::size_t>(push.worker)] = push;
  if (!std::all_of(waiting_.begin(), waiting_.end(), [](const auto& one) { return one.has_value(); })) return;
  const std::span<float> sum = waiting_.front()->values;
  for (std::size_t worker = 1; worker < waiting_.size(); ++worker) {
    float* __restrict to = sum.data();
    const float* __restrict more = waiting_[worker]->values.data();
    for (std::size_t i = 0; i < sum.size(); ++i) to[i] += more[i];
  }
  const std::int64_t step = push.note[1];
  update(sum, plan_.micro_batches, step, step);
  const StepStatus status = status_of(sum);
  for (auto& one : waiting_) {
    answer(*one, {0, kNeverStop}, status);
    one.reset();
  }
}

void Server::step_at_once(const ParameterServer::Push& push) {
  const auto worker = static_cast<std::size_t>(push.worker);
  const std::int64_t step = push.note[1];
  stale_[worker] = updates_ - seen_[worker];
  update(push.values, dataset::part_of(plan_.micro_batches, push.worker, server_.workers()).size(), updates_, step);
  ++updates_;
  clocks_[worker] = step + 1;
  waiting_[worker] = push;
  note_wishes(status_of(push.values));
  answer_those_in_time();
}

// A worker that is one step ahead of the others may be computing its next by now: all can still do that one.
void Server::note_wishes(const StepStatus& status) {
  if (status.stop > 0 || status.failed > 0 || !std::isfinite(status.loss_sum))
    stop_at_ = std::min(stop_at_, *std::max_element(clocks_.begin(), clocks_.end()) + 1);
}

void Server::answer_those_in_time() {
  const std::int64_t slowest = *std::min_element(clocks_.begin(), clocks_.end());
  for (std::size_t worker = 0; worker < waiting_.size(); ++worker) {
    if (!waiting_[worker] || clocks_[worker] - slowest > options_.staleness) continue;
    answer(*waiting_[worker], {stale_[worker], stop_at_}, status_of(waiting_[worker]->values));
    seen_[worker] = updates_;
    waiting_[worker].reset();
  }
}

void Server::update(std::span<const float> sum, std::int64_t micro_batches, std::int64_t step, std::int64_t rate_step) {
  backend_.upload(sum.data(), pushed_.data(), bytes());
  const TensorView pushed = flat(pushed_), model = flat(model_);
  update_model(backend_, optimizer_, options_.batch_norm_momentum,
               {.batch_statistics = part_of(pushed, layout_.statistics, layout_.weights),
                .gradients = part_of(pushed, layout_.weights, layout_.size),
                .statistics = part_of(model, layout_.statistics, layout_.weights),
                .weights = part_of(model, layout_.weights, layout_.size),
                .micro_batches = micro_batches,
                .share = static_cast<float>(micro_batches) / static_cast<float>(plan_.micro_batches)},
               step, learning_rate(plan_.optimizer, rate_step, plan_.total_steps));
  backend_.synchronize();
}

void Server::answer(const ParameterServer::Push& push, const Note& note, const StepStatus& status) {
  backend_.download(model_.data(), push.values.data(), bytes());
  if (has_status()) std::memcpy(push.values.data(), &status, sizeof status);
  server_.answer(push.worker, note, push.values);
}

}  // namespace

void serve(const TrainOptions& options, const Plan& plan, ops::Backend& backend, communication::Communicator& ranks) {
  std::optional<Server> server;
  {
    // Only for the layout: one image is the least it can be prepared for.
    const network::Executor executor(plan.graph, backend,
                                     {.max_batch = 1, .training = true, .reduction_header = kStatusFloats});
    server.emplace(options, plan, backend, ranks, executor);
  }
  server->run();
}

}  // namespace brigade::training
