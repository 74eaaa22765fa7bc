#include "brigade/communication/allreduce.hpp"

#include <mpi.h>

#include <algorithm>
#include <vector>

#include "allreduce_state.hpp"
#include "check_mpi.hpp"
#include "communicator_impl.hpp"
#include "pieces.hpp"
#include "watch.hpp"

namespace brigade::communication {
namespace {

// MPI's own algorithm, whichever it picks; `bytes` are counted as sent, for MPI does not tell.
class MpiSum final : public Allreduce::State {
 public:
  MpiSum(Communicator::Impl& communicator, std::span<float> data, std::size_t bytes)
      : State(communicator), bytes_(bytes) {
    in_pieces(data, [&](float* piece, int count) {
      MPI_Request& request = requests_.emplace_back(MPI_REQUEST_NULL);
      check_mpi(MPI_Iallreduce(MPI_IN_PLACE, piece, count, MPI_FLOAT, MPI_SUM, impl.comm, &request), "MPI_Iallreduce");
    });
    done_ = requests_.empty();
  }
  ~MpiSum() override {
    if (!done_) impl.abandon(std::move(requests_));
  }

  bool advance() override {
    if (done_) return false;
    int all = 0;
    check_mpi(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &all, MPI_STATUSES_IGNORE),
              "MPI_Testall");
    done_ = all != 0;
    return done_;
  }
  bool done() const override { return done_; }
  std::size_t bytes_sent() const override { return bytes_; }

 private:
  std::vector<MPI_Request> requests_;
  const std::size_t bytes_;
  bool done_ = false;
};

std::unique_ptr<Allreduce::State> start(Communicator::Impl& impl, std::span<float> data,
                                        const AllreduceOptions& options) {
  const SumRoute route = route_of(impl, data.size_bytes(), options);
  if (!route.between) return start_node_sum(impl, data, options.segment_bytes);
  if (route.between == Algorithm::mpi)
    return std::make_unique<MpiSum>(impl, data, message_bytes(route, data.size_bytes()));
  const ByMessages messages{.start_sum = route.between == Algorithm::ring ? start_ring : start_halving_doubling,
                            .segment_bytes = options.segment_bytes,
                            .wire = route.wire};
  if (route.node_memory) return start_hierarchical(impl, data, messages);
  return messages.start(impl, data, impl.next_tag());
}

}  // namespace

Allreduce::Allreduce(Communicator& communicator, std::span<float> data, const AllreduceOptions& options) {
  Communicator::Impl* impl = communicator.impl();
  if (impl == nullptr) return;  // one rank: the sum is what is there
  state_ = start(*impl, data, options);
  state_->advance();
}

Allreduce::~Allreduce() = default;
Allreduce::Allreduce(Allreduce&&) noexcept = default;
Allreduce& Allreduce::operator=(Allreduce&&) noexcept = default;

bool Allreduce::advance() { return !done() && state_->advance(); }
bool Allreduce::done() const { return !state_ || state_->done(); }

void Allreduce::wait(std::string_view what) {
  if (done()) return;
  Watch watch(state_->impl, what);
  while (!done()) advance() ? watch.moved() : watch.idle();
}

std::size_t Allreduce::bytes_sent() const { return state_ ? state_->bytes_sent() : 0; }

void mpi_allreduce(Communicator& communicator, std::span<float> data) {
  if (communicator.impl() == nullptr) return;
  in_pieces(data, [&](float* piece, int count) {
    check_mpi(MPI_Allreduce(MPI_IN_PLACE, piece, count, MPI_FLOAT, MPI_SUM, communicator.impl()->comm),
              "MPI_Allreduce");
  });
}

void allreduce(Communicator& communicator, std::span<float> data, const AllreduceOptions& options) {
  Allreduce(communicator, data, options).wait("allreduce");
}

}  // namespace brigade::communication
