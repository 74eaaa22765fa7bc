// A server: a mailbox opens, the push in it becomes part of a step, an answer goes out.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include "brigade/core/error.hpp"
#include "model_update.hpp"
#include "parameter_server.hpp"
#include "parameter_server_log.hpp"

namespace brigade::training {
namespace {

using communication::Note;
using communication::ParameterServer;

// The flat array's borders, on a server those of its range.
struct Layout {
  std::int64_t statistics = 0, weights = 0, size = 0;  // begin of each, and the end
  std::vector<network::FlatTensor> averages;           // offsets from `statistics`
  std::vector<network::FlatTensor> parameters;         // offsets from `weights`

  Layout within(const Range<std::size_t>& range) const {
    const auto begin = static_cast<std::int64_t>(range.begin), end = static_cast<std::int64_t>(range.end);
    const auto local = [&](std::int64_t at) { return std::clamp(at, begin, end) - begin; };
    // Of tensors that begin at `front`.
    const auto cut = [&](std::int64_t front, const std::vector<network::FlatTensor>& tensors) {
      std::vector<network::FlatTensor> inside;
      for (const auto& tensor : tensors) {
        const std::int64_t from = local(front + tensor.offset), to = local(front + tensor.offset + tensor.size());
        if (from == to) continue;
        inside.push_back(tensor);
        inside.back().shape = {to - from};
        inside.back().offset = from - local(front);
      }
      return inside;
    };
    return {local(statistics), local(weights), end - begin, cut(statistics, averages), cut(weights, parameters)};
  }
};

// As workers have it: the passes leave the order of parameters alone, whatever the batch.
Layout whole_layout(const network::Executor& executor) {
  return {kStatusFloats, executor.gradients_offset(),
          executor.gradients_offset() + parameter_floats(executor.parameters()), executor.statistics_layout(),
          executor.parameters()};
}

class Server {
 public:
  Server(const TrainOptions& options, const Plan& plan, ops::Backend& backend, communication::Communicator& ranks,
         const Job& job, const network::Executor& executor)
      : options_(options),
        plan_(plan),
        backend_(backend),
        rank_(ranks.rank()),
        clock_offset_s_(job.clock_offset_s),
        last_words_(*job.last_words),
        server_(ranks, served_array(options, executor)),
        layout_(whole_layout(executor).within(server_.range())),
        running_averages_(layout_.averages),
        pushed_(backend.memory(), bytes()),
        model_(backend.memory(), bytes()),
        waiting_(static_cast<std::size_t>(server_.workers())),
        stale_(waiting_.size()),
        seen_(waiting_.size()),
        clocks_(waiting_.size()) {
    for (int i = 0; i < (options.asynchronous ? server_.workers() : 1); ++i)
      optimizers_.emplace_back(plan.optimizer, layout_.parameters, backend);
  }

  void run() {
    while (const auto push = server_.next("the workers' pushes")) {
      log_.push_arrived();
      take(*push);
    }
  }

