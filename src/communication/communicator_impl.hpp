// What stands behind a Communicator of more than one rank.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "brigade/communication/communicator.hpp"
#include "brigade/core/memory.hpp"
#include "brigade/core/threads.hpp"
#include "in_place_slices.hpp"
#include "in_place_sums.hpp"
#include "node_memory.hpp"
#include "node_window.hpp"
#include "presence.hpp"

namespace brigade::communication {

class ForeignCalls;

/// Buffers that sums borrow for received segments and give back, so that a training step allocates none.
class SegmentPool {
 public:
  /// At least `bytes` bytes; their content is undefined.
  Buffer take(std::size_t bytes);
  void give_back(Buffer buffer) { free_.push_back(std::move(buffer)); }

 private:
  std::vector<Buffer> free_;
};

/// What a wait begins with; in the end it sleeps for moments (watch.hpp).
enum class Idling : std::uint8_t {
  spin,   ///< looks for messages without a pause
  yield,  ///< more ranks than processors on this node: those that have work go first
  sleep,  ///< less processor time than this node's ranks could use
};

/// What a world() and the communicators split off from it have in common.
struct World {
  MPI_Comm comm = MPI_COMM_NULL;  ///< of all its ranks: here the roll is called. It belongs to the world()'s Impl.
  double hang_timeout_s = 300;
  Idling idling = Idling::spin;
  Threads* threads = &calling_thread();  ///< that add and copy long arrays
  std::vector<std::string> hosts;        ///< of each rank
  std::unique_ptr<Presence> presence;    ///< of this node's ranks; null alone on a node

  /// "rank 3 on host b"
  std::string name(int rank) const;
};

struct Communicator::Impl {
  /// Of all `ranks`, on a communicator of its own. The first of a world is that of all its ranks.
  Impl(MPI_Comm ranks, std::shared_ptr<World> of);
  /// Finds out who shares memory, and prepares for sums through it. Collective, waits without a watch.
  void share_nodes(int max_node_size);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  MPI_Comm comm = MPI_COMM_NULL;
  int rank = 0, size = 1;
  int node_rank = 0, node_size = 1;
  std::shared_ptr<World> world;
  std::vector<int> world_ranks;  ///< what each rank is called in the world, and so in every message to the user
  int nodes = 1;                 ///< 0: they have different numbers of ranks, or one has no memory to share
  /// Of the binary tree over all ranks: node k has ranks k L ... k L + L - 1 for an L = 2, 4, 8 ...
  bool nodes_are_branches = false;

  const std::string& host(int of) const { return world->hosts[static_cast<std::size_t>(world_rank(of))]; }
  int world_rank(int of) const { return world_ranks[static_cast<std::size_t>(of)]; }

  /// Tags keep the messages of sums in flight apart; equal on all ranks, as the order of sums is.
  int next_tag() { return tag_ = (tag_ + 1) % kSumTags; }

  SegmentPool segments;

  /// Memory whose arrays are summed where they are: `sums` with all ranks on one node, `slices` with several nodes.
  struct InPlace {
    explicit InPlace(Communicator::Impl& node) : memory(node) {}
    NodeMemory memory;
    std::unique_ptr<InPlaceSums> sums;
    std::unique_ptr<InPlaceSlices> slices;
  };
  std::unique_ptr<InPlace> in_place;

  std::function<void(const std::string&)> last_words;  ///< may be empty
  std::unique_ptr<ForeignCalls> foreign_calls;         ///< from the first watched call on

  /// With node_size > 1 and equal nodes only; the others with nodes > 1 only.
  NodeWindow& scatter_window() { return *scatter_window_; }
  NodeWindow& gather_window() { return *gather_window_; }
  /// The ranks with my node_rank, one of each node.
  Impl& peers() { return *peers_; }
  /// The ranks of this node.
  Communicator& node() { return node_team_; }

  /// Ends requests of a sum: memory goes back to the pool, or, if the sum was given up, stays with MPI.
  void close(std::span<MPI_Request> receives, std::span<MPI_Request> sends, Buffer staging);

  /// Requests that somebody gave up waiting for. MPI may still touch `buffer`, so it lives on.
  void abandon(std::vector<MPI_Request> requests, Buffer buffer = {});

  /// Communicators that could not be freed, because requests on them never completed.
  static int left_behind;

  // Tags: MPI promises at least 0 ... 32767.
  static constexpr int kSumTags = 32000;
  static constexpr int kRollCallTag = 32001, kRollAnswerTag = 32002, kProbeTag = 32003;
  static constexpr int kPushTag = 32004, kPullTag = 32005;

 private:
  struct Abandoned {
    std::vector<MPI_Request> requests;
    Buffer buffer;
  };
  bool all_abandoned_completed();
  void prepare_in_place();
  bool is_branch() const;  ///< this node, see nodes_are_branches

  MPI_Comm node_ = MPI_COMM_NULL;
  std::unique_ptr<NodeWindow> scatter_window_, gather_window_;
  std::unique_ptr<Impl> peers_;
  Communicator node_team_;
  int tag_ = 0;
  std::deque<Abandoned> abandoned_;
};

}  // namespace brigade::communication
