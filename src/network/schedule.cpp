#include "schedule.hpp"

#include <algorithm>
#include <array>

#include "brigade/core/error.hpp"
#include "nodes.hpp"

namespace brigade::network {

std::span<const PassName> pass_names() {
  static constexpr std::array kNames{PassName{"fuse-activation", &Passes::fuse_activation},
                                     PassName{"fold-batch-norm", &Passes::fold_batch_norm},
                                     PassName{"producer-statistics", &Passes::producer_statistics},
                                     PassName{"normalise-on-read", &Passes::normalise_on_read},
                                     PassName{"gradient-through", &Passes::gradient_through},
                                     PassName{"make-on-read", &Passes::make_on_read},
                                     PassName{"cancel-bias", &Passes::cancel_bias},
                                     PassName{"concat-in-place", &Passes::concat_in_place},
                                     PassName{"recompute", &Passes::recompute},
                                     PassName{"in-place", &Passes::in_place}};
  return kNames;
}

std::string known_passes() {
  std::string known;
  for (const PassName& pass : pass_names()) known += fmt::format("{}{}", known.empty() ? "" : ", ", pass.name);
  return known;
}

void disable(Passes& passes, std::string_view name) {
  const auto pass = std::ranges::find(pass_names(), name, &PassName::name);
  require<OptionError>(pass != pass_names().end(), "there is no pass '{}' (known: {})", name, known_passes());
  passes.*pass->enabled = false;
}

Schedule make_schedule(const Graph& given, bool training, const Passes& passes, Precision precision) {
  Schedule schedule{.graph = passes.fuse_activation ? fuse_activation(given) : given,
                    .training = training,
                    .passes = passes,
                    .nodes = {},
                    .folds = {}};
  schedule.nodes.resize(schedule.graph.nodes.size());
  if (!training && passes.fold_batch_norm) fold_batch_norm(schedule);
  if (passes.normalise_on_read) normalise_on_read(schedule);
  if (passes.concat_in_place) concat_in_place(schedule);
  if (training) producer_statistics(schedule);
  if (training && passes.gradient_through) gradient_through(schedule);
  if (training && passes.gradient_through) shared_gradient(schedule);
  if (training && passes.make_on_read) make_on_read(schedule);
  if (training && passes.cancel_bias) cancel_bias(schedule);
  if (precision == Precision::bf16) store_bf16(schedule);
  if (training && passes.recompute) recompute(schedule);
  return schedule;
}

}  // namespace brigade::network
