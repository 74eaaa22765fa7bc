// Messages between one worker and one server are received in the order in which they were sent:
//
//     worker:  envelope, piece P-1, ..., piece 0          server:  envelope, piece P-1, ..., piece 0
//
// so one tag each way is enough. A server asks for the pieces after the envelope has told it that there will be any.
#include "brigade/communication/parameter_server.hpp"

#include <mpi.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <vector>

#include "check_mpi.hpp"
#include "communicator_impl.hpp"
#include "pieces.hpp"
#include "watch.hpp"

namespace brigade::communication {
namespace {

constexpr int kPushTag = Communicator::Impl::kPushTag, kPullTag = Communicator::Impl::kPullTag;

struct Envelope {
  Note note{};
  std::int64_t done = 0;  // 1: this worker will push no more, nothing follows
};

using Range = brigade::Range<std::size_t>;

// A server's range in messages, the last first.
std::vector<Range> pieces_of(const ServedArray& served, int server) {
  const std::size_t piece = std::clamp<std::size_t>(served.piece_bytes / sizeof(float), 1, kMessageFloats);
  const Range all = served.range(server);
  std::vector<Range> pieces;
  for (std::size_t end = all.end; end > all.begin; end = pieces.back().begin)
    pieces.push_back({end - std::min(piece, end - all.begin), end});
  return pieces;
}

Communicator::Impl& checked(Communicator& ranks, const ServedArray& served) {
  require<OptionError>(
      served.servers >= 1 && served.servers < ranks.size(),
      "{} servers of {} ranks leave no worker or no server (at least one rank each). Start more ranks?", served.servers,
      ranks.size());
  require<OptionError>(served.floats >= static_cast<std::size_t>(served.servers),
                       "{} servers cannot share {} numbers. Use fewer?", served.servers, served.floats);
  return *ranks.impl();
}

// Messages of one direction and peer: started in order, complete when all are.
class Messages {
 public:
  explicit Messages(Communicator::Impl& impl) : impl_(impl) {}

  void send(const void* data, std::size_t bytes, int to, int tag) {
    requests_.push_back(MPI_REQUEST_NULL);
    check_mpi(MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, to, tag, impl_.comm, &requests_.back()), "MPI_Isend");
  }
  void receive(void* data, std::size_t bytes, int from, int tag) {
    requests_.push_back(MPI_REQUEST_NULL);
    check_mpi(MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, from, tag, impl_.comm, &requests_.back()),
              "MPI_Irecv");
  }
  // True if any was completed.
  bool advance() {
    if (!any()) return false;
    int completed = 0;
    completed_.resize(requests_.size());
    check_mpi(MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &completed, completed_.data(),
                           MPI_STATUSES_IGNORE),
              "MPI_Testsome");
    done_ += completed;
    if (done_ == std::ssize(requests_)) clear();
    return completed > 0;
  }
  bool any() const { return !requests_.empty(); }
  // Gives up those under way; the memory they use lives on in `buffer`.
  void abandon(Buffer buffer) {
    if (any()) impl_.abandon(std::move(requests_), std::move(buffer));
    clear();
  }

 private:
  void clear() { requests_.clear(), done_ = 0; }

  Communicator::Impl& impl_;
  std::vector<MPI_Request> requests_;
  std::ptrdiff_t done_ = 0;     // of them
  std::vector<int> completed_;  // of MPI_Testsome, which insists on telling which
};

}  // namespace

brigade::Range<std::size_t> ServedArray::range(int server) const {
  return even_part(floats, static_cast<std::size_t>(server), static_cast<std::size_t>(servers));
}

// ---- a worker ----

struct ServedByOthers::State {
  State(Communicator& ranks, const ServedArray& array)
      : impl(checked(ranks, array)),
        served(array),
        workers(impl.size - array.servers),
        envelopes(host_memory(), static_cast<std::size_t>(1 + array.servers) * sizeof(Envelope)),
        messages(impl) {
    EXPECT(impl.rank < workers);
    // From the end of the array to its front.
    for (int server = array.servers - 1; server >= 0; --server)
      for (const Range& piece : pieces_of(array, server)) pieces.push_back({workers + server, piece});
  }

