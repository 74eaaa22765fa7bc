// Lifetimes; places follow from them (place_blocks.cpp).
//
// An operation may compute in place if it is its input's only reader and backward does not want the input either. One
// liberty more: the y of a layer with a ReLU may be overwritten by dropout or ReLU, for its backward only asks where
// y > 0, and those keep that sign wherever the gradient they hand back is not zero. (The upper bound of a ReLU6 does
// not survive dropout's scaling.)
#include "memory_plan.hpp"

#include <map>

#include "brigade/core/error.hpp"
#include "nodes.hpp"

namespace brigade::network {
namespace {

std::int64_t padded(std::int64_t bytes) { return (bytes + kBlockAlignment - 1) / kBlockAlignment * kBlockAlignment; }

// The gradient of an input may overwrite the gradient of the output.
bool shares_gradient(const Node& node) {
  return is<ops::Relu>(node) || is<ops::Dropout>(node) || is<ops::BatchNorm>(node) || is<ops::Add>(node) ||
         is<ops::LocalResponseNorm>(node) || is<Scale>(node);
}

// Backward spoils the gradient of the output (flatten: hands it on to one that may).
bool spoils_gradient(const Node& node) { return is_product(node) || is<Flatten>(node); }

// The node stores values clamped from above.
bool clamps(const Node& node) {
  if (const auto* relu = std::get_if<ops::Relu>(&node.operation)) return relu->max < ops::Relu{}.max;
  return activation_of(node) == ops::Activation::relu6;
}

// What the planner knows about the bytes of a node's value.
struct ValueState {
  bool exclusive = true;  // one reader in all
  bool kept = false;      // the backward pass of who wrote them reads them
  bool clamped = false;   // ... and asks for an upper bound

  void join(const ValueState& other) {
    exclusive = exclusive && other.exclusive;
    kept = kept || other.kept;
    clamped = clamped || other.clamped;
  }
};

class Planner {
 public:
  Planner(const Schedule& schedule, std::int64_t batch, Images images)
      : schedule_(schedule),
        batch_(batch),
        images_(images),
        time_{schedule.end()},
        readers_(readers_of(schedule.graph)),
        wanted_(learning(schedule.graph)) {
    plan_.nodes.resize(schedule.nodes.size());
    states_.resize(schedule.nodes.size());
  }

  // Lifetimes, but no places yet.
  MemoryPlan run() && {
    plan_images();
    plan_values();
    plan_results();
    if (training()) plan_backward();
    return std::move(plan_);
  }

 private:
  bool training() const { return schedule_.training; }
  const Node& node(NodeId id) const { return schedule_.node(id); }
  const Treatment& treatment(NodeId id) const { return schedule_.at(id); }
  NodeBlocks& blocks(NodeId id) { return plan_.nodes[static_cast<std::size_t>(id)]; }
  ValueState& state(NodeId id) { return states_[static_cast<std::size_t>(id)]; }
  const std::vector<NodeId>& readers(NodeId id) const { return readers_[static_cast<std::size_t>(id)]; }
  NodeId last_node() const { return time_.nodes - 1; }

  Place add(std::string name, std::int64_t bytes, int first, int last) {
    plan_.blocks.push_back({.name = std::move(name), .bytes = padded(bytes), .first = first, .last = last});
    return {.block = static_cast<int>(plan_.blocks.size()) - 1};
  }
  std::int64_t bytes_of(NodeId id, DType type) const {
    return batch_ * node(id).output.size() * static_cast<std::int64_t>(size_of(type));
  }
  std::int64_t value_bytes(NodeId id) const { return bytes_of(id, treatment(id).type); }
  void keep_until(const Place& place, int moment) {
    if (!place) return;
    int& last = plan_.blocks[static_cast<std::size_t>(place.block)].last;
    last = std::max(last, moment);
  }
  // The block's lifetime comprises the moment.
  void include(const Place& place, int moment) {
    int& first = plan_.blocks[static_cast<std::size_t>(place.block)].first;
    first = std::min(first, moment);
    keep_until(place, moment);
  }

  // Whoever reads the value of `id` at a moment of forward: a batch norm normalised on read is its input and the
  // input's statistics.
  void read_forward(NodeId id, int moment) {
    keep_until(blocks(schedule_.stored(id)).value, moment);
    if (treatment(id).normalised_on_read) keep_until(blocks(node(id).inputs.front()).statistics, moment);
  }

