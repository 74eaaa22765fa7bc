// Waits inside a library that speaks MPI itself (parallel HDF5), seen from a thread beside them.
//
// While MPI waits, no Watch (watch.hpp) comes to its turn, and MPI is not to be called from another thread. So this
// thread looks at the clock, at the other processes of the node (presence.hpp), and at a sign of life that the same
// thread of each of them gives in shared memory. It can throw nothing that would end MPI's wait, so it says itself what
// is wrong and ends the process with exit code 5; the launcher ends the job.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "communicator_impl.hpp"

namespace brigade::communication {

class ForeignCalls {
 public:
  explicit ForeignCalls(Communicator::Impl& impl);
  ~ForeignCalls();
  ForeignCalls(const ForeignCalls&) = delete;
  ForeignCalls& operator=(const ForeignCalls&) = delete;

  /// From now to leave() the calling thread is in `what`, for the hang timeout at most.
  void enter(std::string_view what);
  void leave();

 private:
  void run();
  void look_around(double now);
  std::string who_is_late() const;
  [[noreturn]] void end_process(const std::string& problem) const;

  Communicator::Impl& impl_;
  std::mutex mutex_;
  std::condition_variable ending_changed_;
  bool inside_ = false, ending_ = false;
  std::string what_;
  double since_s_ = 0, patience_s_ = 0;
  std::thread thread_;
};

}  // namespace brigade::communication