  // To all servers: the first of the envelopes; what they answer comes behind it.
  void send_envelope(const Envelope& envelope) {
    std::memcpy(envelopes.data(), &envelope, sizeof envelope);
    for (int server = 0; server < served.servers; ++server)
      messages.send(envelopes.data(), sizeof envelope, workers + server, kPushTag);
  }
  void finish(std::string_view what) {
    Watch watch(impl, what);
    while (messages.any()) messages.advance() ? watch.moved() : watch.idle();
  }

  struct Piece {
    int server;  // rank
    Range range;
  };
  Communicator::Impl& impl;
  ServedArray served;
  int workers;
  std::vector<Piece> pieces;
  Buffer envelopes;
  Messages messages;
  bool pushing = false;    // the envelope is sent
  std::size_t pushed = 0;  // pieces
  std::size_t bytes_sent = 0;
};

ServedByOthers::ServedByOthers(Communicator& ranks, const ServedArray& served)
    : state_(std::make_unique<State>(ranks, served)) {}

ServedByOthers::~ServedByOthers() {
  if (!mpi_is_live()) return;
  State& s = *state_;
  try {
    // After a failure requests of an exchange may be open: their envelope is not to be written over.
    s.messages.abandon(std::move(s.envelopes));
    s.envelopes = Buffer(host_memory(), sizeof(Envelope));
    s.send_envelope({.note = {}, .done = 1});
    s.messages.abandon(std::move(s.envelopes));
  } catch (const std::exception&) {  // a broken network: the other ranks' watched waits end the job
  }
}

int ServedByOthers::workers() const { return state_->workers; }
std::size_t ServedByOthers::bytes_sent() const { return state_->bytes_sent; }

void ServedByOthers::push(const Note& note, std::span<const float> array, std::size_t offset) {
  State& s = *state_;
  EXPECT(array.size() == s.served.floats);
  if (!s.pushing) s.send_envelope({.note = note, .done = 0});
  s.pushing = true;
  for (; s.pushed < s.pieces.size() && s.pieces[s.pushed].range.begin >= offset; ++s.pushed) {
    const auto& [server, range] = s.pieces[s.pushed];
    s.messages.send(array.data() + range.begin, range.size() * sizeof(float), server, kPushTag);
    s.bytes_sent += range.size() * sizeof(float);
  }
}

Note ServedByOthers::pull(const Note& note, std::span<float> array, std::string_view what) {
  State& s = *state_;
  push(note, array, 0);
  s.finish(what);  // what answers replace must have left
  auto* answers = s.envelopes.as<Envelope>() + 1;
  for (int server = 0; server < s.served.servers; ++server)
    s.messages.receive(answers + server, sizeof(Envelope), s.workers + server, kPullTag);
  for (const auto& [server, range] : s.pieces)
    s.messages.receive(array.data() + range.begin, range.size() * sizeof(float), server, kPullTag);
  s.finish(what);
  s.pushing = false;
  s.pushed = 0;
  return answers->note;
}

// ---- a server ----

namespace {

// A worker's, which holds its push, then the answer to it.
struct Mailbox {
  enum class Stage : std::uint8_t { answered, listening, filling, full, closed };

  Mailbox(Communicator::Impl& impl, int from, std::size_t floats)
      : worker(from), memory(host_memory(), sizeof(Envelope) + floats * sizeof(float)), messages(impl) {}

  Envelope& envelope() const { return *memory.as<Envelope>(); }
  float* values() const { return reinterpret_cast<float*>(memory.as<Envelope>() + 1); }

  int worker;
  Buffer memory;  // [envelope | the range]
  Messages messages;
  Stage stage = Stage::answered;
};

}  // namespace