  // In memory that is not ours to write.
  bool borrowed(const Place& place) const {
    return place && plan_.blocks[static_cast<std::size_t>(place.block)].borrowed;
  }

  // Where a range of channels of `whole` lies.
  static Place range(const Place& whole, std::int64_t first, std::int64_t whole_channels) {
    return {whole.block, whole.channel + first, whole.pitch > 0 ? whole.pitch : whole_channels};
  }

  void plan_images();
  void plan_values();
  void plan_value(NodeId id);
  void plan_statistics(NodeId id);
  NodeId shared_input(NodeId id);
  Place whole_value(NodeId concat);
  Place statistics_of(NodeId x);
  Place rest_of(NodeId x);
  Place per_channel(NodeId x, Place NodeBlocks::*member, const char* what);
  void plan_results();
  void plan_backward();
  void keep_for_backward(NodeId id, bool input_gradient);
  void read_backward(NodeId value, NodeId reader);
  void plan_recomputation();
  void plan_last_gradient();
  void plan_input_gradients(NodeId id);
  bool overwrites_input(NodeId norm, bool add) const;
  void plan_gradient_through(NodeId conv, NodeId norm);
  void plan_finished_gradient(NodeId conv, NodeId x);
  void plan_part_gradients(NodeId concat);
  bool may_hold_both(NodeId first, NodeId second, NodeId sum) const;

  // A place may hold the gradients of several nodes, as long as they are the same numbers.
  void hold(NodeId id, const Place& gradient) {
    blocks(id).gradient = gradient;
    ++holders_[gradient];
  }
  Place add_gradient(NodeId of, int now) { return add("gradient of " + node(of).name, value_bytes(of), now, now); }

