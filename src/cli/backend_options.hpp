// --backend and --threads, shared by the commands that compute.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "brigade/communication/communicator.hpp"
#include "brigade/host/backend.hpp"
#include "brigade/ops/backend.hpp"
#include "options.hpp"

namespace brigade::cli {

enum class BackendKind : std::uint8_t { host, cuda };

struct BackendOptions {
  BackendKind kind = BackendKind::host;
  int threads = 0;

  void declare(Options& options);
};

// A backend and the runtime it lives in.
class LiveBackend {
 public:
  LiveBackend(const BackendOptions& options, communication::Communicator& communicator);
  ops::Backend& operator*() const { return *backend_; }
  ops::Backend* operator->() const { return backend_.get(); }

 private:
  std::optional<host::Runtime> runtime_;
  std::unique_ptr<ops::Backend> backend_;
};

}  // namespace brigade::cli
