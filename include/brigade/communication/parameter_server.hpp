/// A flat array that lives on servers: workers push what they computed for it, and pull what the servers made of it.
///
///     ranks   0 ... W-1   workers                      worker w ── note, pieces of its array ──► every server
///             W ... W+K-1 servers, each with a range            ◄── note, the server's range ──
///
/// An exchange is a push and the pull that answers it. A worker pushes pieces of its array from the last to the first
/// while it still computes the others; a server has a mailbox for every worker, takes pushes as they come and answers
/// when it likes: at once, when all have come, or when others have caught up. Li et al., "Scaling Distributed Machine
/// Learning with the Parameter Server", OSDI 2014. Every wait is watched (communicator.hpp).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "brigade/communication/communicator.hpp"
#include "brigade/core/range.hpp"

namespace brigade::communication {

/// How the array lies on the servers. Equal on all ranks.
struct ServedArray {
  int servers = 1;                     ///< the last of the ranks; at least one rank is a worker
  std::size_t floats = 0;              ///< at least one a server
  std::size_t piece_bytes = 1U << 20;  ///< of a message

  /// Of server number `server` (from 0), see even_part().
  Range<std::size_t> range(int server) const;
};

/// What goes with a push or an answer; its meaning is up to those who talk.
using Note = std::array<std::int64_t, 4>;

/// A worker's end.
class ServedByOthers {
 public:
  ServedByOthers(Communicator& ranks, const ServedArray& served);
  /// Tells the servers that this worker is done with them; waits for nobody.
  ~ServedByOthers();
  ServedByOthers(const ServedByOthers&) = delete;
  ServedByOthers& operator=(const ServedByOthers&) = delete;

  int workers() const;
  /// Elements [offset, floats) of `array` are final and may leave. The first call of an exchange sends the note, too;
  /// offsets fall from call to call.
  void push(const Note& note, std::span<const float> array, std::size_t offset);
  /// Pushes what is left and waits for all servers' answers, which replace the array. Returns the first server's note.
  Note pull(const Note& note, std::span<float> array, std::string_view what);
  std::size_t bytes_sent() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// A server's end.
class ParameterServer {
 public:
  ParameterServer(Communicator& ranks, const ServedArray& served);
  ~ParameterServer();
  ParameterServer(const ParameterServer&) = delete;
  ParameterServer& operator=(const ParameterServer&) = delete;

  int workers() const;
  Range<std::size_t> range() const;

  struct Push {
    int worker = 0;
    Note note{};
    std::span<float> values;  ///< of this server's range; the mailbox, to be used freely until the answer
  };
  /// The next complete push; nothing when all workers are done. While workers wait for answers, the others must not be
  /// late; while nobody does, they may take all the time they want (for validation, say).
  std::optional<Push> next(std::string_view what);
  /// Answers this worker's push with `values` (of the range), which are copied.
  void answer(int worker, const Note& note, std::span<const float> values);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace brigade::communication
