// Command-line options: long names, --config FILE (INI), units and defaults in --help.
#pragma once

#include <boost/program_options.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "brigade/core/error.hpp"

namespace brigade::cli {

namespace po = boost::program_options;

// The options of one command. Declare with add(), then parse(); afterwards the variables handed to add()
// hold what the user chose.
class Options {
 public:
  Options(std::string command, std::string summary);

  // An option with a default: the variable's present value.
  template <class T>
  Options& add(const char* name, T& variable, const std::string& help) {
    description_.add_options()(name, po::value<T>(&variable)->default_value(variable), help.c_str());
    return *this;
  }
  // A path, or another option without a default.
  Options& required(const char* name, std::string& variable, const std::string& help);
  Options& optional(const char* name, std::string& variable, const std::string& help);
  // A number; unset unless given.
  template <class Number>
  Options& optional(const char* name, std::optional<Number>& variable, const std::string& help) {
    const auto assign = [&variable](Number given) { variable = given; };
    description_.add_options()(name, po::value<Number>()->notifier(assign), help.c_str());
    return *this;
  }
  // May be given several times: --without-pass NAME.
  Options& repeated(const char* name, std::vector<std::string>& variable, const std::string& help);
  // Present or not: --resume.
  Options& flag(const char* name, bool& variable, const std::string& help);
  // Text that `assign` takes or refuses by an OptionError; empty by default.
  Options& text(const char* name, std::function<void(const std::string&)> assign, const std::string& help);
  // One word of a list.
  template <class Enum>
  Options& choice(const char* name, Enum& variable, const std::vector<std::pair<std::string, Enum>>& words,
                  const std::string& help) {
    std::string list, chosen;
    for (const auto& [word, value] : words) {
      list += (list.empty() ? "" : "|") + word;
      if (value == variable) chosen = word;
    }
    const auto assign = [&variable, words, list, name](const std::string& given) {
      for (const auto& [word, value] : words)
        if (word == given) {
          variable = value;
          return;
        }
      throw OptionError(fmt::format("--{} '{}' is not one of {}", name, given, list));
    };
    description_.add_options()(name, po::value<std::string>()->default_value(chosen)->notifier(assign),
                               (list + ": " + help).c_str());
    return *this;
  }

  // False if only help was wanted (it is printed if `print`). Throws OptionError.
  bool parse(const std::vector<std::string>& arguments, bool print);

  // All options as they were resolved, for run.json.
  const std::map<std::string, std::string>& resolved() const { return resolved_; }

 private:
  std::string command_, summary_, config_;
  po::options_description description_;
  std::vector<std::string> required_;
  std::map<std::string, std::string> resolved_;
};

// "64K", "4M", "1G" or a plain number to bytes. Throws OptionError.
std::size_t parse_bytes(const std::string& text, const char* option);

}  // namespace brigade::cli
