#include "timing_backend.hpp"

#include "brigade/core/clock.hpp"

namespace brigade::benchmarks {

using namespace ops;  // one line an operation

template <class Call>
void TimingBackend::timed(std::string_view kind, const Call& call) {
  inner_.synchronize();
  const double start = now_s();
  call();
  inner_.synchronize();
  times_[kind][static_cast<std::size_t>(phase_)] += now_s() - start;
}

void TimingBackend::reset() {
  for (auto& [kind, seconds] : times_) seconds.fill(0);
}

void TimingBackend::upload(const void* host, void* backend, std::size_t bytes) {
  timed("copy", [&] { inner_.upload(host, backend, bytes); });
}
void TimingBackend::download(const void* backend, void* host, std::size_t bytes) {
  timed("copy", [&] { inner_.download(backend, host, bytes); });
}

// clang-format off
void TimingBackend::forward(const Conv2d& op, const Conv2d::Forward& t) { timed("conv2d", [&] { inner_.forward(op, t); }); }
void TimingBackend::backward(const Conv2d& op, const Conv2d::Backward& t) { timed("conv2d", [&] { inner_.backward(op, t); }); }
void TimingBackend::forward(const DepthwiseConv2d& op, const DepthwiseConv2d::Forward& t) { timed("depthwise_conv2d", [&] { inner_.forward(op, t); }); }
void TimingBackend::backward(const DepthwiseConv2d& op, const DepthwiseConv2d::Backward& t) { timed("depthwise_conv2d", [&] { inner_.backward(op, t); }); }
void TimingBackend::forward(const Dense& op, const Dense::Forward& t) { timed("dense", [&] { inner_.forward(op, t); }); }
void TimingBackend::backward(const Dense& op, const Dense::Backward& t) { timed("dense", [&] { inner_.backward(op, t); }); }
void TimingBackend::forward(const Relu& op, const Relu::Forward& t) { timed("relu", [&] { inner_.forward(op, t); }); }
void TimingBackend::backward(const Relu& op, const Relu::Backward& t) { timed("relu", [&] { inner_.backward(op, t); }); }
void TimingBackend::forward(const MaxPool& op, const MaxPool::Forward& t) { timed("max_pool", [&] { inner_.forward(op, t); }); }
void TimingBackend::backward(const MaxPool& op, const MaxPool::Backward& t) { timed("max_pool", [&] { inner_.backward(op, t); }); }
void TimingBackend::forward(const AveragePool& op, const AveragePool::Forward& t) { timed("average_pool", [&] { inner_.forward(op, t); }); }
void TimingBackend::backward(const AveragePool& op, const AveragePool::Backward& t) { timed("average_pool", [&] { inner_.backward(op, t); }); }
void TimingBackend::forward(const GlobalAveragePool& op, const GlobalAveragePool::Forward& t) { timed("global_average_pool", [&] { inner_.forward(op, t); }); }
void TimingBackend::backward(const GlobalAveragePool& op, const GlobalAveragePool::Backward& t) { timed("global_average_pool", [&] { inner_.backward(op, t); }); }
void TimingBackend::forward(const Add& op, const Add::Forward& t) { timed("add", [&] { inner_.forward(op, t); }); }
void TimingBackend::backward(const Add& op, const Add::Backward& t) { timed("add", [&] { inner_.backward(op, t); }); }
void TimingBackend::forward(const Concat& op, const Concat::Forward& t) { timed("concat", [&] { inner_.forward(op, t); }); }
void TimingBackend::backward(const Concat& op, const Concat::Backward& t) { timed("concat", [&] { inner_.backward(op, t); }); }
void TimingBackend::forward(const BatchNorm& op, const BatchNorm::Forward& t) { timed("batch_norm", [&] { inner_.forward(op, t); }); }
void TimingBackend::infer(const BatchNorm& op, const BatchNorm::Inference& t) { timed("batch_norm", [&] { inner_.infer(op, t); }); }
void TimingBackend::backward(const BatchNorm& op, const BatchNorm::Backward& t) { timed("batch_norm", [&] { inner_.backward(op, t); }); }
void TimingBackend::centre(const BatchNorm::Centring& t) { timed("batch_norm", [&] { inner_.centre(t); }); }
void TimingBackend::forward(const LocalResponseNorm& op, const LocalResponseNorm::Forward& t) { timed("local_response_norm", [&] { inner_.forward(op, t); }); }
void TimingBackend::backward(const LocalResponseNorm& op, const LocalResponseNorm::Backward& t) { timed("local_response_norm", [&] { inner_.backward(op, t); }); }
void TimingBackend::apply(const Dropout& op, const Dropout::Apply& t) { timed("dropout", [&] { inner_.apply(op, t); }); }
void TimingBackend::forward(const SoftmaxCrossEntropy& op, const SoftmaxCrossEntropy::Forward& t) { timed("softmax_cross_entropy", [&] { inner_.forward(op, t); }); }
void TimingBackend::backward(const SoftmaxCrossEntropy& op, const SoftmaxCrossEntropy::Backward& t) { timed("softmax_cross_entropy", [&] { inner_.backward(op, t); }); }
void TimingBackend::update(const Blend& op, const Blend::Update& t) { timed("blend", [&] { inner_.update(op, t); }); }
void TimingBackend::update(const Sgd& op, const Sgd::Update& t) { timed("sgd", [&] { inner_.update(op, t); }); }
void TimingBackend::update(const Adam& op, const Adam::Update& t) { timed("adam", [&] { inner_.update(op, t); }); }
// clang-format on

}  // namespace brigade::benchmarks
