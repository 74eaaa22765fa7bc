#include "strategy.hpp"

#include "brigade/core/error.hpp"

namespace brigade::training {

namespace {

void check_parameter_server(const TrainOptions& options, int ranks) {
  require<OptionError>(
      options.servers >= 1 && options.servers < ranks,
      "--servers {} of {} ranks leave no server or no worker (servers do not train). Start more ranks?",
      options.servers, ranks);
  require<OptionError>(options.staleness >= 0, "--staleness {} is negative", options.staleness);
  require<OptionError>(!options.reproducible,
                       "--strategy parameter-server adds gradients in rank order, so the number of workers changes the "
                       "bits, which --reproducible rules out. Use multi-worker?");
  require<OptionError>(!options.asynchronous || options.batch_norm_group == 1,
                       "--async lets workers train apart, but --batchnorm-group {} ties them together in every step. "
                       "Leave one of them out?",
                       options.batch_norm_group);
}

}  // namespace

void check_strategy(const TrainOptions& options, const communication::Communicator& communicator) {
  const int ranks = communicator.size();
  require<OptionError>(options.strategy != StrategyKind::one_device || ranks == 1,
                       "--strategy one-device is for one rank, but {} were started. Use mirrored or multi-worker?",
                       ranks);
  require<OptionError>(options.strategy != StrategyKind::mirrored || communicator.node_size() == ranks,
                       "--strategy mirrored is for the ranks of one node, but {} of the {} ranks are on others. Use "
                       "multi-worker?",
                       ranks - communicator.node_size(), ranks);
  if (options.strategy == StrategyKind::parameter_server) return check_parameter_server(options, ranks);
  require<OptionError>(!options.asynchronous, "--async is for --strategy parameter-server");
  require<OptionError>(options.sync_every >= 1, "--sync-every {} is not positive", options.sync_every);
  if (options.strategy != StrategyKind::local_sgd) return;
  require<OptionError>(!options.reproducible,
                       "--strategy local-sgd lets ranks train apart, so their number changes the result, which "
                       "--reproducible rules out. Use multi-worker?");
  require<OptionError>(options.batch_norm_group == 1,
                       "--strategy local-sgd lets ranks train apart, but --batchnorm-group {} ties them together in "
                       "every step. Use multi-worker?",
                       options.batch_norm_group);
}

std::string describe_strategy(const TrainOptions& options) {
  if (options.strategy == StrategyKind::parameter_server && options.asynchronous)
    return fmt::format("parameter-server, asynchronous, staleness {}", options.staleness);
  if (options.strategy != StrategyKind::local_sgd) return "synchronous";
  return fmt::format("local-sgd, averaged every {} steps", options.sync_every);
}

}  // namespace brigade::training
