#include "brigade/training/evaluation.hpp"

#include <filesystem>

#include "backend_options.hpp"
#include "brigade/communication/require_same.hpp"
#include "brigade/core/clock.hpp"
#include "brigade/training/checkpoint.hpp"
#include "brigade/training/same_dataset.hpp"
#include "commands.hpp"
#include "options.hpp"
#include "reader_options.hpp"
#include "start_check.hpp"

namespace brigade::cli {
namespace {

struct EvaluateCommand {
  std::filesystem::path dataset, checkpoint, output;
  std::string split = "test";
  training::EvaluationOptions evaluation{.batch = 128, .confusion = true, .worst = 20, .stream = {}};
  network::Precision precision = network::Precision::fp32;
  dataset::ReaderOptions reader;
  BackendOptions backend;
};

// Collective.
bool parse(Call& call, EvaluateCommand& command) {
  auto& communicator = call.communicator;
  std::filesystem::path run;
  Options options("evaluate",
                  "accuracy, confusion matrix and worst errors of a trained network; every image counts once");
  options.required("dataset", command.dataset, "DIR: made by `brigade shard`")
      .optional("run", run, "DIR: of a run; its newest checkpoint is evaluated")
      .optional("checkpoint", command.checkpoint, "DIR: a checkpoint, instead of --run")
      .optional("output", command.output, "FILE: the report in JSON; without it, evaluation.json in --run")
      .add("split", command.split, "of the dataset")
      .add("batch-size", command.evaluation.batch, {1}, "images evaluated at once, on each rank")
      .add("worst", command.evaluation.worst, {0}, "how many wrongly classified images to list, largest loss first");
  declare_precision(options, command.precision);
  declare_reader(options, command.reader);
  command.backend.declare(options);
  if (!read_options(call, options)) return false;

  communication::collectively(communicator, "choosing the checkpoint", [&] {
    require<OptionError>(run.empty() != command.checkpoint.empty(), "give either --run or --checkpoint");
    if (run.empty() || !call.speaks()) return;
    const auto newest = training::newest_checkpoint(run / "checkpoints");
    require(newest.has_value(), "{} holds no checkpoint. Has `brigade train` run there?", run.string());
    command.checkpoint = *newest;
    if (command.output.empty()) command.output = run / "evaluation.json";
  });
  // While the run goes on, ranks that look one after another would find different ones.
  command.checkpoint = communicator.broadcast(command.checkpoint.string(), 0, "choosing the checkpoint");
  return true;
}

// Collective: their counts are going to be added.
void require_same_model_and_dataset(communication::Communicator& communicator, const EvaluateCommand& command,
                                    const dataset::Manifest& manifest) {
  std::string model;
  communication::collectively(communicator, "looking at the checkpoint",
                              [&] { model = communication::content_of(command.checkpoint / "manifest.json"); });
  communication::require_same(communicator, {{"manifest.json of the checkpoint", model}}, ExitCode::bad_data,
                              "Is the checkpoint the same directory on every node?");
  training::require_same_dataset(communicator, command.dataset, manifest);
}

void print_result(const training::Evaluation& result, const std::vector<std::string>& classes, double seconds) {
  fmt::print("{} images: accuracy {:.2f} %, top-5 {:.2f} %, loss {:.4f} ({:.1f} s, {:.0f} images/s)\n", result.samples,
             100 * result.top1_accuracy(), 100 * result.top5_accuracy(), result.loss(), seconds,
             static_cast<double>(result.samples) / seconds);
  for (std::size_t label = 0; label < classes.size(); ++label) {
    std::int64_t total = 0;
    for (std::size_t predicted = 0; predicted < classes.size(); ++predicted)
      total += result.confusion[label * classes.size() + predicted];
    fmt::print("  {:<24}{:>6} wrong of {}\n", classes[label], total - result.confusion[label * classes.size() + label],
               total);
  }
}

}  // namespace

ExitCode evaluate(Call& call) {
  auto& communicator = call.communicator;
  EvaluateCommand command;
  if (!parse(call, command)) return ExitCode::done;
  training::Model model;
  dataset::Manifest manifest;
  communication::collectively(communicator, "opening the model and the dataset", [&] {
    model = training::load_model(command.checkpoint);
    manifest = dataset::read_manifest(command.dataset);
    const auto& image = manifest.image;
    require<OptionError>(
        image == dataset::ImageShape{model.info.stored_height, model.info.stored_width, model.info.channels} &&
            manifest.classes.size() == model.info.classes.size(),
        "{} does not fit the model, which was trained on {}x{}x{} images of {} classes. Shard it with "
        "--image-size {}?",
        command.dataset.string(), model.info.stored_height, model.info.stored_width, model.info.channels,
        model.info.classes.size(), model.info.stored_height);
  });
  require_same_model_and_dataset(communicator, command, manifest);

  const LiveBackend backend(command.backend, communicator);
  network::Executor executor(
      training::make_graph(model.info), *backend,
      {.max_batch = command.evaluation.batch, .training = false, .precision = command.precision});
  communication::collectively(communicator, "restoring the model",
                              [&] { training::restore(model, executor, *backend); });
  command.evaluation.stream.mean = model.info.mean;
  command.evaluation.stream.stddev = model.info.stddev;
  command.evaluation.stream.height = model.info.height;
  command.evaluation.stream.width = model.info.width;

  const Stopwatch watch;
  const dataset::SplitFiles files(command.dataset, manifest, command.split, command.reader, communicator,
                                  communicator.node());
  const auto result = training::evaluate(executor, files, communicator, command.evaluation);
  if (call.speaks()) print_result(result, model.info.classes, watch.elapsed());
  communication::collectively(communicator, "writing the report", [&] {
    if (call.speaks() && !command.output.empty())
      training::write_evaluation(command.output, command.split, model.info.classes, result);
  });
  return ExitCode::done;
}

}  // namespace brigade::cli
