/// Which processors this process and its threads run on.
#pragma once

#include <vector>

namespace brigade {

/// The processors (Linux's numbers, ascending) this process may run on, as its launcher bound it: read at the first
/// call, which has to come before a thread is pinned. Never empty: where the system does not tell, those it says it
/// has.
const std::vector<int>& allowed_processors();

/// Keeps the calling thread on one processor. Failure (a processor taken away meanwhile) costs speed at most.
void pin_this_thread(int processor);

/// Lets the calling thread run on all allowed processors. A thread inherits the pinning of the one that starts it, so
/// threads that work beside the kernels' begin with this.
void unpin_this_thread();

}  // namespace brigade
