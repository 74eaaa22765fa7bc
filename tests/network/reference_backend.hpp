// The door `ops::Backend` in naive loops: what the network room is tested with, and the proof that it needs nothing
// but the door. One thread; slices of channels, and inputs to be normalised, are copied first.
#pragma once

#include "brigade/ops/backend.hpp"

namespace brigade::tests {

class ReferenceBackend : public ops::Backend {
 public:
  std::string description() const override { return "reference (naive loops)"; }
  int threads() const override { return 1; }
  MemoryResource& memory() override { return host_memory(); }
  void upload(const void* host, void* backend, std::size_t bytes) override;
  void download(const void* backend, void* host, std::size_t bytes) override;
  void synchronize() override {}

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
};

}  // namespace brigade::tests
