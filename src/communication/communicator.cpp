// The blocking collectives are MPI's nonblocking ones and a watched wait, see watch.hpp.
#include "brigade/communication/communicator.hpp"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <bit>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <numeric>

#include "brigade/core/host_name.hpp"
#include "brigade/core/processor_limit.hpp"
#include "brigade/core/processors.hpp"
#include "check_mpi.hpp"
#include "communicator_impl.hpp"
#include "foreign_calls.hpp"
#include "watch.hpp"

namespace brigade::communication {
namespace {

constexpr std::size_t kPieceElements = 1U << 30;  // MPI counts with int: longer arrays go in pieces

void require_positive(double hang_timeout_s) {
  require<OptionError>(hang_timeout_s > 0, "a hang timeout of {} s is not positive", hang_timeout_s);
}

// The same `bytes` of every rank, in rank order.
template <class T>
std::vector<T> all_gather_elements(Communicator::Impl& impl, std::span<const T> mine, std::string_view what) {
  std::vector<T> all(mine.size() * static_cast<std::size_t>(impl.size));
  require<OptionError>(mine.size_bytes() <= INT_MAX, "{} bytes are too many for one all-gather ('{}')",
                       mine.size_bytes(), what);
  const int bytes = static_cast<int>(mine.size_bytes());
  MPI_Request request;
  check_mpi(MPI_Iallgather(mine.data(), bytes, MPI_BYTE, all.data(), bytes, MPI_BYTE, impl.comm, &request),
            "MPI_Iallgather");
  wait(impl, request, what);
  return all;
}

std::int64_t least(Communicator::Impl& impl, std::int64_t value, std::string_view what) {
  MPI_Request request;
  check_mpi(MPI_Iallreduce(MPI_IN_PLACE, &value, 1, MPI_INT64_T, MPI_MIN, impl.comm, &request), "MPI_Iallreduce");
  wait(impl, request, what);
  return value;
}

}  // namespace

// ---- Impl ----

int Communicator::Impl::left_behind = 0;

Buffer SegmentPool::take(std::size_t bytes) {
  const auto fits = std::find_if(free_.begin(), free_.end(), [&](const Buffer& b) { return b.bytes() >= bytes; });
  if (fits == free_.end()) return {host_memory(), bytes};
  Buffer buffer = std::move(*fits);
  free_.erase(fits);
  return buffer;
}

Communicator::Impl::Impl(MPI_Comm parent, double timeout_s) : hang_timeout_s(timeout_s) {
  check_mpi(MPI_Comm_dup(parent, &comm), "MPI_Comm_dup");
  check_mpi(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(comm, &size), "MPI_Comm_size");
}

void Communicator::Impl::share_nodes(int max_node_size) {
  check_mpi(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node_), "MPI_Comm_split_type");
  check_mpi(MPI_Comm_rank(node_, &node_rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(node_, &node_size), "MPI_Comm_size");
  const auto processors = static_cast<int>(allowed_processors().size());
  // A bound rank owns its cores; unbound ranks all see the node's.
  oversubscribed = node_size > 1 && processors < node_size && processors > 1;
  rationed = processor_limit() < node_size;
  if (max_node_size > 0) {
    MPI_Comm whole = node_;
    check_mpi(MPI_Comm_split(whole, node_rank / max_node_size, rank, &node_), "MPI_Comm_split");
    check_mpi(MPI_Comm_free(&whole), "MPI_Comm_free");
    check_mpi(MPI_Comm_rank(node_, &node_rank), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(node_, &node_size), "MPI_Comm_size");
  }
  std::array<int, 3> extremes{node_size, -node_size, is_branch() ? 0 : 1};
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, extremes.data(), 3, MPI_INT, MPI_MAX, comm), "MPI_Allreduce");
  nodes_are_branches = extremes[2] == 0;
  nodes = extremes[0] == -extremes[1] ? size / node_size : 0;
  if (node_size > 1) {
    presence = std::make_shared<Presence>(node_, rank);
    node_team_.impl_ = std::make_unique<Impl>(node_, hang_timeout_s);
    node_team_.impl_->presence = presence;
  }
  if (nodes == 0 || node_size == 1) return;
  scatter_window_ = std::make_unique<NodeWindow>(node_);
  gather_window_ = std::make_unique<NodeWindow>(node_);
  int usable = *scatter_window_ && *gather_window_ ? 1 : 0;
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &usable, 1, MPI_INT, MPI_LAND, comm), "MPI_Allreduce");
  if (usable == 0) nodes = 0;  // by messages, then
  if (nodes > 0) prepare_in_place();
  if (nodes <= 1) return;
  MPI_Comm split = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(comm, node_rank, rank, &split), "MPI_Comm_split");
  peers_ = std::make_unique<Impl>(split, hang_timeout_s);
  peers_->presence = presence;
  check_mpi(MPI_Comm_free(&split), "MPI_Comm_free");
}

