#include "brigade/network/executor.hpp"
#include "brigade/network/zoo.hpp"
#include "commands.hpp"
#include "options.hpp"

namespace brigade::cli {
namespace {

double total_flops(const network::Graph& graph) {
  double flops = 0;
  for (const auto& node : graph.nodes) flops += network::forward_flops(graph, node);
  return flops;
}

void print_list(std::int64_t batch) {
  fmt::print("{:<20}{:>10}{:>12}{:>12}{:>13}{:>16}  {}\n", "network", "input", "trainable", "parameters", "MFLOP/image",
             fmt::format("MB at batch {}", batch), "description");
  for (const auto& entry : network::zoo()) {
    const auto graph = entry.make({});
    const auto& in = graph.input();
    const auto trainable = network::parameter_count(graph);
    fmt::print("{:<20}{:>10}{:>12}{:>12}{:>13.1f}{:>16.1f}  {}\n", entry.name,
               fmt::format("{}x{}x{}", in[1], in[2], in[3]), trainable, trainable + network::statistics_count(graph),
               total_flops(graph) * 1e-6, static_cast<double>(network::planned_bytes(graph, batch, true)) * 1e-6,
               entry.description);
  }
}

void print_layers(const network::Graph& graph) {
  fmt::print("{} - {}\n\n{:<24}{:<14}{:>20}{:>12}{:>14}\n", graph.name, graph.citation, "layer", "operation", "output",
             "parameters", "MFLOP/image");
  for (const auto& node : graph.nodes) {
    const auto& out = node.output;
    std::string shape = std::to_string(out[1]);
    for (int axis = 2; axis < out.rank(); ++axis) shape += fmt::format("x{}", out[axis]);
    fmt::print("{:<24}{:<14}{:>20}{:>12}{:>14.2f}\n", node.name, network::operation_name(node), shape,
               network::parameter_count(node), network::forward_flops(graph, node) * 1e-6);
  }
  fmt::print("{:<38}{:>20}{:>12}{:>14.2f}\n", "total", "", network::parameter_count(graph), total_flops(graph) * 1e-6);
}

}  // namespace

ExitCode models(Call& call) {
  std::int64_t batch = 64;
  network::NetworkOptions size;
  std::int64_t image_size = 0;
  Options options("models", "list the networks (brigade models), or the layers of one (brigade models NAME)");
  options.add("batch-size", batch, "images in a training step, for the memory column (activations and their gradients)")
      .add("image-size", image_size, "height and width in pixels; 0: the network's usual")
      .add("channels", size.channels, "of the images; 0: the network's usual")
      .add("classes", size.classes, "0: as published");
  communication::collectively(call.communicator, "models", [&] {
    std::vector<std::string> arguments = call.arguments;
    std::string name;
    if (!arguments.empty() && !arguments.front().starts_with("-")) {
      name = arguments.front();
      arguments.erase(arguments.begin());
    }
    if (!options.parse(arguments, call.speaks())) return;
    size.height = size.width = image_size;
    if (!call.speaks()) return;
    if (name.empty())
      print_list(batch);
    else
      print_layers(network::make_network(name, size));
  });
  return ExitCode::done;
}

}  // namespace brigade::cli