 private:
  void take(const ParameterServer::Push& push);
  void collect(const ParameterServer::Push& push);
  void read_state(std::size_t number, std::span<float> values);
  void step_at_once(const ParameterServer::Push& push);
  std::size_t answer_those_in_time();
  void update(Optimizer& optimizer, std::span<const float> sum, std::int64_t micro_batches, std::int64_t step);
  void note_wishes(const StepStatus& status);
  void begin_log(std::int64_t steps_done, std::int64_t clock_origin_ns);
  void log(std::int64_t update, std::int64_t step, std::size_t answers, const StepStatus& status, std::int64_t stale);
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
  const int rank_;
  const double clock_offset_s_;
  LastWords& last_words_;
  ParameterServer server_;
  Layout layout_;
  RunningAverages running_averages_;
  std::vector<Optimizer> optimizers_;                          // one, or asynchronous: of each worker
  Buffer pushed_, model_;                                      // laid out as the range
  std::vector<std::optional<ParameterServer::Push>> waiting_;  // by worker
  // Asynchronous. A worker's clock is the number of its steps.
  std::vector<std::int64_t> stale_, seen_, clocks_;  // by worker: of its last push, updates it knew, clock
  std::int64_t updates_ = 0, stop_at_ = kNeverStop;
  UpdateLog log_;
};

void Server::take(const ParameterServer::Push& push) {
  const std::int64_t number = push.note[1];
  const auto size = static_cast<std::size_t>(layout_.size - layout_.weights) * sizeof(float);
  float* const weights = push.values.data() + layout_.weights;
  switch (static_cast<Ask>(push.note[0])) {
    case Ask::step: return options_.asynchronous ? step_at_once(push) : collect(push);
    case Ask::model: return answer(push, {}, {});
    case Ask::state:
      read_state(static_cast<std::size_t>(number), {weights, size / sizeof(float)});
      return answer_as_it_is(push);
    case Ask::load_model:
      backend_.upload(push.values.data(), model_.data(), bytes());
      clocks_.assign(clocks_.size(), number);
      updates_ = number * server_.workers();
      seen_.assign(seen_.size(), updates_);
      begin_log(number, push.note[2]);
      return answer_as_it_is(push);
    case Ask::load_state:
      for (Optimizer& one : optimizers_)
        backend_.upload(weights, one.state(static_cast<std::size_t>(number)).data, size);
      return answer_as_it_is(push);
  }
}

// A checkpoint has one optimizer's state: the mean of the workers' (they move the weights by equal parts of a step).
void Server::read_state(std::size_t number, std::span<float> values) {
  std::vector<float> one(values.size());
  std::ranges::fill(values, 0.0F);
  for (Optimizer& optimizer : optimizers_) {
    backend_.download(optimizer.state(number).data, one.data(), std::as_bytes(std::span(one)).size());
    for (std::size_t i = 0; i < one.size(); ++i) values[i] += one[i] / static_cast<float>(optimizers_.size());
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
  update(optimizers_.front(), sum, plan_.micro_batches, step);
  const StepStatus status = status_of(sum);
  for (auto& one : waiting_) {
    answer(*one, {0, kNeverStop}, status);
    one.reset();
  }
  log(step, step, waiting_.size(), status, 0);
}

void Server::step_at_once(const ParameterServer::Push& push) {
  const auto worker = static_cast<std::size_t>(push.worker);
  const std::int64_t step = push.note[1];
  stale_[worker] = updates_ - seen_[worker];
  update(optimizers_[worker], push.values, dataset::part_of(plan_.micro_batches, push.worker, server_.workers()).size(),
         step);
  ++updates_;
  clocks_[worker] = step + 1;
  waiting_[worker] = push;
  const StepStatus status = status_of(push.values);
  note_wishes(status);
  log(updates_ - 1, step, answer_those_in_time(), status, stale_[worker]);
}

// A worker that is one step ahead of the others may be computing its next by now: all can still do that one.
void Server::note_wishes(const StepStatus& status) {
  if (status.stop > 0 || status.failed > 0 || !std::isfinite(status.loss_sum))
    stop_at_ = std::min(stop_at_, *std::max_element(clocks_.begin(), clocks_.end()) + 1);
}

// How many these are.
std::size_t Server::answer_those_in_time() {
  std::size_t answers = 0;
  const std::int64_t slowest = *std::min_element(clocks_.begin(), clocks_.end());
  for (std::size_t worker = 0; worker < waiting_.size(); ++worker) {
    if (!waiting_[worker] || clocks_[worker] - slowest > options_.staleness) continue;
    answer(*waiting_[worker], {stale_[worker], stop_at_}, status_of(waiting_[worker]->values));
    seen_[worker] = updates_;
    waiting_[worker].reset();
    ++answers;
  }
  return answers;
}

void Server::update(Optimizer& optimizer, std::span<const float> sum, std::int64_t micro_batches, std::int64_t step) {
  backend_.upload(sum.data(), pushed_.data(), bytes());
  const TensorView pushed = flat(pushed_), model = flat(model_);
  update_model(backend_, optimizer, running_averages_,
               {.batch_statistics = part_of(pushed, layout_.statistics, layout_.weights),
                .gradients = part_of(pushed, layout_.weights, layout_.size),
                .statistics = part_of(model, layout_.statistics, layout_.weights),
                .weights = part_of(model, layout_.weights, layout_.size),
                .micro_batches = micro_batches,
                .share = static_cast<float>(micro_batches) / static_cast<float>(plan_.micro_batches)},
               step, learning_rate(plan_.optimizer, step, plan_.total_steps));
  backend_.synchronize();
  log_.updated();
}

void Server::begin_log(std::int64_t steps_done, std::int64_t clock_origin_ns) {
  const std::int64_t first = options_.asynchronous ? updates_ : steps_done;
  last_words_.now_in("serving", first);
  log_ = UpdateLog(options_.run, rank_, first, 1e-9 * static_cast<double>(clock_origin_ns) - clock_offset_s_);
}

void Server::log(std::int64_t update, std::int64_t step, std::size_t answers, const StepStatus& status,
                 std::int64_t stale) {
  last_words_.now_in("serving", update + 1);
  log_.answered({.number = update,
                 .epoch = step / plan_.steps_per_epoch + 1,
                 .loss = has_status() ? static_cast<double>(status.loss_sum) / static_cast<double>(status.images) : NAN,
                 .learning_rate = learning_rate(plan_.optimizer, step, plan_.total_steps),
                 .staleness = stale,
                 .sent_bytes = static_cast<std::int64_t>(answers * bytes())});
}

void Server::answer(const ParameterServer::Push& push, const Note& note, const StepStatus& status) {
  backend_.download(model_.data(), push.values.data(), bytes());
  if (has_status()) std::memcpy(push.values.data(), &status, sizeof status);
  server_.answer(push.worker, note, push.values);
}

}  // namespace

void serve(const TrainOptions& options, const Plan& plan, ops::Backend& backend, communication::Communicator& ranks,
           const Job& job) {
  std::optional<Server> server;
  {
    // Only for the layout: one image is the least it can be prepared for.
    const network::Executor executor(plan.graph, backend,
                                     {.max_batch = 1, .training = true, .reduction_header = kStatusFloats});
    server.emplace(options, plan, backend, ranks, job, executor);
  }
  server->run();
}

}  // namespace brigade::training
