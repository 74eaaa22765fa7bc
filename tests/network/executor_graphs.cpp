#include "executor_graphs.hpp"

#include <string>

namespace brigade::tests {

using network::Graph;
using network::GraphBuilder;
using network::NodeId;

Graph every_operation(bool joined, bool with_batch_norm, float rate) {
  GraphBuilder net("every-operation", "", 9, 11, 2);
  auto activate = [&, count = 0](NodeId x) mutable {
    const std::string number = std::to_string(++count);
    return net.relu(joined ? x : net.dropout(x, "apart" + number, 0), "relu" + number);
  };
  NodeId x = activate(net.conv2d(net.input(), "conv1", 5, 3, {.padding = GraphBuilder::Padding::same}));
  x = net.max_pool(x, "pool1", 2, 1);
  if (with_batch_norm) x = activate(net.batch_norm(x, "bn1"));
  x = activate(net.conv2d(x, "conv2", 6, 2, {.bias = false}));
  if (with_batch_norm) x = net.batch_norm(x, "bn2");
  x = net.average_pool(x, "pool2", 2, 1);
  x = net.relu(x, "relu");
  x = net.dropout(x, "dropout", rate);
  x = net.flatten(x);
  x = activate(net.dense(x, "dense1", 7));
  net.dense(x, "logits", 4);
  return std::move(net).finish();
}

Graph branches(bool joined, float rate) {
  GraphBuilder net("branches", "", 9, 8, 3);
  auto apart = [&, count = 0](NodeId x) mutable {
    return joined ? x : net.dropout(x, "apart" + std::to_string(++count), 0);
  };
  using Padding = GraphBuilder::Padding;
  const NodeId stem =
      net.relu6(apart(net.conv2d(net.input(), "stem", 6, 3, {.padding = Padding{.top = 1, .right = 2}})), "stem_clamp");
  NodeId x = net.conv2d(stem, "row", 6, {1, 5}, {.padding = Padding::same, .bias = false});
  const NodeId sum1 = net.relu(apart(net.add(stem, net.batch_norm(x, "norm1"), "sum1")), "sum1_relu");
  x = net.depthwise_conv2d(sum1, "depthwise", 3, {.padding = Padding::same, .bias = false});
  const NodeId middle = net.relu6(apart(net.batch_norm(x, "norm2")), "middle");
  x = net.conv2d(middle, "project", 6, 1, {.bias = false});
  const NodeId sum2 = net.add(sum1, net.batch_norm(x, "norm3", {.scale = false}), "sum2");
  const NodeId both = net.concat({sum2, stem, net.max_pool(sum1, "largest", 3, 1, Padding::same),
                                  net.average_pool(middle, "neighbours", 3, 1, Padding::same)},
                                 "both");
  x = net.add(both, net.conv2d(both, "mix", 24, 1, {}), "sum3", 0.4F);
  x = net.conv2d(net.relu(apart(x), "sum3_relu"), "last", 8, 1, {});
  const NodeId mean = net.global_average_pool(x, "mean");
  NodeId flat = net.relu(net.flatten(net.average_pool(x, "pool", 4, 4)), "positive");
  flat = net.dropout(flat, "dropout1", rate);
  NodeId dense = net.relu6(apart(net.dense(net.add(mean, mean, "double"), "dense", 9)), "dense_clamp");
  dense = net.dropout(dense, "dropout2", rate);
  net.dense(net.concat({flat, dense, mean}, "all"), "logits", 4);
  return std::move(net).finish();
}

Graph dense_blocks() {
  GraphBuilder net("dense-blocks", "", 8, 8, 3);
  using Padding = GraphBuilder::Padding;
  const auto norm_relu = [&](NodeId x, const std::string& name) {
    return net.relu(net.batch_norm(x, name), name + "_relu");
  };
  NodeId x = net.conv2d(net.input(), "stem", 5, 3, {.padding = Padding::same, .bias = false});
  x = net.max_pool(norm_relu(x, "stem_norm"), "stem_pool", 3, 1, Padding::same);
  for (int i = 0; i < 3; ++i) {
    const std::string name = "layer" + std::to_string(i);
    NodeId y = net.conv2d(norm_relu(x, name + "_norm1"), name + "_conv1", 6, 1, {.bias = false});
    y = net.conv2d(norm_relu(y, name + "_norm2"), name + "_conv2", 3, 3, {.padding = Padding::same, .bias = false});
    x = net.concat({x, y}, name);
  }
  x = net.average_pool(net.conv2d(norm_relu(x, "narrow_norm"), "narrow", 6, 1, {.bias = false}), "pool");
  const NodeId branch = norm_relu(net.depthwise_conv2d(x, "depthwise", 3, {.padding = Padding::same}), "branch_norm");
  const NodeId inner = net.concat({branch, net.max_pool(x, "max", 3, 1, Padding::same)}, "inner");
  x = net.concat({inner, branch, x}, "outer");
  for (int i = 0; i < 3; ++i) {
    const std::string name = "block" + std::to_string(i);
    NodeId y = net.conv2d(x, name + "_conv1", 4, 1, {.bias = false});
    y = net.conv2d(norm_relu(y, name + "_norm1"), name + "_conv2", 4, 3, {.padding = Padding::same, .bias = false});
    y = net.conv2d(norm_relu(y, name + "_norm2"), name + "_conv3", 24, 1, {});
    x = net.relu(net.add(x, net.batch_norm(y, name + "_norm3"), name), name + "_relu");
  }
  net.dense(net.global_average_pool(norm_relu(x, "last_norm"), "mean"), "logits", 4);
  return std::move(net).finish();
}

Graph stages() {
  GraphBuilder net("stages", "", 9, 8, 3);
  const auto conv_norm = [&](NodeId x, const std::string& name, std::int64_t channels, int stride) {
    return net.batch_norm(net.conv2d(x, name + "_conv", channels, 1, {.stride = stride}), name + "_norm");
  };
  const auto narrow_wide = [&](NodeId x, const std::string& name, int stride) {
    return conv_norm(net.relu(conv_norm(x, name + "_narrow", 5, stride), name + "_relu"), name + "_wide", 8, 1);
  };
  const auto sum = [&](NodeId a, NodeId b, const std::string& name) {
    return net.relu(net.add(a, b, name), name + "_relu");
  };
  NodeId x = net.conv2d(net.input(), "stem", 6, 3, {.padding = GraphBuilder::Padding::same});
  for (int stride = 1; stride <= 2; ++stride) {
    const std::string name = "stage" + std::to_string(stride);
    const NodeId shortcut = conv_norm(x, name + "_shortcut", 8, stride);
    x = sum(shortcut, narrow_wide(x, name + "_first", stride), name + "_sum1");
    x = sum(x, narrow_wide(x, name + "_second", 1), name + "_sum2");
  }
  net.dense(net.global_average_pool(x, "mean"), "logits", 4);
  return std::move(net).finish();
}

Graph towers() {
  GraphBuilder net("towers", "", 9, 8, 4);
  using Padding = GraphBuilder::Padding;
  NodeId x = net.relu(net.conv2d(net.input(), "conv1", 6, 3, {.padding = Padding::same, .groups = 2}), "relu1");
  x = net.local_response_norm(x, "norm", {.size = 3, .bias = 1, .alpha = 0.5F});
  x = net.conv2d(x, "conv2", 9, 3, {.stride = 2, .padding = Padding::same, .groups = 3});
  x = net.average_pool(x, "pool", 3, 2, Padding::same, GraphBuilder::Mean::of_window);
  x = net.scale(net.dense(net.flatten(x), "dense", 4), "scale", 1.5F);
  return std::move(net).finish();
}

}  // namespace brigade::tests