struct ParameterServer::State {
  State(Communicator& ranks, const ServedArray& array)
      : impl(checked(ranks, array)), workers(impl.size - array.servers), range(array.range(impl.rank - workers)) {
    EXPECT(impl.rank >= workers);
    pieces = pieces_of(array, impl.rank - workers);
    for (int worker = 0; worker < workers; ++worker) mailboxes.emplace_back(impl, worker, range.size());
  }

  // Moves a mailbox on as far as it goes without waiting; true if it moved.
  bool advance(Mailbox& box) {
    using enum Mailbox::Stage;
    if (box.stage == full || box.stage == closed) return false;
    const bool moved = box.messages.advance();
    if (box.messages.any()) return moved;
    if (box.stage == answered) {
      box.messages.receive(&box.envelope(), sizeof(Envelope), box.worker, kPushTag);
      box.stage = listening;
    } else if (box.stage == listening) {
      box.stage = box.envelope().done != 0 ? closed : filling;
      if (box.stage == filling)
        transfer(box, [&](void* data, std::size_t bytes) { box.messages.receive(data, bytes, box.worker, kPushTag); });
    } else {
      box.stage = full;
      ++unanswered;
      arrived.push_back(box.worker);
    }
    return true;
  }

  template <class Move>
  void transfer(const Mailbox& box, Move&& move) const {
    for (const Range& piece : pieces) move(box.values() + (piece.begin - range.begin), piece.size() * sizeof(float));
  }

  bool all(Mailbox::Stage stage) const {
    return std::all_of(mailboxes.begin(), mailboxes.end(), [&](const Mailbox& box) { return box.stage == stage; });
  }

  Communicator::Impl& impl;
  int workers;
  Range range;
  std::vector<Range> pieces;
  std::vector<Mailbox> mailboxes;
  std::deque<int> arrived;  // workers whose pushes next() has not yet returned
  int unanswered = 0;
};

ParameterServer::ParameterServer(Communicator& ranks, const ServedArray& served)
    : state_(std::make_unique<State>(ranks, served)) {}

ParameterServer::~ParameterServer() {
  if (!mpi_is_live()) return;
  for (Mailbox& box : state_->mailboxes) box.messages.abandon(std::move(box.memory));
}

int ParameterServer::workers() const { return state_->workers; }
brigade::Range<std::size_t> ParameterServer::range() const { return state_->range; }

std::optional<ParameterServer::Push> ParameterServer::next(std::string_view what) {
  State& s = *state_;
  Watch watch(s.impl, what);
  for (;;) {
    bool moved = false;
    for (Mailbox& box : s.mailboxes)
      while (s.advance(box)) moved = true;
    if (!s.arrived.empty()) break;
    if (s.all(Mailbox::Stage::closed)) return std::nullopt;
    const bool nobody_waits = s.unanswered == 0 && std::none_of(s.mailboxes.begin(), s.mailboxes.end(), [](auto& box) {
                                return box.stage == Mailbox::Stage::filling;
                              });
    if (moved)
      watch.moved();
    else
      watch.idle(nobody_waits ? Watch::Patience::endless : Watch::Patience::limited);
  }
  Mailbox& box = s.mailboxes[static_cast<std::size_t>(s.arrived.front())];
  s.arrived.pop_front();
  return Push{box.worker, box.envelope().note, {box.values(), s.range.size()}};
}

void ParameterServer::answer(int worker, const Note& note, std::span<const float> values) {
  State& s = *state_;
  Mailbox& box = s.mailboxes[static_cast<std::size_t>(worker)];
  EXPECT(box.stage == Mailbox::Stage::full && values.size() == s.range.size());
  box.envelope() = {.note = note, .done = 0};
  if (values.data() != box.values()) std::copy(values.begin(), values.end(), box.values());
  box.messages.send(&box.envelope(), sizeof(Envelope), worker, kPullTag);
  s.transfer(box, [&](const void* data, std::size_t bytes) { box.messages.send(data, bytes, worker, kPullTag); });
  box.stage = Mailbox::Stage::answered;
  --s.unanswered;
}

}  // namespace brigade::communication
