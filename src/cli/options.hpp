// Command-line options: long names, --config FILE (INI), units and defaults in --help.
#pragma once

#include <boost/program_options.hpp>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "brigade/core/error.hpp"

namespace brigade::cli {

namespace po = boost::program_options;

// What a number may be; both ends belong to it.
template <class Number>
struct Range {
  Number least;
  Number most = std::numeric_limits<Number>::max();

  void check(const char* option, Number given) const {
    if (given >= least && given <= most) return;  // a NaN is nowhere
    const bool open = most == std::numeric_limits<Number>::max();
    throw OptionError(fmt::format("--{} {} {}", option, given,
                                  !open        ? fmt::format("is not in {}..{}", least, most)
                                  : least == 0 ? "is negative"
                                  : least == 1 ? "is not positive"
                                               : fmt::format("is less than {}", least)));
  }
};

// The options of one command. Declare with add(), then parse(); afterwards the variables handed to add()
// hold what the user chose.
class Options {
 public:
  Options(std::string command, std::string summary);

  // What is declared next stands under this heading in --help.
  Options& section(const std::string& heading);

  // An option with a default: the variable's present value.
  template <class T>
  Options& add(const char* name, T& variable, const std::string& help) {
    return declare(name, with_default(variable), help);
  }
  // A number of a range.
  template <class Number>
  Options& add(const char* name, Number& variable, std::type_identity_t<Range<Number>> range, const std::string& help) {
    const auto check = [name, range](Number given) { range.check(name, given); };
    return declare(name, with_default(variable)->notifier(check), help);
  }
  // Options without a default.
  Options& required(const char* name, std::filesystem::path& variable, const std::string& help);
  Options& optional(const char* name, std::filesystem::path& variable, const std::string& help);
  Options& optional(const char* name, std::string& variable, const std::string& help);
  // A number; unset unless given.
  template <class Number>
  Options& optional(const char* name, std::optional<Number>& variable, const std::string& help) {
    return declare(name, po::value<Number>()->notifier([&variable](Number given) { variable = given; }), help);
  }
  // May be given several times: --without-pass NAME.
  Options& repeated(const char* name, std::vector<std::string>& variable, const std::string& help);
  // Present or not: --resume.
  Options& flag(const char* name, bool& variable, const std::string& help);
  // Text that `assign` takes or refuses by an OptionError; the second is assigned a default, too.
  Options& text(const char* name, std::function<void(const std::string&)> assign, const std::string& help);
  Options& text(const char* name, const std::string& by_default, std::function<void(const std::string&)> assign,
                const std::string& help);
  // One word of a list. `absent`: words that other builds take, each with a sentence why this one does not.
  template <class Enum>
  Options& choice(const char* name, Enum& variable, const std::vector<std::pair<std::string, Enum>>& words,
                  const std::string& help, const std::map<std::string, std::string>& absent = {}) {
    std::string list, chosen;
    for (const auto& [word, value] : words) {
      list += (list.empty() ? "" : "|") + word;
      if (value == variable) chosen = word;
    }
    const auto assign = [&variable, words, list, name, absent](const std::string& given) {
      for (const auto& [word, value] : words)
        if (word == given) {
          variable = value;
          return;
        }
      if (const auto why = absent.find(given); why != absent.end())
        throw NotCompiled(fmt::format("--{} {} {}", name, given, why->second));
      throw OptionError(fmt::format("--{} '{}' is not one of {}", name, given, list));
    };
    return declare(name, po::value<std::string>()->default_value(chosen)->notifier(assign), list + ": " + help);
  }

  // False if only help was wanted (it is printed if `print`). Throws OptionError.
  bool parse(const std::vector<std::string>& arguments, bool print);

  // All options as they were resolved, for run.json.
  const std::map<std::string, std::string>& resolved() const { return resolved_; }
  // Whether the command line or the configuration file has it, be it with the value that it has by default.
  bool given(const std::string& name) const { return given_.contains(name); }

 private:
  template <class T>
  static po::typed_value<T>* with_default(T& variable) {
    return po::value<T>(&variable)->default_value(variable, fmt::format("{}", variable));
  }
  Options& declare(const char* name, const po::value_semantic* value, const std::string& help);

  std::string command_, summary_, config_;
  std::deque<po::options_description> sections_;
  std::vector<std::string> required_;
  std::map<std::string, std::string> resolved_;
  std::set<std::string> given_;
};

// "64K", "4M", "1G" or a plain number to bytes. Throws OptionError.
std::size_t parse_bytes(const std::string& text, const char* option);

}  // namespace brigade::cli
