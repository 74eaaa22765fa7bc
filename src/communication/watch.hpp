// A watched wait: patient in small steps, and never endless.
//
//     Watch watch(impl, "broadcast of weights");
//     while (!finished()) watch.idle();
//
// idle() returns at once at first (the answer is usually microseconds away), then yields the core to
// another rank, then sleeps for moments, so that ranks that share a core do not starve each other. Where a control
// group limits the ranks' processor time (processor_limit.hpp), it does not yield but sleeps: spent on waiting, that
// time would be missing when the message comes. After hang_timeout_s without moved() it calls the roll and throws
// PeerError.
//
// Meanwhile it looks whether the other ranks of the node are alive (presence.hpp) and throws PeerError if one is not.
//
// The roll call: the rank that lost patience sends a line to those it waits for. Who is waiting too, wherever, answers
// with what it waits for, from within idle(); who does not answer is the one that is missing. Lines go through the
// world's communicator, whichever the waits belong to: there all listen, and all have one name.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "communicator_impl.hpp"

namespace brigade::communication {

class Watch {
 public:
  Watch(Communicator::Impl& impl, std::string_view what);
  enum class Patience : std::uint8_t { limited, endless };
  /// Call when nothing could be done. With endless patience it only answers roll calls: nobody is late.
  void idle(Patience patience = Patience::limited);
  /// Call when something was done: patience starts anew.
  void moved();

 private:
  void answer_roll_calls();
  void look_around() const;
  std::string call_the_roll();
  std::string account(const std::set<int>& missing, const std::map<int, std::string>& present) const;
  [[noreturn]] void give_up(double waited_s);

  Communicator::Impl& impl_;
  std::string_view what_;
  int spins_ = 0;
  double since_s_;         // the last movement
  double listened_s_ = 0;  // when roll calls were last looked for
};

/// Waits until `request` is complete; abandons it if that takes too long.
void wait(Communicator::Impl& impl, MPI_Request request, std::string_view what);

/// Waits until all ranks are here.
void meet(Communicator::Impl& impl, std::string_view what);

}  // namespace brigade::communication
