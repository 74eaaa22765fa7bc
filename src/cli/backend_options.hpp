// --backend, --threads, --pin-threads and --precision, shared by the commands that compute.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "brigade/communication/communicator.hpp"
#include "brigade/host/backend.hpp"
#include "brigade/network/precision.hpp"
#include "brigade/ops/backend.hpp"
#include "options.hpp"

namespace brigade::cli {

enum class BackendKind : std::uint8_t { host, cuda };

struct BackendOptions {
  BackendKind kind = BackendKind::host;
  int threads = 0;
  bool pin = true;

  void declare(Options& options);
};

// --precision.
void declare_precision(Options& options, network::Precision& precision);

// The threads of a rank, and the processor of each; none: they run where the system likes.
struct ThreadPlacement {
  int threads = 1;
  std::vector<int> processors = {};
};
// Of one of `sharing` ranks that may run on the same processors, `before` of them of a lower rank. threads 0: an equal
// share of the processors. Processors are given only if every one of these ranks gets as many as it has threads.
ThreadPlacement place_threads(std::span<const int> allowed, std::size_t sharing, std::size_t before, int threads,
                              bool pin);
// Of this rank; collective. Ranks that were bound to processors of their own use all of these; ranks that share a set
// divide it, in order.
ThreadPlacement place_this_rank(int threads, bool pin, communication::Communicator& communicator);

// A backend and the runtime it lives in.
class LiveBackend {
 public:
  // `communicator` lives longer; until then its sums have the threads of the kernels.
  LiveBackend(const BackendOptions& options, communication::Communicator& communicator);
  ~LiveBackend();
  LiveBackend(const LiveBackend&) = delete;
  LiveBackend& operator=(const LiveBackend&) = delete;
  ops::Backend& operator*() const { return *backend_; }
  ops::Backend* operator->() const { return backend_.get(); }
  const ThreadPlacement& placement() const { return placement_; }  // of the host backend

 private:
  communication::Communicator& communicator_;
  ThreadPlacement placement_;
  std::optional<host::Runtime> runtime_;
  std::unique_ptr<ops::Backend> backend_;
};

}  // namespace brigade::cli
