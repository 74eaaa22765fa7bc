// brigade models [NAME]: the networks, or one network's layers, as a table, as JSON or as a drawing.
#include <nlohmann/json.hpp>

#include "brigade/network/executor.hpp"
#include "brigade/network/zoo.hpp"
#include "commands.hpp"
#include "options.hpp"
#include "start_check.hpp"

namespace brigade::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ModelsCommand {
  std::string name;  // empty: all
  std::int64_t batch = 64, image_size = 0;
  network::NetworkOptions options;
  bool dot = false, json = false;
};

double total_flops(const network::Graph& graph) {
  double flops = 0;
  for (const auto& node : graph.nodes) flops += network::forward_flops(graph, node);
  return flops;
}

// Extents without the batch: "56x56x64".
std::string shape_text(const Shape& shape) {
  std::string text = std::to_string(shape[1]);
  for (int axis = 2; axis < shape.rank(); ++axis) text += fmt::format("x{}", shape[axis]);
  return text;
}

double megabytes(std::int64_t bytes) { return static_cast<double>(bytes) * 1e-6; }

void print_list(std::int64_t batch) {
  fmt::print("{:<20}{:>10}{:>12}{:>12}{:>13}{:>16}  {}\n", "network", "input", "trainable", "parameters", "MFLOP/image",
             fmt::format("MB at batch {}", batch), "description");
  for (const auto& entry : network::zoo()) {
    const auto graph = entry.make({});
    const auto trainable = network::parameter_count(graph);
    fmt::print("{:<20}{:>10}{:>12}{:>12}{:>13.1f}{:>16.1f}  {}\n", entry.name, shape_text(graph.input()), trainable,
               trainable + network::statistics_count(graph), total_flops(graph) * 1e-6,
               megabytes(network::planned_bytes(graph, batch, true)), entry.description);
  }
}

void print_layers(const network::Graph& graph, std::int64_t batch) {
  fmt::print("{} - {}\n\n{:<24}{:<20}{:>14}{:>12}{:>14}\n", graph.name, graph.citation, "layer", "operation", "output",
             "parameters", "MFLOP/image");
  for (const auto& node : graph.nodes)
    fmt::print("{:<24}{:<20}{:>14}{:>12}{:>14.2f}\n", node.name, network::operation_name(node), shape_text(node.output),
               network::parameter_count(node), network::forward_flops(graph, node) * 1e-6);
  const auto trainable = network::parameter_count(graph);
  fmt::print("{:<44}{:>14}{:>12}{:>14.2f}\n\n", "total", "", trainable, total_flops(graph) * 1e-6);
  fmt::print(
      "{} parameters with the statistics of batch norms; memory at batch {}: {:.1f} MB in training, {:.1f} MB in "
      "inference\n",
      trainable + network::statistics_count(graph), batch, megabytes(network::planned_bytes(graph, batch, true)),
      megabytes(network::planned_bytes(graph, batch, false)));
}

// For Graphviz: `brigade models resnet50 --dot | dot -Tsvg`.
void print_dot(const network::Graph& graph) {
  fmt::print("digraph \"{}\" {{\n  node [shape=box, fontname=\"sans-serif\"];\n", graph.name);
  for (std::size_t id = 0; id < graph.nodes.size(); ++id) {
    const auto& node = graph.nodes[id];
    fmt::print("  n{} [label=\"{}\\n{}\\n{}\"];\n", id, node.name, network::operation_name(node),
               shape_text(node.output));
    for (const network::NodeId input : node.inputs) fmt::print("  n{} -> n{};\n", input, id);
  }
  fmt::print("}}\n");
}

Json extents(const Shape& shape) {
  Json list = Json::array();
  for (int axis = 1; axis < shape.rank(); ++axis) list.push_back(shape[axis]);
  return list;
}

Json summary(const network::Graph& graph, std::int64_t batch) {
  const auto trainable = network::parameter_count(graph);
  return {{"network", graph.name},
          {"citation", graph.citation},
          {"input", extents(graph.input())},
          {"classes", graph.classes()},
          {"trainable_parameters", trainable},
          {"parameters", trainable + network::statistics_count(graph)},
          {"flops_per_image", total_flops(graph)},
          {"batch_size", batch},
          {"training_bytes", network::planned_bytes(graph, batch, true)},
          {"inference_bytes", network::planned_bytes(graph, batch, false)}};
}

Json layers(const network::Graph& graph) {
  Json list = Json::array();
  for (const auto& node : graph.nodes) {
    Json inputs = Json::array();
    for (const network::NodeId input : node.inputs) inputs.push_back(graph.nodes[static_cast<std::size_t>(input)].name);
    list.push_back({{"name", node.name},
                    {"operation", network::operation_name(node)},
                    {"inputs", inputs},
                    {"output", extents(node.output)},
                    {"trainable_parameters", network::parameter_count(node)},
                    {"flops_per_image", network::forward_flops(graph, node)}});
  }
  return list;
}

void print_json(const ModelsCommand& command) {
  Json json;
  if (command.name.empty()) {
    for (const auto& entry : network::zoo()) {
      json.push_back(summary(entry.make({}), command.batch));
      json.back()["takes_width"] = entry.has_width;
      json.back()["description"] = entry.description;
    }
  } else {
    const auto graph = network::make_network(command.name, command.options);
    json = summary(graph, command.batch);
    json["layers"] = layers(graph);
  }
  fmt::print("{}\n", json.dump(2));
}

bool parse(Call& call, ModelsCommand& command) {
  if (!call.arguments.empty() && !call.arguments.front().starts_with("-")) {
    command.name = call.arguments.front();
    call.arguments.erase(call.arguments.begin());
  }
  auto& size = command.options;
  Options options("models", "list the networks (brigade models), or the layers of one (brigade models NAME)");
  options
      .add("batch-size", command.batch, {1},
           "images in a training step, for the memory (activations and their gradients)")
      .add("image-size", command.image_size, "of NAME: height and width in pixels; 0: the network's usual")
      .add("channels", size.channels, "of NAME's images; 0: the network's usual")
      .add("classes", size.classes, "of NAME; 0: as published")
      .add("width", size.width_multiplier, "of NAME: multiplies the filters, where the paper does so (MobileNets)")
      .flag("dot", command.dot, "draw NAME for Graphviz: brigade models NAME --dot | dot -Tsvg")
      .flag("json", command.json, "for programs");
  if (!read_options(call, options)) return false;
  size.height = size.width = command.image_size;
  return true;
}

void check(const ModelsCommand& command) {
  const auto& size = command.options;
  require<OptionError>(!command.dot || !command.json, "--dot and --json are two formats. Choose one?");
  const bool of_one =
      command.dot || command.image_size != 0 || size.channels != 0 || size.classes != 0 || size.width_multiplier != 1;
  require<OptionError>(!command.name.empty() || !of_one,
                       "--dot, --image-size, --channels, --classes and --width are for one network. Write its name "
                       "after `brigade models`?");
}

}  // namespace

ExitCode models(Call& call) {
  ModelsCommand command;
  if (!parse(call, command)) return ExitCode::done;
  communication::collectively(call.communicator, "models", [&] {
    check(command);
    if (!call.speaks()) return;
    if (command.json)
      print_json(command);
    else if (command.name.empty())
      print_list(command.batch);
    else if (command.dot)
      print_dot(network::make_network(command.name, command.options));
    else
      print_layers(network::make_network(command.name, command.options), command.batch);
  });
  return ExitCode::done;
}

}  // namespace brigade::cli
