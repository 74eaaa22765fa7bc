#include "brigade/dataset/augment.hpp"

#include <cmath>

#include "../src/dataset/augment_picture.hpp"
#include "../src/dataset/augment_recipe.hpp"
#include "dataset/support.hpp"
#include "oracle/augment.hpp"

namespace brigade::dataset::testing {
namespace {

constexpr std::array<float, 3> kMean{0.1F, 0.5F, 0.7F}, kDeviation{0.2F, 0.3F, 0.9F};

// ---- grammar

TEST(AugmentationGrammar, EveryWordIsRead) {
  const auto a = parse_augmentation(
      "flip, rotate=20,zoom=0.2,shear=0.2,channel-shift=30,shift=0.1,crop=4,jitter=0.4:0.3:0.2,cutout=16,mixup=0.2,"
      "label-smoothing=0.1");
  const Augmentation expected{.flip = true,
                              .rotate = 20,
                              .zoom = 0.2,
                              .shear = 0.2,
                              .shift = 0.1,
                              .crop = 4,
                              .brightness = 0.4,
                              .contrast = 0.3,
                              .saturation = 0.2,
                              .channel_shift = 30,
                              .cutout = 16,
                              .mixup = 0.2,
                              .label_smoothing = 0.1};
  EXPECT_EQ(a, expected);
  EXPECT_EQ(parse_augmentation("resized-crop=0.08:1"), (Augmentation{.area_min = 0.08, .area_max = 1}));
  EXPECT_EQ(parse_augmentation("none"), Augmentation{});
  EXPECT_EQ(parse_augmentation(""), Augmentation{});
}

TEST(AugmentationGrammar, PrintsWhatItReads) {
  EXPECT_EQ(to_string(Augmentation{}), "none");
  EXPECT_EQ(to_string(parse_augmentation("zoom=0.20,rotate=2e1,flip,crop=0")), "flip,rotate=20,zoom=0.2,crop=0");
  for (const char* text :
       {"flip", "flip,rotate=20,zoom=0.2,shear=0.2,shift=0.1,channel-shift=30",
        "resized-crop=0.08:1,jitter=0.4:0:0.123456789012345,cutout=16,mixup=0.2,label-smoothing=0.1"})
    EXPECT_EQ(to_string(parse_augmentation(text)), text);
}

TEST(AugmentationGrammar, ErrorsNameTheWord) {
  const auto message = [](const std::string& text) {
    return message_of<OptionError>([&] { parse_augmentation(text); });
  };
  EXPECT_HAS(message("flip,rotat=20"), "does not know 'rotat' (the nearest word is rotate). Write rotate=DEGREES?");
  EXPECT_HAS(message("label_smoothing=0.1"), "label-smoothing=E");
  EXPECT_HAS(message("flip,,zoom=1"), "does not know ''");
  EXPECT_HAS(message("flip,flip"), "flip twice");
  EXPECT_HAS(message("flip=1"), "flip takes no value");
  EXPECT_HAS(message("zoom"), "zoom needs a value");
  EXPECT_HAS(message("zoom=much"), "'much' is no number");
  EXPECT_HAS(message("zoom=0.5x"), "'0.5x' is no number");
  EXPECT_HAS(message("zoom=nan"), "not in");
  EXPECT_HAS(message("rotate=200"), "200 is not in 1e-06 to 180");
  EXPECT_HAS(message("cutout=2.5"), "no whole number");
  EXPECT_HAS(message("jitter=0.4"), "jitter needs 3 values, separated by colons (1 given). Write jitter=B:C:S?");
  EXPECT_HAS(message("resized-crop=1:0.1"), "1 is above 0.1");
  EXPECT_HAS(message("crop=4,resized-crop=0.1:1"), "Leave one out?");
}

// ---- recipes

RandomKey key(std::int64_t sample, std::int64_t epoch = 0) { return augmentation_key(7, epoch, sample); }

TEST(AugmentationRecipe, DrawsCoverTheirRangesAndNoMore) {
  const auto a = parse_augmentation("flip,rotate=20,zoom=0.2,shear=10,shift=0.1,channel-shift=30,jitter=0.4:0.3:1.5");
  const ImageShape image{64, 32, 3};
  struct Range {
    double low = 1e9, high = -1e9, sum = 0;
    void add(double v) { low = std::min(low, v), high = std::max(high, v), sum += v; }
  } mirror, rotation, zoom_y, zoom_x, shear, shift_y, shift_x, channel_shift, brightness, contrast, saturation;
  constexpr int kCount = 4000;
  for (int i = 0; i < kCount; ++i) {
    const auto r = draw_recipe(a, key(i), image, image);
    mirror.add(r.mirror ? 1 : 0), rotation.add(r.rotation * 180 / std::acos(-1.0)),
        shear.add(r.shear * 180 / std::acos(-1.0));
    zoom_y.add(r.zoom_y), zoom_x.add(r.zoom_x), shift_y.add(r.shift_y), shift_x.add(r.shift_x);
    channel_shift.add(r.channel_shift), brightness.add(r.brightness), contrast.add(r.contrast),
        saturation.add(r.saturation);
  }
  const auto check = [](const char* name, const Range& range, double low, double high) {
    const double width = high - low;
    EXPECT_GE(range.low, low) << name;
    EXPECT_LE(range.low, low + 0.01 * width) << name;
    EXPECT_LE(range.high, high) << name;
    EXPECT_GE(range.high, high - 0.01 * width) << name;
    EXPECT_NEAR(range.sum / kCount, (low + high) / 2, 0.03 * width) << name;  // 6 standard errors or more
  };
  check("mirror", mirror, 0, 1);
  check("rotation", rotation, -20, 20);
  check("zoom_y", zoom_y, 0.8, 1.2);
  check("zoom_x", zoom_x, 0.8, 1.2);
  check("shear", shear, -10, 10);
  check("shift_y", shift_y, -6.4, 6.4);
  check("shift_x", shift_x, -3.2, 3.2);
  check("channel_shift", channel_shift, -30, 30);
  check("brightness", brightness, 0.6, 1.4);
  check("contrast", contrast, 0.7, 1.3);
  check("saturation", saturation, 0, 2.5);
}

TEST(AugmentationRecipe, AWordMoreChangesNoOtherDraw) {
  const ImageShape image{64, 64, 3};
  const auto few = draw_recipe(parse_augmentation("rotate=20"), key(5), image, image);
  const auto many = draw_recipe(parse_augmentation("flip,zoom=0.1,rotate=20,cutout=3,crop=4"), key(5), image, image);
  EXPECT_EQ(few.rotation, many.rotation);
  EXPECT_NE(few.rotation, draw_recipe(parse_augmentation("rotate=20"), key(6), image, image).rotation);
  EXPECT_NE(few.rotation, draw_recipe(parse_augmentation("rotate=20"), key(5, 1), image, image).rotation);
}

TEST(AugmentationRecipe, CropsReachEveryPlace) {
  std::set<std::pair<double, double>> places;
  for (int i = 0; i < 2000; ++i) {
    const auto box = draw_recipe(parse_augmentation("crop=2"), key(i), {10, 9, 3}, {8, 8, 3}).box;
    EXPECT_EQ(box.height, 8);
    EXPECT_EQ(box.width, 8);
    places.insert({box.top, box.left});
  }
  EXPECT_EQ(places.size(), 7U * 6U);
  EXPECT_EQ(places.begin()->first, -2);
  EXPECT_EQ(places.rbegin()->first, 4);
  EXPECT_EQ(places.rbegin()->second, 3);
}

TEST(AugmentationRecipe, ResizedCropsLieInsideAndHaveTheAreaAndAspectAsked) {
  double smallest = 1, largest = 0, area_sum = 0;
  constexpr int kCount = 4000;
  for (int i = 0; i < kCount; ++i) {
    const auto box = draw_recipe(parse_augmentation("resized-crop=0.08:1"), key(i), {60, 80, 3}, {32, 32, 3}).box;
    EXPECT_GE(box.top, 0);
    EXPECT_GE(box.left, 0);
    EXPECT_LE(box.top + box.height, 60 + 1e-9);
    EXPECT_LE(box.left + box.width, 80 + 1e-9);
    EXPECT_GE(box.width / box.height, 0.75 - 1e-9);
    EXPECT_LE(box.width / box.height, 4.0 / 3 + 1e-9);
    const double area = box.height * box.width / 4800;
    smallest = std::min(smallest, area), largest = std::max(largest, area), area_sum += area;
  }
  EXPECT_NEAR(smallest, 0.08, 0.01);
  EXPECT_NEAR(largest, 1, 0.02);
  // Areas above (3/4)^2 fit with probability 1/2 - log(area / (3/4)) / (2 log(4/3)); the mean of those that fit:
  EXPECT_NEAR(area_sum / kCount, 0.4319, 0.012);
  // What can never fit: the largest part in the middle.
  const auto box = draw_recipe(parse_augmentation("resized-crop=1:1"), key(1), {10, 100, 3}, {8, 8, 3}).box;
  EXPECT_NEAR(box.width, 40.0 / 3, 1e-9);
  EXPECT_NEAR(box.left, (100 - 40.0 / 3) / 2, 1e-9);
  EXPECT_EQ(box.height, 10);
}

TEST(AugmentationRecipe, SharesFollowTheBetaDistribution) {
  for (const double alpha : {0.2, 1.0, 3.0}) {
    double sum = 0, squares = 0;
    constexpr int kCount = 20000;
    const Augmentation a{.mixup = alpha};
    for (int i = 0; i < kCount; ++i) {
      const double share = draw_share(a, key(i));
      ASSERT_GE(share, 0.5);
      ASSERT_LE(share, 1);
      sum += share, squares += (share - 0.5) * (share - 0.5);
    }
    EXPECT_NEAR(squares / kCount, 1 / (4 * (2 * alpha + 1)), 0.003) << alpha;  // the variance of Beta(alpha, alpha)
    if (alpha == 1) {
      EXPECT_NEAR(sum / kCount, 0.75, 0.005);
    }
  }
}

// ---- pictures

struct Picture {
  ImageShape shape;
  Bytes pixels;
  explicit Picture(const ImageShape& s, std::int64_t number = 3) : shape(s), pixels(pixels_of(number, s)) {}
  PictureView view() const {
    return {.pixels = pixels.data(),
            .region = {0, 0, shape.height, shape.width},
            .line = shape.width * shape.channels,
            .channels = shape.channels};
  }
  oracle::Array array() const {
    oracle::Array result({1, shape.height, shape.width, shape.channels});
    for (std::int64_t i = 0; i < result.size(); ++i) result[i] = pixels[static_cast<std::size_t>(i)];
    return result;
  }
};

// Nothing happens.
Recipe still(const ImageShape& shape) {
  Recipe recipe;
  recipe.box = {0, 0, static_cast<double>(shape.height), static_cast<double>(shape.width)};
  return recipe;
}

std::vector<float> make(const Recipe& recipe, const Picture& picture, const ImageShape& wanted) {
  std::vector<float> out(static_cast<std::size_t>(wanted.size()) + 1, -77.0F);
  PictureMaker maker(picture.shape, wanted, kMean, kDeviation);
  maker(Recipe{.rotation = 0.3, .box = still(picture.shape).box}, picture.view(), out.data());  // leaves traces
  maker(recipe, picture.view(), out.data());
  EXPECT_EQ(out.back(), -77.0F) << "written beyond the end";
  out.pop_back();
  maker.stream(true);  // what is aligned
  std::vector<float> memory(out.size() + 16);
  void* aligned = memory.data();
  std::size_t bytes = memory.size() * sizeof(float);
  auto* streamed = static_cast<float*>(std::align(64, out.size() * sizeof(float), aligned, bytes));
  maker(recipe, picture.view(), streamed);
  EXPECT_TRUE(std::equal(out.begin(), out.end(), streamed));
  // What is not needed is not looked at.
  const Region part = maker.needed(recipe);
  Bytes pixels;
  for (std::int64_t y = part.top; y < part.bottom(); ++y)
    pixels.insert(pixels.end(), picture.view().at(y, part.left), picture.view().at(y, part.right()));
  std::vector<float> from_part(out.size());
  const std::int64_t channels = picture.shape.channels;
  maker(recipe, {.pixels = pixels.data(), .region = part, .line = part.width * channels, .channels = channels},
        from_part.data());
  EXPECT_EQ(from_part, out);
  return out;
}
std::vector<float> make(const Recipe& recipe, const Picture& picture) { return make(recipe, picture, picture.shape); }

oracle::PictureChange to_change(const Recipe& r) {
  const double degrees = 180 / std::acos(-1.0);
  return {.mirror = r.mirror,
          .rotation = r.rotation * degrees,
          .shear = r.shear * degrees,
          .shift_y = r.shift_y,
          .shift_x = r.shift_x,
          .zoom_y = r.zoom_y,
          .zoom_x = r.zoom_x,
          .box_top = r.box.top,
          .box_left = r.box.left,
          .box_height = r.box.height,
          .box_width = r.box.width,
          .brightness = r.brightness,
          .contrast = r.contrast,
          .saturation = r.saturation,
          .channel_shift = r.channel_shift,
          .cut_top = r.cut_top,
          .cut_bottom = r.cut_bottom,
          .cut_left = r.cut_left,
          .cut_right = r.cut_right};
}

// Largest difference in normalised units; 255 grey levels are 5 of them. A place is known to 2e-5 pixels, over which
// noise may change by 255 levels a pixel.
constexpr double kError = 4e-4;

void expect_oracle(const Recipe& recipe, const Picture& picture, const ImageShape& wanted, const std::string& what) {
  const auto actual = make(recipe, picture, wanted);
  const auto expected =
      oracle::change(picture.array(), to_change(recipe), wanted.height, wanted.width, kMean, kDeviation);
  ASSERT_EQ(static_cast<std::int64_t>(actual.size()), expected.size());
  double worst = 0;
  for (std::int64_t i = 0; i < expected.size(); ++i)
    worst = std::max(worst, std::abs(actual[static_cast<std::size_t>(i)] - expected[i]));
  EXPECT_LE(worst, kError) << what;
}

TEST(AugmentedPicture, IsTheOracle) {
  const std::vector<std::string> texts = {
      "none",
      "flip",
      "rotate=180",
      "zoom=0.5",
      "shear=40",
      "shift=0.7",
      "crop=3",
      "resized-crop=0.08:1",
      "channel-shift=200",
      "jitter=0.9:0:0",
      "jitter=0:0.9:0",
      "jitter=0:0:2",
      "jitter=0.5:0.5:0.5,flip",
      "cutout=5",
      "flip,zoom=0.2,shift=0.1,resized-crop=0.2:0.9,channel-shift=30,cutout=4",
      "flip,rotate=20,zoom=0.2,shear=10,shift=0.1,crop=2,jitter=0.4:0.4:0.4,channel-shift=30,cutout=4"};
  struct Shapes {
    ImageShape stored, wanted;
  };
  for (const auto& [stored, wanted] :
       {Shapes{{28, 28, 1}, {28, 28, 1}}, Shapes{{17, 23, 3}, {17, 23, 3}}, Shapes{{17, 23, 3}, {11, 9, 3}},
        Shapes{{5, 6, 3}, {13, 20, 3}}, Shapes{{1, 1, 3}, {3, 2, 3}}, Shapes{{1, 7, 1}, {1, 7, 1}},
        Shapes{{6, 1, 3}, {6, 1, 3}}, Shapes{{40, 90, 3}, {24, 64, 3}}, Shapes{{9, 70, 1}, {7, 64, 1}},
        Shapes{{64, 120, 3}, {20, 20, 3}}})
    for (const auto& text : texts)
      for (std::int64_t sample = 0; sample < 6; ++sample) {
        const auto recipe = draw_recipe(parse_augmentation(text), key(sample), stored, wanted);
        expect_oracle(recipe, Picture(stored, sample), wanted,
                      fmt::format("{}x{}x{} to {}x{}, {}, sample {}", stored.height, stored.width, stored.channels,
                                  wanted.height, wanted.width, text, sample));
      }
}

TEST(AugmentedPicture, TheMiddleAndMirrorsAreExact) {
  const Picture picture({9, 12, 3});
  const auto plain = make(still(picture.shape), picture);
  const auto at = [](const std::vector<float>& values, std::int64_t width, std::int64_t y, std::int64_t x,
                     std::int64_t c) { return values[static_cast<std::size_t>((y * width + x) * 3 + c)]; };
  for (std::int64_t i = 0; i < picture.shape.size(); ++i) {
    const auto c = static_cast<std::size_t>(i % 3);
    EXPECT_NEAR(plain[static_cast<std::size_t>(i)],
                (picture.pixels[static_cast<std::size_t>(i)] / 255.0 - kMean[c]) / kDeviation[c], 2e-6);
  }
  Recipe mirror = still(picture.shape);
  mirror.mirror = true;
  const auto mirrored = make(mirror, picture);
  // The part of 6 x 7 pixels from row 1, column 2.
  const auto middle = make(draw_recipe({}, key(0), picture.shape, {6, 7, 3}), picture, {6, 7, 3});
  // A border of two pixels above and to the left.
  Recipe moved = still(picture.shape);
  moved.box.top = moved.box.left = -2;
  const auto padded = make(moved, picture);
  for (std::int64_t y = 0; y < 9; ++y)
    for (std::int64_t x = 0; x < 12; ++x)
      for (std::int64_t c = 0; c < 3; ++c) {
        EXPECT_EQ(at(mirrored, 12, y, x, c), at(plain, 12, y, 11 - x, c));
        EXPECT_EQ(at(padded, 12, y, x, c),
                  at(plain, 12, std::max<std::int64_t>(0, y - 2), std::max<std::int64_t>(0, x - 2), c));
        if (y < 6 && x < 7) {
          EXPECT_EQ(at(middle, 7, y, x, c), at(plain, 12, y + 1, x + 2, c));
        }
      }
}

TEST(AugmentedPicture, QuarterTurnsMovePixels) {
  const Picture picture({8, 8, 3});
  const auto plain = make(still(picture.shape), picture);
  Recipe turn = still(picture.shape);
  turn.rotation = std::acos(-1.0) / 2;
  const auto turned = make(turn, picture);
  turn.rotation *= 2;
  const auto twice = make(turn, picture);
  for (std::int64_t y = 0; y < 8; ++y)
    for (std::int64_t x = 0; x < 8; ++x)
      for (std::int64_t c = 0; c < 3; ++c) {
        const auto at = [&](std::int64_t row, std::int64_t column) {
          return plain[static_cast<std::size_t>((row * 8 + column) * 3 + c)];
        };
        const auto here = static_cast<std::size_t>((y * 8 + x) * 3 + c);
        EXPECT_NEAR(turned[here], at(7 - x, y), 1e-5);
        EXPECT_NEAR(twice[here], at(7 - y, 7 - x), 1e-5);
      }
}

TEST(AugmentedPicture, LevelsAreCutOffOnce) {
  Picture picture({2, 2, 1});
  picture.pixels = {0, 100, 200, 255};
  Recipe recipe = still(picture.shape);
  recipe.brightness = 2;
  recipe.channel_shift = -150;
  const auto levels = make(recipe, picture);
  const std::array<double, 4> expected{0, 50, 250, 255};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(levels[i], (expected[i] / 255 - kMean[0]) / kDeviation[0], 1e-5);
}

}  // namespace
}  // namespace brigade::dataset::testing