  const Schedule& schedule_;
  const std::int64_t batch_;
  const Images images_;
  const Timeline time_;
  const std::vector<std::vector<NodeId>> readers_;  // by NodeId, in forward order, once for each input
  std::vector<ValueState> states_;                  // by NodeId
  const std::vector<bool> wanted_;                  // by NodeId, the gradient
  std::map<Place, int> holders_;                    // nodes whose gradient is there and that have not read it yet
  MemoryPlan plan_;
};

// ---- forward

// The input whose bytes the node's value takes: as a view, or computed in place; -1: none.
NodeId Planner::shared_input(NodeId id) {
  const Node& n = node(id);
  if (n.inputs.empty()) return -1;
  const NodeId input = n.inputs.front();
  if (is<Flatten>(n)) return input;
  if (!schedule_.passes.in_place || treatment(id).part_of >= 0) return -1;
  const auto exclusive = [&](NodeId i) { return !treatment(i).normalised_on_read && state(i).exclusive; };
  const auto spare = [&](NodeId i) { return exclusive(i) && !(training() && state(i).kept); };
  if (is<ops::Add>(n)) return spare(n.inputs[1]) ? n.inputs[1] : spare(n.inputs[0]) ? n.inputs[0] : -1;
  const bool in_place = is<ops::Relu>(n) || (is<ops::Dropout>(n) && !(training() && state(input).clamped)) ||
                        (is<ops::BatchNorm>(n) && !training());
  return in_place && exclusive(input) ? input : -1;
}

// The first part to be computed begins the block of the outermost concatenation.
Place Planner::whole_value(NodeId concat) {
  Place& place = blocks(concat).value;
  if (place) return place;
  const Treatment& t = treatment(concat);
  place = t.part_of >= 0 ? range(whole_value(t.part_of), t.first_channel, channels(node(t.part_of)))
                         : add(node(concat).name, value_bytes(concat), time_.end(), 0);
  return place;
}

// In bf16 they are the value of node 0 only after a conversion.
void Planner::plan_images() {
  const bool borrowed = images_ == Images::borrowed;
  plan_.images = add("images", borrowed ? 0 : bytes_of(0, DType::f32), 0, 0);
  plan_.blocks.back().borrowed = borrowed;
  if (treatment(0).type == DType::f32) blocks(0).value = plan_.images;
}

void Planner::plan_value(NodeId id) {
  const Treatment& t = treatment(id);
  ValueState& own = state(id);
  own.exclusive = readers(id).size() == 1 && !(id == 0 && borrowed(blocks(0).value));
  own.kept = backward_reads_output(node(id));
  own.clamped = own.kept && clamps(node(id));
  const NodeId shared = shared_input(id);
  if (shared >= 0) own.join(state(shared));
  for (const NodeId input : node(id).inputs)
    if (treatment(input).part_of == id) own.join(state(input));

  NodeBlocks& b = blocks(id);
  const int now = time_.forward(id);
  if (shared >= 0)
    b.value = blocks(shared).value;
  else if (t.part_of >= 0)
    b.value = range(whole_value(t.part_of), t.first_channel, channels(node(t.part_of)));
  else if (!b.value)
    b.value = add(node(id).name, value_bytes(id), now, now);
  include(b.value, now);
}

// Two rows of numbers by channel of x, a range of those of the concatenation that x is part of.
Place Planner::per_channel(NodeId x, Place NodeBlocks::*member, const char* what) {
  Place& place = blocks(x).*member;
  const Treatment& t = treatment(x);
  if (!place)
    place =
        t.shares_statistics
            ? range(per_channel(t.part_of, member, what), t.first_channel, channels(node(t.part_of)))
            : add(what + (" of " + node(x).name), 2 * channels(node(x)) * std::int64_t{sizeof(float)}, time_.end(), 0);
  return place;
}
Place Planner::statistics_of(NodeId x) { return per_channel(x, &NodeBlocks::statistics, "statistics"); }
Place Planner::rest_of(NodeId x) { return per_channel(x, &NodeBlocks::rest, "rest"); }

void Planner::plan_statistics(NodeId id) {
  const int now = time_.forward(id);
  if (treatment(id).stores_statistics) include(statistics_of(id), now);
  for (const NodeId x : treatment(id).measures) include(statistics_of(x), now);
  if (is<ops::BatchNorm>(node(id))) keep_until(statistics_of(node(id).inputs.front()), now);
}

void Planner::plan_values() {
  for (NodeId id = 0; id < time_.nodes; ++id) {
    const NodeId made_by = treatment(id).made_by;
    for (const NodeId input : node(id).inputs) read_forward(input, time_.forward(made_by >= 0 ? made_by : id));
    if (training()) plan_statistics(id);
    if (!treatment(id).normalised_on_read) plan_value(id);
  }
  read_forward(last_node(), time_.loss());
}

// Labels arrive first, with the images; loss and ranks are read by the caller when the step is over.
void Planner::plan_results() {
  plan_.labels = add("labels", batch_ * std::int64_t{sizeof(std::int32_t)}, 0, time_.loss_gradient());
  plan_.loss = add("loss", batch_ * std::int64_t{sizeof(float)}, time_.loss(), time_.end());
  plan_.label_rank = add("label rank", batch_ * std::int64_t{sizeof(std::int32_t)}, time_.loss(), time_.end());
  if (training()) return;
  plan_.probabilities = add("probabilities", value_bytes(last_node()), time_.loss(), time_.end());
  if (schedule_.folded_count > 0)
    plan_.folded_weights = add("folded weights", schedule_.folded_count * std::int64_t{sizeof(float)}, 0, time_.end());
}

// ---- backward

void Planner::plan_backward() {
  for (NodeId id = 0; id < time_.nodes; ++id) {
    if (!wanted_[static_cast<std::size_t>(id)]) continue;
    keep_for_backward(id, std::ranges::any_of(node(id).inputs,
                                              [&](NodeId input) { return wanted_[static_cast<std::size_t>(input)]; }));
  }
  plan_recomputation();
  keep_until(blocks(last_node()).value, time_.loss_gradient());
  if (!wanted_.back()) return;
  plan_last_gradient();
  for (NodeId id = last_node(); id > 0; --id) {
    if (!wanted_[static_cast<std::size_t>(id)] || treatment(id).gradient_through) continue;
    keep_until(blocks(id).gradient, time_.backward(schedule_.backward_with(id)));
    if (treatment(id).centred) keep_until(rest_of(id), time_.backward(id));
    --holders_[blocks(id).gradient];
    if (is<ops::Concat>(node(id)))
      plan_part_gradients(id);
    else
      plan_input_gradients(id);
  }
}

// The backward pass of `reader` reads the value (or computes its own again: reader == value).
void Planner::read_backward(NodeId value, NodeId reader) {
  const int now = time_.backward(reader);
  if (treatment(value).normalised_on_read) keep_until(blocks(node(value).inputs.front()).statistics, now);
  const NodeId stored = schedule_.stored(value);
  if (!treatment(stored).recomputed) return keep_until(blocks(stored).value, now);
  Place& again = blocks(stored).again;
  if (!again) again = add(node(stored).name + " again", value_bytes(stored), now, now);
  include(again, now);
}

void Planner::keep_for_backward(NodeId id, bool input_gradient) {
  const int now = time_.backward(id);
  const std::string& name = node(id).name;
  // Numbers that batch norm's gradient needs, at once or when it is centred.
  const auto read_normalised = [&](NodeId x) {
    read_backward(x, id);
    keep_until(blocks(x).statistics, now);
  };
  if (treatment(id).centred) read_normalised(id);
  if (treatment(id).gradient_through) return;  // its reader does its work
  if (const NodeId norm = schedule_.taken_through(id); norm >= 0) read_normalised(node(norm).inputs.front());
  if (const NodeId x = schedule_.finished(id); x >= 0)
    for (const NodeId norm : node(x).inputs)
      if (treatment(norm).sums_given) read_normalised(node(norm).inputs.front());
  if (backward_reads_input(node(id))) read_backward(node(id).inputs.front(), schedule_.backward_with(id));
  if (backward_reads_output(node(id))) read_backward(id, id);
  if (is<ops::BatchNorm>(node(id)))
    keep_until(blocks(node(id).inputs.front()).statistics, time_.backward(schedule_.backward_with(id)));
  if (is<ops::MaxPool>(node(id)) && input_gradient)
    blocks(id).winners = add("winners of " + name, batch_ * node(id).output.size(), time_.forward(id), now);
}

// Before the first of those that read it in backward a value is computed again, from inputs that must be there still.
void Planner::plan_recomputation() {
  for (NodeId id = last_node(); id > 0; --id) {
    const Place& again = blocks(id).again;
    if (!again) continue;
    const int first = plan_.blocks[static_cast<std::size_t>(again.block)].first;
    const NodeId reader = time_.backward(0) - first;
    blocks(reader).recomputes.insert(blocks(reader).recomputes.begin(), id);  // inputs first
    for (const NodeId input : node(id).inputs) read_backward(input, reader);
  }
}

void Planner::plan_last_gradient() {
  const Place& logits = blocks(last_node()).value;
  const bool spare = plan_.blocks[static_cast<std::size_t>(logits.block)].last == time_.loss_gradient();
  hold(last_node(), spare && schedule_.passes.in_place ? logits : add_gradient(last_node(), time_.loss_gradient()));
}

// Blocks for what the backward pass of node `id` writes. It is the last to read its own gradient; whether it may also
// overwrite it depends on who else still needs the same block.
void Planner::plan_input_gradients(NodeId id) {
  if (const NodeId norm = schedule_.taken_through(id); norm >= 0) return plan_gradient_through(id, norm);
  if (const NodeId x = schedule_.finished(id); x >= 0) return plan_finished_gradient(id, x);
  const int now = time_.backward(id);
  const Place own = blocks(id).gradient;
  const bool shares = is<Flatten>(node(id)) || (schedule_.passes.in_place && shares_gradient(node(id)));
  const bool reusable = holders_[own] == 0 && shares;
  const auto* sum = std::get_if<ops::Add>(&node(id).operation);
  bool taken = false;  // by an earlier input of this node, as its gradient or to be added to it
  NodeId holder = -1;  // the earlier input
  for (const NodeId input : node(id).inputs) {
    InputGradient& slot = blocks(id).input_gradients.emplace_back();
    if (!wanted_[static_cast<std::size_t>(input)]) continue;
    slot.add = static_cast<bool>(blocks(input).gradient);
    // Two inputs of a sum have one gradient, if nothing happens to it in the meantime.
    const bool free = !taken || (sum->scale == 1 && (slot.add || holder < 0 || may_hold_both(holder, input, id)));
    const bool reused = reusable && free && treatment(input).type == treatment(id).type;
    slot.place = reused ? own : overwrites_input(id, slot.add) ? blocks(input).value : add_gradient(input, now);
    if (!slot.add) hold(input, slot.place);
    if (reused && !slot.add) holder = input;
    taken = taken || reused;
  }
}

// The gradient of a batch norm's input may overwrite the input, if nobody reads that later.
bool Planner::overwrites_input(NodeId norm, bool add) const {
  if (!is<ops::BatchNorm>(node(norm)) || add || !schedule_.passes.in_place) return false;
  const NodeId x = node(norm).inputs.front();
  const NodeBlocks& of_x = plan_.nodes[static_cast<std::size_t>(x)];
  return of_x.value && !of_x.again && !treatment(x).normalised_on_read && !borrowed(of_x.value) &&
         treatment(x).type == treatment(norm).type &&
         plan_.blocks[static_cast<std::size_t>(of_x.value.block)].last == time_.backward(schedule_.backward_with(norm));
}

// The convolution writes the gradient of the batch norm's input, or adds to what others wrote there.
void Planner::plan_gradient_through(NodeId conv, NodeId norm) {
  const int now = time_.backward(conv);
  const NodeId x = node(norm).inputs.front();
  InputGradient& slot = blocks(conv).input_gradients.emplace_back();
  slot.add = static_cast<bool>(blocks(x).gradient);
  slot.place = slot.add ? blocks(x).gradient : add_gradient(x, now);
  if (!slot.add) hold(x, slot.place);
  include(rest_of(x), now);
}

// The convolution writes the gradient of x, or adds to what others wrote there.
void Planner::plan_finished_gradient(NodeId conv, NodeId x) {
  InputGradient& slot = blocks(conv).input_gradients.emplace_back();
  slot.add = static_cast<bool>(blocks(x).gradient);
  slot.place = slot.add ? blocks(x).gradient : add_gradient(x, time_.backward(conv));
  if (!slot.add) hold(x, slot.place);
}

// The gradients of parts are ranges of the whole's gradient, unless somebody else still needs that. (Those of matrices
// are copied: a flatten among the parts could not hand on rows with gaps.)
void Planner::plan_part_gradients(NodeId concat) {
  const int now = time_.backward(concat);
  const Place own = blocks(concat).gradient;
  const bool in_place = schedule_.passes.concat_in_place && holders_[own] == 0 && node(concat).output.rank() == 4;
  std::int64_t first = 0;
  for (const NodeId input : node(concat).inputs) {
    InputGradient& slot = blocks(concat).input_gradients.emplace_back();
    if (wanted_[static_cast<std::size_t>(input)]) {
      slot.add = static_cast<bool>(blocks(input).gradient);
      slot.place = in_place ? range(own, first, channels(node(concat))) : add_gradient(input, now);
      if (!slot.add) hold(input, slot.place);
    }
    first += channels(node(input));
  }
}

// Whether one block can be the gradient of both inputs of the sum `sum`: `second` must have read it, without spoiling
// it, before anybody adds to the gradient of `first` or `first` itself uses it.
bool Planner::may_hold_both(NodeId first, NodeId second, NodeId sum) const {
  // Through a batch norm, its reader adds.
  const auto adds = [&](NodeId reader) {
    return treatment(reader).gradient_through ? readers(reader).front() : reader;
  };
  return first < second && readers(second).size() == 1 && !spoils_gradient(node(second)) &&
         !treatment(second).centred &&
         std::ranges::all_of(readers(first), [&](NodeId reader) { return reader == sum || adds(reader) < second; });
}

}  // namespace

MemoryPlan plan_memory(const Schedule& schedule, std::int64_t batch, Images images) {
  require<OptionError>(batch >= 1, "a batch of {} images cannot be computed. Ask for at least 1?", batch);
  MemoryPlan plan = Planner(schedule, batch, images).run();
  plan.bytes = place_blocks(plan.blocks);
  return plan;
}

std::int64_t peak_bytes(const Schedule& schedule, std::int64_t batch) {
  return most_alive(Planner(schedule, batch, Images::borrowed).run().blocks);
}

}  // namespace brigade::network