// Each node for itself: what is summed in place and what through the windows goes well together.
void Communicator::Impl::prepare_in_place() {
  in_place = std::make_unique<InPlace>(node_);
  if (nodes == 1)
    in_place->sums = std::make_unique<InPlaceSums>(node_);
  else
    in_place->slices = std::make_unique<InPlaceSlices>(node_);
  if (nodes == 1 ? !*in_place->sums : !*in_place->slices) in_place.reset();
}

bool Communicator::Impl::is_branch() const {
  int first = rank;
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, node_), "MPI_Allreduce");
  return std::has_single_bit(static_cast<unsigned>(node_size)) && first % node_size == 0 && rank == first + node_rank;
}

Communicator::Impl::~Impl() {
  foreign_calls.reset();
  if (!mpi_is_live()) return;
  if (std::uncaught_exceptions() == 0 && all_abandoned_completed()) {
    in_place.reset();
    scatter_window_.reset();
    gather_window_.reset();
    if (node_ != MPI_COMM_NULL) MPI_Comm_free(&node_);
    MPI_Comm_free(&comm);
    return;
  }
  ++left_behind;
  // Leaked: MPI may write to it any time. NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): the job ends anyway.
  for (Abandoned& one : abandoned_) new Buffer(std::move(one.buffer));
}

void Communicator::Impl::abandon(std::vector<MPI_Request> requests, Buffer buffer) {
  abandoned_.push_back({std::move(requests), std::move(buffer)});
}

void Communicator::Impl::close(std::span<MPI_Request> receives, std::span<MPI_Request> sends, Buffer staging) {
  std::vector<MPI_Request> open;
  for (MPI_Request& request : receives)
    if (request != MPI_REQUEST_NULL) {
      MPI_Cancel(&request);
      open.push_back(request);
    }
  std::ranges::copy_if(sends, std::back_inserter(open),
                       [](MPI_Request request) { return request != MPI_REQUEST_NULL; });
  if (!open.empty())
    abandon(std::move(open), std::move(staging));
  else if (staging.data() != nullptr)
    segments.give_back(std::move(staging));
}

bool Communicator::Impl::all_abandoned_completed() {
  return std::all_of(abandoned_.begin(), abandoned_.end(), [](Abandoned& one) {
    int done = 0;
    return MPI_Testall(static_cast<int>(one.requests.size()), one.requests.data(), &done, MPI_STATUSES_IGNORE) ==
               MPI_SUCCESS &&
           done != 0;
  });
}

// ---- Communicator ----

Communicator::Communicator() = default;
Communicator::~Communicator() = default;
Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&&) noexcept = default;

void Communicator::Impl::set_hang_timeout(double seconds) {
  hang_timeout_s = seconds;
  if (peers_) peers_->hang_timeout_s = seconds;
  if (node_team_.impl_) node_team_.impl_->hang_timeout_s = seconds;
}

