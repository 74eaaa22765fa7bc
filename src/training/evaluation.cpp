#include "brigade/training/evaluation.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <tuple>

#include "brigade/core/atomic_file.hpp"

namespace brigade::training {
namespace {

using nlohmann::json;

// Losses are added as whole numbers of this, so that their order does not matter. 2 million samples of the largest loss
// fit.
constexpr double kLossUnit = 0x1p-26;
constexpr float kLargestLoss = 65536;  // a network that far off, or not finite, is no better

std::int64_t loss_units(float loss) {
  return std::llround(static_cast<double>(loss < kLargestLoss ? loss : kLargestLoss) / kLossUnit);
}

// What one rank found; the argmax follows the rule of SoftmaxCrossEntropy (the first of equals).
void count_batch(network::Executor& executor, const dataset::Batch& batch, const EvaluationOptions& options,
                 Evaluation& result, std::int64_t& losses) {
  const auto loss = executor.loss();
  const auto rank = executor.label_rank();
  const auto probabilities =
      options.confusion || options.worst > 0 ? executor.probabilities() : std::span<const float>();
  const std::int64_t classes = executor.graph().classes();
  for (std::size_t i = 0; i < batch.labels.size(); ++i) {
    ++result.samples;
    losses += loss_units(loss[i]);
    result.top1 += rank[i] == 0 ? 1 : 0;
    result.top5 += rank[i] < 5 ? 1 : 0;
    if (probabilities.empty()) continue;
    const auto row = probabilities.subspan(i * static_cast<std::size_t>(classes), static_cast<std::size_t>(classes));
    const auto predicted = static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
    if (options.confusion) ++result.confusion[static_cast<std::size_t>(batch.labels[i] * classes + predicted)];
    if (options.worst > 0 && rank[i] != 0)
      result.worst.push_back({"", batch.indices[i], batch.labels[i], predicted, loss[i]});
  }
}

void keep_worst(std::vector<WorstError>& worst, std::int64_t count) {
  std::sort(worst.begin(), worst.end(), [](const WorstError& a, const WorstError& b) {
    return a.loss != b.loss ? a.loss > b.loss : a.index < b.index;
  });
  if (static_cast<std::int64_t>(worst.size()) > count) worst.resize(static_cast<std::size_t>(count));
}

json to_json(const WorstError& error) {
  return {{"name", error.name},
          {"index", error.index},
          {"label", error.label},
          {"predicted", error.predicted},
          {"loss", error.loss}};
}

void gather_worst(communication::Communicator& communicator, Evaluation& result, std::int64_t count) {
  json mine = json::array();
  for (const auto& error : result.worst) mine.push_back(to_json(error));
  result.worst.clear();
  for (const auto& text : communicator.all_gather(mine.dump(), "gathering the worst errors"))
    for (const auto& item : json::parse(text))
      result.worst.push_back({item["name"], item["index"], item["label"], item["predicted"], item["loss"]});
  keep_worst(result.worst, count);
}

}  // namespace

Evaluation evaluate(network::Executor& executor, const dataset::SplitFiles& files,
                    communication::Communicator& communicator, const EvaluationOptions& options) {
  const std::int64_t classes = executor.graph().classes();
  Evaluation result;
  std::int64_t losses = 0;
  if (options.confusion) result.confusion.assign(static_cast<std::size_t>(classes * classes), 0);

  const bool together = files.mode() == dataset::ReaderMode::collective;
  const auto count_own = [&] {
    const auto own = dataset::part_of(files.samples(), communicator.rank(), communicator.size());
    const std::int64_t most = (files.samples() + communicator.size() - 1) / communicator.size();
    const std::int64_t at_least = together ? (most + options.batch - 1) / options.batch : 0;
    dataset::BatchStream stream(files.reader(), dataset::evaluation_plan(own, options.batch, at_least), options.stream);
    while (const dataset::Batch* batch = stream.next()) {
      if (batch->labels.empty()) continue;  // other ranks read, this one has nothing left
      executor.evaluate({.images = batch->images.data(),
                         .labels = batch->labels.data(),
                         .n = static_cast<std::int64_t>(batch->labels.size())});
      count_batch(executor, *batch, options, result, losses);
    }
    if (result.worst.empty()) return;
    keep_worst(result.worst, options.worst);
    const auto reader = files.reader();
    for (auto& error : result.worst) error.name = reader->name(error.index);
  };
  // A rank that fails alone while the others read together ends the job: they could not go on without it.
  if (together)
    count_own();
  else
    communication::collectively(communicator, "evaluation", count_own);

  std::array counts{result.samples, result.top1, result.top5, losses};
  communicator.sum(counts, "counting correct predictions");
  std::tie(result.samples, result.top1, result.top5) = std::tie(counts[0], counts[1], counts[2]);
  result.loss_sum = static_cast<double>(counts[3]) * kLossUnit;
  if (options.confusion) communicator.sum(result.confusion, "adding up the confusion matrix");
  if (options.worst > 0) gather_worst(communicator, result, options.worst);
  return result;
}

void write_evaluation(const std::filesystem::path& file, const std::string& split,
                      const std::vector<std::string>& classes, const Evaluation& evaluation) {
  json report = {{"split", split},
                 {"samples", evaluation.samples},
                 {"loss", evaluation.loss()},
                 {"top1_accuracy", evaluation.top1_accuracy()},
                 {"top5_accuracy", evaluation.top5_accuracy()},
                 {"classes", json::array()},
                 {"confusion", json::array()},
                 {"worst", json::array()}};
  for (std::size_t label = 0; label < classes.size() && !evaluation.confusion.empty(); ++label) {
    const auto row = evaluation.confusion.begin() + static_cast<std::ptrdiff_t>(label * classes.size());
    const std::vector<std::int64_t> counts(row, row + static_cast<std::ptrdiff_t>(classes.size()));
    report["confusion"].push_back(counts);
    report["classes"].push_back({{"name", classes[label]},
                                 {"samples", std::accumulate(counts.begin(), counts.end(), std::int64_t{0})},
                                 {"correct", counts[label]}});
  }
  for (const auto& error : evaluation.worst) report["worst"].push_back(to_json(error));
  write_file(file, report.dump(1) + "\n");
}

}  // namespace brigade::training
