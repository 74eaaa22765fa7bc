// The grammar is a table of words; parser, printer and help walk over it.
#include <algorithm>
#include <charconv>
#include <numeric>
#include <span>
#include <string_view>
#include <vector>

#include "brigade/core/error.hpp"
#include "brigade/dataset/augment.hpp"

namespace brigade::dataset {
namespace {

struct Value {
  double Augmentation::*member;
  double low, high;    // allowed, both ends included
  bool whole = false;  // an integer
};

struct Word {
  std::string_view name, form, meaning;
  bool Augmentation::*flag;   // a word without values
  std::vector<Value> values;  // separated by colons
};

const std::vector<Word>& words() {
  using A = Augmentation;
  constexpr double kTiny = 1e-6;
  static const std::vector<Word> table = {
      {"flip", "flip", "left to right, every second picture", &A::flip, {}},
      {"rotate", "rotate=DEGREES", "up to so many degrees", nullptr, {{&A::rotate, kTiny, 180}}},
      {"zoom", "zoom=Z", "height and width, each by a factor in 1-Z..1+Z", nullptr, {{&A::zoom, kTiny, 0.99}}},
      {"shear", "shear=DEGREES", "up to so many degrees", nullptr, {{&A::shear, kTiny, 80}}},
      {"shift", "shift=F", "each way by up to F of the size", nullptr, {{&A::shift, kTiny, 1}}},
      {"crop",
       "crop=PIXELS",
       "a random part, after a border of so many pixels was added",
       nullptr,
       {{&A::crop, 0, 4096, true}}},
      {"resized-crop",
       "resized-crop=LOW:HIGH",
       "a random part of LOW to HIGH of the area, resized",
       nullptr,
       {{&A::area_min, 0.001, 1}, {&A::area_max, 0.001, 1}}},
      {"jitter",
       "jitter=B:C:S",
       "brightness, contrast, saturation by factors in 1-B..1+B, ...",
       nullptr,
       {{&A::brightness, 0, 10}, {&A::contrast, 0, 10}, {&A::saturation, 0, 10}}},
      {"channel-shift",
       "channel-shift=LEVELS",
       "all grey levels by up to LEVELS of 255",
       nullptr,
       {{&A::channel_shift, kTiny, 255}}},
      {"cutout", "cutout=PIXELS", "a square of that side set to the mean", nullptr, {{&A::cutout, 1, 65536, true}}},
      {"mixup",
       "mixup=ALPHA",
       "pairs of pictures and labels mixed, shares from Beta(ALPHA, ALPHA)",
       nullptr,
       {{&A::mixup, 0.05, 4}}},
      {"label-smoothing",
       "label-smoothing=E",
       "share E of the target spread over all classes",
       nullptr,
       {{&A::label_smoothing, kTiny, 0.99}}},
  };
  return table;
}

bool is_set(const Word& word, const Augmentation& a) {
  const Augmentation nothing;
  if (word.flag != nullptr) return a.*word.flag;
  return std::ranges::any_of(word.values, [&](const Value& v) { return a.*v.member != nothing.*v.member; });
}

// Levenshtein's distance: insertions, deletions and replacements.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    std::string_view part = text.substr(0, end);
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    parts.push_back(part);
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

const Word& find_word(std::string_view name) {
  const auto& table = words();
  const auto found = std::ranges::find(table, name, &Word::name);
  if (found != table.end()) return *found;
  const auto& nearest = std::ranges::min(table, {}, [&](const Word& word) { return distance(name, word.name); });
  throw OptionError(fmt::format("--augment does not know '{}' (the nearest word is {}). Write {}?", name, nearest.name,
                                nearest.form));
}

void parse_value(const Word& word, const Value& value, std::string_view text, Augmentation& a) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  require<OptionError>(is_number, "--augment {}: '{}' is no number. Write {}?", word.name, text, word.form);
  require<OptionError>(number >= value.low && number <= value.high, "--augment {}: {} is not in {} to {}. Write {}?",
                       word.name, text, value.low, value.high, word.form);
  require<OptionError>(!value.whole || number == static_cast<double>(static_cast<std::int64_t>(number)),
                       "--augment {}: {} is no whole number. Write {}?", word.name, text, word.form);
  a.*value.member = number;
}

void parse_word(std::string_view text, Augmentation& a) {
  const std::size_t equals = text.find('=');
  const Word& word = find_word(text.substr(0, equals));
  require<OptionError>(!is_set(word, a), "--augment names {} twice", word.name);
  if (word.flag != nullptr) {
    require<OptionError>(equals == std::string_view::npos, "--augment {} takes no value", word.name);
    a.*word.flag = true;
    return;
  }
  require<OptionError>(equals != std::string_view::npos, "--augment {} needs a value. Write {}?", word.name, word.form);
  const auto values = split(text.substr(equals + 1), ':');
  require<OptionError>(values.size() == word.values.size(), "--augment {} needs {} value{} ({} given). Write {}?",
                       word.name, word.values.size(), word.values.size() == 1 ? "" : "s, separated by colons",
                       values.size(), word.form);
  for (std::size_t i = 0; i < values.size(); ++i) parse_value(word, word.values[i], values[i], a);
}

}  // namespace

Augmentation parse_augmentation(const std::string& text) {
  Augmentation a;
  if (text.empty() || text == "none") return a;
  for (const std::string_view part : split(text, ',')) parse_word(part, a);
  require<OptionError>(a.area_min <= a.area_max, "--augment resized-crop: {} is above {}. Write them the other way?",
                       a.area_min, a.area_max);
  require<OptionError>(a.crop < 0 || a.area_max == 0,
                       "--augment crop and resized-crop are two ways to take a part. "
                       "Leave one out?");
  return a;
}

std::string to_string(const Augmentation& a) {
  std::string text;
  for (const Word& word : words()) {
    if (!is_set(word, a)) continue;
    text += fmt::format("{}{}", text.empty() ? "" : ",", word.name);
    for (std::size_t i = 0; i < word.values.size(); ++i)
      text += fmt::format("{}{}", i == 0 ? '=' : ':', a.*word.values[i].member);
  }
  return text.empty() ? "none" : text;
}

std::string augmentation_help() {
  std::string text;
  for (const Word& word : words()) text += fmt::format("  {:<24}{}\n", word.form, word.meaning);
  return text;
}

}  // namespace brigade::dataset
