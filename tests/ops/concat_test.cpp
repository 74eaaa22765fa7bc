#include "oracle/concat.hpp"

#include <vector>

#include "brigade/ops/concat.hpp"
#include "ops/support.hpp"

namespace brigade::tests {
namespace {

// Inputs of these channels, with gaps between the pixels of every other one.
std::vector<Tensor> inputs(const Shape& shape, const std::vector<std::int64_t>& channels) {
  std::vector<Tensor> x;
  for (const std::int64_t c : channels) {
    Shape one = shape;
    one[shape.rank() - 1] = c;
    x.push_back(random_tensor(one, 1 + x.size(), -1, 1, x.size() % 2 == 1 ? c + 3 : c));
  }
  return x;
}

const std::vector<std::int64_t> kChannels[] = {{5}, {1, 2}, {17, 3, 64}, {64, 32, 32, 1}};

TEST(Concat, IsTheOracle) {
  for (const Shape& shape : {Shape{3, 1}, Shape{2, 7, 5, 1}, Shape{3, 29, 31, 1}})
    for (const auto& channels : kChannels)
      for (const std::int64_t gap : {0, 5}) {
        const std::vector<Tensor> x = inputs(shape, channels);
        std::vector<ConstTensorView> views;
        std::vector<Shape> shapes;
        std::vector<oracle::Array> arrays;
        for (const Tensor& part : x)
          views.push_back(part.view()), shapes.push_back(part.shape), arrays.push_back(to_array(part));
        const Shape out = ops::Concat{}.output_shape(shapes);
        Tensor y(out, out.back() + gap);
        backend().forward(ops::Concat{}, {views, y.view()});
        expect_near(y, oracle::concat(arrays), 0, "y");

        std::vector<Tensor> dx;
        for (const Tensor& part : x) dx.emplace_back(part.shape, part.pitch);
        std::vector<TensorView> gradients;
        for (Tensor& part : dx) gradients.push_back(part.view());
        gradients[0].data = nullptr;  // nobody needs the first
        backend().backward(ops::Concat{}, {y.view(), gradients});
        std::int64_t first = channels[0];
        for (std::size_t i = 1; i < dx.size(); first += channels[i++])
          expect_near(dx[i], oracle::slice(to_array(y), first, channels[i]), 0, "dx");
      }
}

TEST(Concat, LeavesSlicesOfTheOutputAlone) {
  Tensor y = random_tensor({2, 3, 3, 12}, 1);
  const oracle::Array before = to_array(y);
  const ConstTensorView slices[] = {{y.values.data(), {2, 3, 3, 5}, DType::f32, 12},
                                    {y.values.data() + 5, {2, 3, 3, 7}, DType::f32, 12}};
  backend().forward(ops::Concat{}, {slices, y.view()});
  expect_near(y, before, 0);
}

TEST(Concat, RefusesOtherImages) {
  const Shape shapes[] = {{2, 3, 3, 4}, {2, 3, 4, 4}};
  EXPECT_THROW(ops::Concat{}.output_shape(shapes), OptionError);
}

}  // namespace
}  // namespace brigade::tests