Communicator Communicator::world(double hang_timeout_s, int max_node_size) {
  EXPECT(mpi_is_live());
  require_positive(hang_timeout_s);
  int size = 1;
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  Communicator world;
  if (size == 1) return world;
  world.impl_ = std::make_unique<Impl>(MPI_COMM_WORLD, hang_timeout_s);
  world.impl_->share_nodes(max_node_size);
  world.impl_->hosts.assign(static_cast<std::size_t>(size), "unknown");  // should the next line need to complain
  world.impl_->hosts = world.all_gather(host_name(), "exchange of host names");
  if (Impl* node = world.impl_->node().impl()) {
    node->hosts.assign(static_cast<std::size_t>(node->size), host_name());
    node->oversubscribed = world.impl_->oversubscribed;
    node->rationed = world.impl_->rationed;
  }
  return world;
}

Communicator Communicator::split(int part) const {
  EXPECT(part >= 0);
  Communicator ranks;
  if (!impl_) return ranks;
  MPI_Comm split = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(impl_->comm, part, impl_->rank, &split), "MPI_Comm_split");
  auto own = std::make_unique<Impl>(split, impl_->hang_timeout_s);
  check_mpi(MPI_Comm_free(&split), "MPI_Comm_free");
  if (own->size == 1) return ranks;
  ranks.impl_ = std::move(own);
  ranks.impl_->oversubscribed = impl_->oversubscribed;
  ranks.impl_->rationed = impl_->rationed;
  ranks.impl_->presence = impl_->presence;
  ranks.impl_->hosts.assign(static_cast<std::size_t>(ranks.impl_->size), "unknown");
  ranks.impl_->hosts = ranks.all_gather(host_name(), "exchange of host names");
  return ranks;
}

void Communicator::set_hang_timeout(double seconds) {
  require_positive(seconds);
  if (impl_) impl_->set_hang_timeout(seconds);
}

void Communicator::set_last_words(std::function<void(const std::string& problem)> say) {
  if (impl_) impl_->last_words = std::move(say);
}

int Communicator::rank() const { return impl_ ? impl_->rank : 0; }
int Communicator::size() const { return impl_ ? impl_->size : 1; }
int Communicator::node_rank() const { return impl_ ? impl_->node_rank : 0; }
int Communicator::node_size() const { return impl_ ? impl_->node_size : 1; }
std::vector<std::string> Communicator::hosts() const {
  return impl_ ? impl_->hosts : std::vector<std::string>{host_name()};
}

Team& Communicator::node() { return impl_ ? static_cast<Team&>(impl_->node()) : alone(); }

std::unique_ptr<SharedBlock> Communicator::share(std::size_t size, std::string_view what) {
  if (!impl_) return Team::share(size, what);
  barrier(what);  // watched; what follows is not
  return share_block(impl_->comm, size);
}

MemoryResource& Communicator::array_memory() const {
  return impl_ && impl_->in_place ? impl_->in_place->memory : host_memory();
}

void Communicator::barrier(std::string_view what) {
  if (!impl_) return;
  MPI_Request request;
  check_mpi(MPI_Ibarrier(impl_->comm, &request), "MPI_Ibarrier");
  wait(*impl_, request, what);
}

std::int64_t Communicator::minimum(std::int64_t mine, std::string_view what) {
  return impl_ ? least(*impl_, mine, what) : mine;
}

void Communicator::broadcast(std::span<std::byte> bytes, int root, std::string_view what) {
  EXPECT(root >= 0 && root < size());
  if (!impl_) return;
  for (std::size_t begin = 0; begin < bytes.size(); begin += kPieceElements) {
    const auto piece = bytes.subspan(begin, std::min(kPieceElements, bytes.size() - begin));
    MPI_Request request;
    check_mpi(MPI_Ibcast(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, root, impl_->comm, &request),
              "MPI_Ibcast");
    wait(*impl_, request, what);
  }
}

