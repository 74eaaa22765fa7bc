// The blocking collectives are MPI's nonblocking ones and a watched wait, see watch.hpp.
#include "brigade/communication/communicator.hpp"

#include <mpi.h>
#include <sched.h>

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
#include "pieces.hpp"
#include "watch.hpp"

namespace brigade::communication {
namespace {

void require_positive(double hang_timeout_s) {
  require<OptionError>(hang_timeout_s > 0, "a hang timeout of {} s is not positive", hang_timeout_s);
}

// The elements of every rank, equally many, in rank order.
template <class T>
std::vector<T> all_gather_elements(Communicator::Impl& impl, std::span<const T> mine, MPI_Datatype type,
                                   std::string_view what) {
  EXPECT(mine.size() <= INT_MAX);
  std::vector<T> all(mine.size() * static_cast<std::size_t>(impl.size));
  const int count = static_cast<int>(mine.size());
  MPI_Request request;
  check_mpi(MPI_Iallgather(mine.data(), count, type, all.data(), count, type, impl.comm, &request), "MPI_Iallgather");
  wait(impl, request, what);
  return all;
}

// What the ranks of `ranks` are called in `world`, of which they are a part.
std::vector<int> ranks_in(MPI_Comm world, MPI_Comm ranks) {
  MPI_Group all = MPI_GROUP_NULL, some = MPI_GROUP_NULL;
  check_mpi(MPI_Comm_group(world, &all), "MPI_Comm_group");
  check_mpi(MPI_Comm_group(ranks, &some), "MPI_Comm_group");
  int size = 0;
  check_mpi(MPI_Group_size(some, &size), "MPI_Group_size");
  std::vector<int> own(static_cast<std::size_t>(size)), theirs(own.size());
  std::iota(own.begin(), own.end(), 0);
  check_mpi(MPI_Group_translate_ranks(some, size, own.data(), all, theirs.data()), "MPI_Group_translate_ranks");
  check_mpi(MPI_Group_free(&all), "MPI_Group_free");
  check_mpi(MPI_Group_free(&some), "MPI_Group_free");
  return theirs;
}

// By the processors that the ranks of `node` may use together: bound ranks own some each, unbound ones all see the
// same.
Idling idling_of(MPI_Comm node, int node_size) {
  cpu_set_t processors;
  CPU_ZERO(&processors);
  for (const int processor : allowed_processors()) CPU_SET(static_cast<std::size_t>(processor), &processors);
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &processors, sizeof processors, MPI_BYTE, MPI_BOR, node), "MPI_Allreduce");
  if (processor_limit() < node_size) return Idling::sleep;
  return CPU_COUNT(&processors) < node_size ? Idling::yield : Idling::spin;
}

// By MPI's algorithm, left on every rank.
template <class T>
void combine(Communicator::Impl& impl, std::span<T> values, MPI_Datatype type, MPI_Op how, std::string_view what) {
  in_pieces(values, [&](T* piece, int count) {
    MPI_Request request;
    check_mpi(MPI_Iallreduce(MPI_IN_PLACE, piece, count, type, how, impl.comm, &request), "MPI_Iallreduce");
    wait(impl, request, what);
  });
}

