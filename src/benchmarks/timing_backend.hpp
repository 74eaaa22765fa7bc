// A backend that passes every call on to another one and adds up the seconds by kind of operation
// and phase of the step. It waits for each operation, so an asynchronous backend loses its overlap.
#pragma once

#include <array>
#include <map>
#include <string_view>

#include "brigade/ops/backend.hpp"

namespace brigade::benchmarks {

enum class Phase : std::uint8_t { forward, backward, update };
inline constexpr std::size_t kPhases = 3;

// Seconds in each phase, by kind of operation as in network::operation_name().
using OperationTimes = std::map<std::string_view, std::array<double, kPhases>>;

class TimingBackend final : public ops::Backend {
 public:
  explicit TimingBackend(ops::Backend& inner) : inner_(inner) {}

  void enter(Phase phase) { phase_ = phase; }  // of the calls that follow
  const OperationTimes& times() const { return times_; }
  void reset();  // all times to zero

  std::string description() const override { return inner_.description(); }
  int threads() const override { return inner_.threads(); }
  MemoryResource& memory() override { return inner_.memory(); }
  void upload(const void* host, void* backend, std::size_t bytes) override;
  void download(const void* backend, void* host, std::size_t bytes) override;
  void synchronize() override { inner_.synchronize(); }

  void forward(const ops::Conv2d&, const ops::Conv2d::Forward&) override;
  void backward(const ops::Conv2d&, const ops::Conv2d::Backward&) override;
  void forward(const ops::DepthwiseConv2d&, const ops::DepthwiseConv2d::Forward&) override;
  void backward(const ops::DepthwiseConv2d&, const ops::DepthwiseConv2d::Backward&) override;
  void forward(const ops::Dense&, const ops::Dense::Forward&) override;
  void backward(const ops::Dense&, const ops::Dense::Backward&) override;
  void forward(const ops::Relu&, const ops::Relu::Forward&) override;
  void backward(const ops::Relu&, const ops::Relu::Backward&) override;
  void forward(const ops::MaxPool&, const ops::MaxPool::Forward&) override;
  void backward(const ops::MaxPool&, const ops::MaxPool::Backward&) override;
  void forward(const ops::AveragePool&, const ops::AveragePool::Forward&) override;
  void backward(const ops::AveragePool&, const ops::AveragePool::Backward&) override;
  void forward(const ops::GlobalAveragePool&, const ops::GlobalAveragePool::Forward&) override;
  void backward(const ops::GlobalAveragePool&, const ops::GlobalAveragePool::Backward&) override;
  void forward(const ops::Add&, const ops::Add::Forward&) override;
  void backward(const ops::Add&, const ops::Add::Backward&) override;
  void forward(const ops::Concat&, const ops::Concat::Forward&) override;
  void backward(const ops::Concat&, const ops::Concat::Backward&) override;
  void forward(const ops::BatchNorm&, const ops::BatchNorm::Forward&) override;
  void infer(const ops::BatchNorm&, const ops::BatchNorm::Inference&) override;
  void backward(const ops::BatchNorm&, const ops::BatchNorm::Backward&) override;
  void centre(const ops::BatchNorm::Centring&) override;
  void forward(const ops::LocalResponseNorm&, const ops::LocalResponseNorm::Forward&) override;
  void backward(const ops::LocalResponseNorm&, const ops::LocalResponseNorm::Backward&) override;
  void apply(const ops::Dropout&, const ops::Dropout::Apply&) override;
  void forward(const ops::SoftmaxCrossEntropy&, const ops::SoftmaxCrossEntropy::Forward&) override;
  void backward(const ops::SoftmaxCrossEntropy&, const ops::SoftmaxCrossEntropy::Backward&) override;
  void update(const ops::Blend&, const ops::Blend::Update&) override;
  void update(const ops::Sgd&, const ops::Sgd::Update&) override;
  void update(const ops::Adam&, const ops::Adam::Update&) override;

 private:
  template <class Call>
  void timed(std::string_view kind, const Call& call);

  ops::Backend& inner_;
  Phase phase_ = Phase::forward;
  OperationTimes times_;
};

}  // namespace brigade::benchmarks
