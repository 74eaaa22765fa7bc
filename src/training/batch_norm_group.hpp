// Neighbouring ranks whose micro-batches share batch-norm statistics.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "brigade/communication/communicator.hpp"
#include "brigade/network/batch_norm_group.hpp"

namespace brigade::training {

class RankGroup final : public network::BatchNormGroup {
 public:
  // `ranks` are the members.
  explicit RankGroup(communication::Communicator ranks) : ranks_(std::move(ranks)) {}

  std::int64_t members() const override { return ranks_.size(); }
  void merge_moments(std::span<float> mean, std::span<float> variance) override;
  void average_gradients(std::span<float> dgamma, std::span<float> dbeta) override;

  // Time in sums over the members, most of it waiting for the last of them, since the last call.
  double take_waited_s() { return std::exchange(waited_s_, 0); }

 private:
  void sum(std::string_view what);  // of sums_

  communication::Communicator ranks_;
  double waited_s_ = 0;
  std::vector<double> sums_;  // both arrays, one after the other
};

}  // namespace brigade::training