std::int64_t least(Communicator::Impl& impl, std::int64_t value, std::string_view what) {
  combine(impl, std::span(&value, 1), MPI_INT64_T, MPI_MIN, what);
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

std::string World::name(int rank) const {
  return fmt::format("rank {} on host {}", rank, hosts[static_cast<std::size_t>(rank)]);
}

Communicator::Impl::Impl(MPI_Comm ranks, std::shared_ptr<World> of) : world(std::move(of)) {
  check_mpi(MPI_Comm_dup(ranks, &comm), "MPI_Comm_dup");
  check_mpi(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(comm, &size), "MPI_Comm_size");
  if (world->comm == MPI_COMM_NULL) world->comm = comm;
  world_ranks = ranks_in(world->comm, comm);
}

void Communicator::Impl::share_nodes(int max_node_size) {
  check_mpi(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node_), "MPI_Comm_split_type");
  check_mpi(MPI_Comm_rank(node_, &node_rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(node_, &node_size), "MPI_Comm_size");
  world->idling = idling_of(node_, node_size);
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
    world->presence = std::make_unique<Presence>(node_, rank);
    node_team_.impl_ = std::make_unique<Impl>(node_, world);
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
  peers_ = std::make_unique<Impl>(split, world);
  check_mpi(MPI_Comm_free(&split), "MPI_Comm_free");
}

// Each node for itself: what is summed in place and what through the windows goes well together.
void Communicator::Impl::prepare_in_place() {
  in_place = std::make_unique<InPlace>(*node_team_.impl_);
  if (nodes == 1)
    in_place->sums = std::make_unique<InPlaceSums>(node_, *world);
  else
    in_place->slices = std::make_unique<InPlaceSlices>(node_, *world);
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

Communicator Communicator::world(double hang_timeout_s, int max_node_size) {
  EXPECT(mpi_is_live());
  require_positive(hang_timeout_s);
  int size = 1;
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  Communicator world;
  if (size == 1) return world;
  auto shared = std::make_shared<World>();
  shared->hang_timeout_s = hang_timeout_s;
  shared->hosts.assign(static_cast<std::size_t>(size), "unknown");  // should the exchange of names need to complain
  world.impl_ = std::make_unique<Impl>(MPI_COMM_WORLD, shared);
  world.impl_->share_nodes(max_node_size);
  shared->hosts = world.all_gather(host_name(), "exchange of host names");
  return world;
}

Communicator Communicator::split(int part) const {
  EXPECT(part >= 0);
  Communicator ranks;
  if (!impl_) return ranks;
  meet(*impl_, "splitting the ranks into groups");  // watched; what follows is not
  MPI_Comm split = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(impl_->comm, part, impl_->rank, &split), "MPI_Comm_split");
  auto own = std::make_unique<Impl>(split, impl_->world);
  check_mpi(MPI_Comm_free(&split), "MPI_Comm_free");
  if (own->size > 1) ranks.impl_ = std::move(own);
  return ranks;
}

void Communicator::set_hang_timeout(double seconds) {
  require_positive(seconds);
  if (impl_) impl_->world->hang_timeout_s = seconds;
}

void Communicator::set_threads(Threads& threads) {
  if (impl_) impl_->world->threads = &threads;
}

void Communicator::set_last_words(std::function<void(const std::string& problem)> say) {
  if (impl_) impl_->last_words = std::move(say);
}

int Communicator::rank() const { return impl_ ? impl_->rank : 0; }
int Communicator::size() const { return impl_ ? impl_->size : 1; }
int Communicator::node_rank() const { return impl_ ? impl_->node_rank : 0; }
int Communicator::node_size() const { return impl_ ? impl_->node_size : 1; }
std::vector<std::string> Communicator::hosts() const {
  if (!impl_) return {host_name()};
  std::vector<std::string> hosts;
  for (int rank = 0; rank < impl_->size; ++rank) hosts.push_back(impl_->host(rank));
  return hosts;
}

Team& Communicator::node() { return impl_ ? static_cast<Team&>(impl_->node()) : alone(); }

std::unique_ptr<SharedBlock> Communicator::share(std::size_t size, std::string_view what) {
  if (!impl_) return Team::share(size, what);
  meet(*impl_, what);  // watched; what follows is not
  return share_block(impl_->comm, size);
}

MemoryResource& Communicator::array_memory() const {
  return impl_ && impl_->in_place ? impl_->in_place->memory : host_memory();
}

void Communicator::barrier(std::string_view what) {
  if (impl_) meet(*impl_, what);
}

std::int64_t Communicator::minimum(std::int64_t mine, std::string_view what) {
  return impl_ ? least(*impl_, mine, what) : mine;
}

void Communicator::broadcast(std::span<std::byte> bytes, int root, std::string_view what) {
  EXPECT(root >= 0 && root < size());
  if (!impl_) return;
  in_pieces(bytes, [&](std::byte* piece, int count) {
    MPI_Request request;
    check_mpi(MPI_Ibcast(piece, count, MPI_BYTE, root, impl_->comm, &request), "MPI_Ibcast");
    wait(*impl_, request, what);
  });
}

std::string Communicator::broadcast(std::string text, int root, std::string_view what) {
  std::uint64_t bytes = text.size();
  broadcast(std::as_writable_bytes(std::span(&bytes, 1)), root, what);
  text.resize(bytes);
  broadcast(std::as_writable_bytes(std::span(text)), root, what);
  return text;
}

void Communicator::sum(std::span<std::int64_t> values, std::string_view what) {
  if (impl_) combine(*impl_, values, MPI_INT64_T, MPI_SUM, what);
}

void Communicator::sum(std::span<double> values, std::string_view what) {
  if (!impl_) return;
  const std::vector<double> all = all_gather(std::span<const double>(values), what);
  for (std::size_t i = 0; i < values.size(); ++i) {
    double total = all[i];
    for (std::size_t at = i + values.size(); at < all.size(); at += values.size()) total += all[at];
    values[i] = total;
  }
}

void Communicator::maximum(std::span<double> values, std::string_view what) {
  if (impl_) combine(*impl_, values, MPI_DOUBLE, MPI_MAX, what);
}

std::vector<double> Communicator::all_gather(std::span<const double> mine, std::string_view what) {
  if (!impl_) return {mine.begin(), mine.end()};
  return all_gather_elements(*impl_, mine, MPI_DOUBLE, what);
}

std::vector<std::string> Communicator::all_gather(const std::string& mine, std::string_view what) {
  if (!impl_) return {mine};
  const std::int64_t my_bytes = std::ssize(mine);
  const auto bytes = all_gather_elements(*impl_, std::span(&my_bytes, 1), MPI_INT64_T, what);
  const std::int64_t total = std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0});
  require(total <= INT_MAX, "{} bytes of text are too many for '{}' (all ranks together may have 2^31 - 1)", total,
          what);

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
  if (impl_ && impl_->world->presence) impl_->world->presence->leave();
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
