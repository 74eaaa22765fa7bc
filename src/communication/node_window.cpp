#include "node_window.hpp"

#include <algorithm>
#include <cstring>

#include "tree_sum.hpp"

namespace brigade::communication {
namespace {

constexpr std::size_t kLine = 64;  // bytes; what two ranks write never shares one
constexpr std::size_t kLineFloats = kLine / sizeof(float);

}  // namespace

NodeWindow::NodeWindow(MPI_Comm node)
    : memory_(node, sizeof(Counters) + kSlots * kSlotFloats * sizeof(float)),
      rank_(memory_.rank()),
      size_(memory_.ranks()),
      terms_(static_cast<std::size_t>(size_)) {}

float* NodeWindow::slot(int rank, std::uint64_t segment) const {
  return reinterpret_cast<float*>(memory_.part(rank) + sizeof(Counters)) + segment % kSlots * kSlotFloats;
}

Range<std::size_t> NodeWindow::chunk(std::size_t floats, int rank) const {
  const auto begin = [&](int r) {
    if (r == size_) return floats;
    return floats * static_cast<std::size_t>(r) / static_cast<std::size_t>(size_) / kLineFloats * kLineFloats;
  };
  return {begin(rank), begin(rank + 1)};
}

std::uint64_t NodeWindow::start(NodePattern pattern, std::span<float> data, std::size_t segment_bytes, bool held) {
  if (data.empty() || broken_) return taken_;
  const auto ranks = static_cast<std::size_t>(size_);
  Job job{.pattern = pattern, .data = data, .piece = 0, .first = started_, .end = 0, .held = held};
  const std::size_t segment = std::clamp<std::size_t>(segment_bytes / sizeof(float), 1, kSlotFloats);
  std::size_t longest = data.size();
  job.piece = segment;
  if (pattern != NodePattern::sum) {
    job.piece = std::max<std::size_t>(1, segment / ranks);
    longest = 0;
    for (int rank = 0; rank < size_; ++rank) longest = std::max(longest, chunk(data.size(), rank).size());
  }
  started_ += (longest + job.piece - 1) / job.piece;
  job.end = started_;
  jobs_.push_back(job);
  return started_;
}

void NodeWindow::release(std::uint64_t ticket) {
  for (Job& job : jobs_)
    if (job.end == ticket) job.held = false;
}

const NodeWindow::Job& NodeWindow::job(std::uint64_t segment) const {
  return *std::find_if(jobs_.begin(), jobs_.end(), [&](const Job& j) { return segment < j.end; });
}

bool NodeWindow::direct(const Job& job, std::uint64_t segment) const {
  return job.pattern == NodePattern::sum && (size_ == 2 || piece(job, segment, size_).range.size() <= kDirectFloats);
}

// The part of a segment that rank `of` owns; all of it for the sum of a segment and of == size_.
NodeWindow::Piece NodeWindow::piece(const Job& job, std::uint64_t segment, int of) const {
  const std::size_t skipped = static_cast<std::size_t>(segment - job.first) * job.piece;
  if (job.pattern == NodePattern::sum) {
    const std::size_t floats = std::min(job.piece, job.data.size() - skipped);
    const Range<std::size_t> slice = of == size_ ? Range<std::size_t>{0, floats} : chunk(floats, of);
    return {{skipped + slice.begin, skipped + slice.end}, slice.begin};
  }
  const Range<std::size_t> own = chunk(job.data.size(), of);
  const std::size_t begin = std::min(own.begin + skipped, own.end), end = std::min(begin + job.piece, own.end);
  return {{begin, end}, static_cast<std::size_t>(of) * job.piece};
}

bool NodeWindow::advance() {
  bool moved = false;
  while (!jobs_.empty() && (copy_in() | reduce() | take_out())) moved = true;  // not ||: try all
  return moved;
}

bool NodeWindow::copy_in() {
  if (copied_ == started_) return false;
  const Job& j = job(copied_);
  if (j.held) return false;
  if (copied_ >= kSlots && !memory_.everyone(&Counters::taken, copied_ - kSlots + 1))
    return false;  // somebody still reads
  float* to = slot(rank_, copied_);
  const auto copy = [&](const Piece& p) {
    std::memcpy(to + p.in_slot, j.data.data() + p.range.begin, p.range.size() * sizeof(float));
  };
  if (j.pattern == NodePattern::sum)
    copy(piece(j, copied_, size_));
  else if (j.pattern == NodePattern::all_gather)
    copy(piece(j, copied_, rank_));
  else
    for (int rank = 0; rank < size_; ++rank) copy(piece(j, copied_, rank));
  own().copied.store(++copied_, std::memory_order_release);
  return true;
}

void NodeWindow::sum_piece(const Piece& p, std::uint64_t index, float* data) {
  for (int rank = 0; rank < size_; ++rank) terms_[static_cast<std::size_t>(rank)] = slot(rank, index);
  tree_sum(terms_, p.in_slot, p.range.size(), data + p.range.begin);
}

bool NodeWindow::reduce() {
  if (reduced_ == copied_ || !memory_.everyone(&Counters::copied, reduced_ + 1)) return false;
  const Job& j = job(reduced_);
  if (j.pattern != NodePattern::all_gather) {
    const bool all = direct(j, reduced_);
    const Piece p = piece(j, reduced_, all ? size_ : rank_);
    sum_piece(p, reduced_, j.data.data());
    if (j.pattern == NodePattern::sum && !all)
      std::memcpy(slot(rank_, reduced_) + p.in_slot, j.data.data() + p.range.begin, p.range.size() * sizeof(float));
  }
  own().reduced.store(++reduced_, std::memory_order_release);
  return true;
}

bool NodeWindow::take_out() {
  if (taken_ == reduced_) return false;
  const Job& j = job(taken_);
  if (j.pattern != NodePattern::reduce_scatter && !direct(j, taken_)) {
    if (!memory_.everyone(&Counters::reduced, taken_ + 1)) return false;
    for (int step = 1; step < size_; ++step) {  // each rank begins with another, so that nobody is asked by all
      const int rank = (rank_ + step) % size_;
      const Piece p = piece(j, taken_, rank);
      std::memcpy(j.data.data() + p.range.begin, slot(rank, taken_) + p.in_slot, p.range.size() * sizeof(float));
    }
  }
  own().taken.store(++taken_, std::memory_order_release);
  if (taken_ == jobs_.front().end) jobs_.pop_front();
  return true;
}

}  // namespace brigade::communication
