/// How far the ranks are from one another: links and clocks, measured by messages to and fro.
#pragma once

#include <cstddef>
#include <vector>

#include "brigade/communication/communicator.hpp"

namespace brigade::communication {

/// Between two neighbours of the ring.
struct Link {
  int from = 0, to = 0;    ///< ranks
  double latency_s = 0;    ///< half a round trip of one byte, the median of many
  double bytes_per_s = 0;  ///< each way, while both send; the best of a few messages
};

/// Rank r and r + 1 for every r, the last and the first, in this order; every rank gets the whole list. At any moment
/// a rank talks to one neighbour only. Empty for one rank; one link for two. Collective, watched.
std::vector<Link> probe_links(Communicator& communicator, std::size_t message_bytes = 4U << 20);

/// What to add to this rank's now_s() to read rank 0's clock. Of a few round trips the shortest counts, and is taken
/// for equally long both ways, so the error is at most half of it (Cristian, "Probabilistic clock synchronization",
/// Distributed Computing 3, 1989). 0 on the node of rank 0, which has one clock. Collective, watched.
double clock_offset_s(Communicator& communicator);

}  // namespace brigade::communication
