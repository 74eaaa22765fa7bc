// The one class behind every operation on the CPU; each operation's member functions are defined in a
// file of its own (conv2d.cpp, pool.cpp, ...).
#pragma once

#include <array>

#include "brigade/core/memory.hpp"
#include "brigade/ops/backend.hpp"

namespace brigade::host {

// Scratch memory by purpose, so that two buffers of one operation never meet. `zeros` is never written, so it stays as
// memory resources hand it out.
enum class Scratch : int {
  packed_weights,
  partial_sums,
  packed_input,
  padded_bias,
  rounded_gradient,
  normal_scale,
  made_pixels,
  group_weights,
  zeros,
  count
};

class HostBackend final : public ops::Backend {
 public:
  std::string description() const override;
  int threads() const override;
  std::string algorithm(const ops::Conv2d& conv, const Shape& x, DType type, ops::Conv2d::Pass pass) const override;
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

  // At least `count` elements that stay valid until the same purpose asks for more.
  template <class T = float>
  T* scratch(Scratch purpose, std::int64_t count) {
    return static_cast<T*>(scratch_bytes(purpose, static_cast<std::size_t>(count) * sizeof(T)));
  }

 private:
  void* scratch_bytes(Scratch purpose, std::size_t bytes);
  std::array<Buffer, static_cast<std::size_t>(Scratch::count)> scratch_;
};

}  // namespace brigade::host