std::string Communicator::broadcast(std::string text, int root, std::string_view what) {
  std::uint64_t bytes = text.size();
  broadcast(std::as_writable_bytes(std::span(&bytes, 1)), root, what);
  text.resize(bytes);
  broadcast(std::as_writable_bytes(std::span(text)), root, what);
  return text;
}

void Communicator::sum(std::span<std::int64_t> values, std::string_view what) {
  if (!impl_) return;
  for (std::size_t begin = 0; begin < values.size(); begin += kPieceElements) {
    const auto piece = values.subspan(begin, std::min(kPieceElements, values.size() - begin));
    MPI_Request request;
    check_mpi(MPI_Iallreduce(MPI_IN_PLACE, piece.data(), static_cast<int>(piece.size()), MPI_INT64_T, MPI_SUM,
                             impl_->comm, &request),
              "MPI_Iallreduce");
    wait(*impl_, request, what);
  }
}

void Communicator::sum(std::span<double> values, std::string_view what) {
  if (!impl_) return;
  const auto all = all_gather_elements<double>(*impl_, values, what);
  for (std::size_t i = 0; i < values.size(); ++i) {
    double total = all[i];
    for (std::size_t at = i + values.size(); at < all.size(); at += values.size()) total += all[at];
    values[i] = total;
  }
}

std::vector<std::string> Communicator::all_gather(const std::string& mine, std::string_view what) {
  if (!impl_) return {mine};
  const std::int64_t my_bytes = std::ssize(mine);
  const auto bytes = all_gather_elements<std::int64_t>(*impl_, std::span(&my_bytes, 1), what);
  const std::int64_t total = std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0});
  require<OptionError>(total <= INT_MAX, "{} bytes are too many for one all-gather ('{}')", total, what);

  const std::vector<int> counts(bytes.begin(), bytes.end());
  std::vector<int> offsets(counts.size());
  std::exclusive_scan(counts.begin(), counts.end(), offsets.begin(), 0);
  std::string joined(static_cast<std::size_t>(total), '\0');
  MPI_Request request;
  check_mpi(MPI_Iallgatherv(mine.data(), static_cast<int>(my_bytes), MPI_CHAR, joined.data(), counts.data(),
                            offsets.data(), MPI_CHAR, impl_->comm, &request),
            "MPI_Iallgatherv");
  wait(*impl_, request, what);

  std::vector<std::string> texts;
  for (std::size_t rank = 0; rank < counts.size(); ++rank)
    texts.push_back(joined.substr(static_cast<std::size_t>(offsets[rank]), static_cast<std::size_t>(counts[rank])));
  return texts;
}

void Communicator::abort(ExitCode code) {
  std::fflush(nullptr);
  if (impl_ && impl_->presence) impl_->presence->leave();
  const int status = static_cast<int>(code);
  if (mpi_is_live()) {
    int ranks = 1;
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (ranks > 1) MPI_Abort(MPI_COMM_WORLD, status);
    MPI_Finalize();  // alone: nobody to wait for, and the launcher sees an orderly end
  }
  std::_Exit(status);
}

// One small collective when nobody failed, the lowest failed rank; its code and text only then.
void Communicator::agree(std::string_view what, ExitCode code, const std::string& message) {
  const bool failed = code != ExitCode::done;
  if (!impl_) return Team::agree(what, code, message);
  const std::int64_t first = least(*impl_, failed ? impl_->rank : impl_->size, what);
  if (first == impl_->size) return;
  const int root = static_cast<int>(first);
  std::int64_t agreed = static_cast<std::int64_t>(code);
  broadcast(std::as_writable_bytes(std::span(&agreed, 1)), root, what);
  throw_on_all_ranks(static_cast<ExitCode>(agreed), broadcast(message, root, what));
}

}  // namespace brigade::communication
