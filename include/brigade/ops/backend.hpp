/// Where operations are carried out. One implementation on Kokkos (room `host`), one on CUDA and
/// cuDNN (room `device`); networks are computed only through this interface.
///
/// Every operation may be asynchronous: results are in memory after synchronize(), and operations
/// are carried out in the order of the calls. Scratch memory belongs to the backend; it grows during
/// the first step and not after.
#pragma once

#include <string>

#include "brigade/core/memory.hpp"
#include "brigade/ops/add.hpp"
#include "brigade/ops/batch_norm.hpp"
#include "brigade/ops/concat.hpp"
#include "brigade/ops/conv2d.hpp"
#include "brigade/ops/dense.hpp"
#include "brigade/ops/depthwise_conv2d.hpp"
#include "brigade/ops/dropout.hpp"
#include "brigade/ops/global_average_pool.hpp"
#include "brigade/ops/local_response_norm.hpp"
#include "brigade/ops/optimizer.hpp"
#include "brigade/ops/pool.hpp"
#include "brigade/ops/relu.hpp"
#include "brigade/ops/softmax_cross_entropy.hpp"

namespace brigade::ops {

class Backend {
 public:
  virtual ~Backend() = default;

  /// One line for people: "host (Kokkos 3.6 OpenMP, 2 threads, AVX-512)".
  virtual std::string description() const = 0;
  virtual int threads() const = 0;

  /// For people: by which algorithm a pass of a convolution over x of this shape and type is computed ("direct",
  /// "winograd 4x4"); empty: not known here.
  virtual std::string algorithm(const Conv2d&, const Shape& /*x*/, DType /*x*/, Conv2d::Pass) const { return {}; }

  /// Where tensors live.
  virtual MemoryResource& memory() = 0;
  virtual void upload(const void* host, void* backend, std::size_t bytes) = 0;
  virtual void download(const void* backend, void* host, std::size_t bytes) = 0;
  virtual void synchronize() = 0;

  virtual void forward(const Conv2d&, const Conv2d::Forward&) = 0;
  virtual void backward(const Conv2d&, const Conv2d::Backward&) = 0;
  virtual void forward(const DepthwiseConv2d&, const DepthwiseConv2d::Forward&) = 0;
  virtual void backward(const DepthwiseConv2d&, const DepthwiseConv2d::Backward&) = 0;
  virtual void forward(const Dense&, const Dense::Forward&) = 0;
  virtual void backward(const Dense&, const Dense::Backward&) = 0;
  virtual void forward(const Relu&, const Relu::Forward&) = 0;
  virtual void backward(const Relu&, const Relu::Backward&) = 0;
  virtual void forward(const MaxPool&, const MaxPool::Forward&) = 0;
  virtual void backward(const MaxPool&, const MaxPool::Backward&) = 0;
  virtual void forward(const AveragePool&, const AveragePool::Forward&) = 0;
  virtual void backward(const AveragePool&, const AveragePool::Backward&) = 0;
  virtual void forward(const GlobalAveragePool&, const GlobalAveragePool::Forward&) = 0;
  virtual void backward(const GlobalAveragePool&, const GlobalAveragePool::Backward&) = 0;
  virtual void forward(const Add&, const Add::Forward&) = 0;
  virtual void backward(const Add&, const Add::Backward&) = 0;
  virtual void forward(const Concat&, const Concat::Forward&) = 0;
  virtual void backward(const Concat&, const Concat::Backward&) = 0;
  virtual void forward(const BatchNorm&, const BatchNorm::Forward&) = 0;
  virtual void infer(const BatchNorm&, const BatchNorm::Inference&) = 0;
  virtual void backward(const BatchNorm&, const BatchNorm::Backward&) = 0;
  virtual void centre(const BatchNorm::Centring&) = 0;
  virtual void forward(const LocalResponseNorm&, const LocalResponseNorm::Forward&) = 0;
  virtual void backward(const LocalResponseNorm&, const LocalResponseNorm::Backward&) = 0;
  virtual void apply(const Dropout&, const Dropout::Apply&) = 0;
  virtual void forward(const SoftmaxCrossEntropy&, const SoftmaxCrossEntropy::Forward&) = 0;
  virtual void backward(const SoftmaxCrossEntropy&, const SoftmaxCrossEntropy::Backward&) = 0;

  virtual void update(const Blend&, const Blend::Update&) = 0;
  virtual void update(const Sgd&, const Sgd::Update&) = 0;
  virtual void update(const Adam&, const Adam::Update&) = 0;
};

}  // namespace brigade::ops
