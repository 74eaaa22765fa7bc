#include "options.hpp"

#include <fmt/ranges.h>

#include <boost/any.hpp>
#include <fstream>
#include <sstream>

namespace brigade::cli {
namespace {

constexpr unsigned kColumns = 100;  // of --help

std::string value_text(const boost::any& value) {
  if (const auto* text = boost::any_cast<std::string>(&value)) return *text;
  if (const auto* number = boost::any_cast<std::int64_t>(&value)) return std::to_string(*number);
  if (const auto* number = boost::any_cast<std::uint64_t>(&value)) return std::to_string(*number);
  if (const auto* number = boost::any_cast<int>(&value)) return std::to_string(*number);
  if (const auto* number = boost::any_cast<float>(&value)) return fmt::format("{}", *number);
  if (const auto* number = boost::any_cast<double>(&value)) return fmt::format("{}", *number);
  if (const auto* flag = boost::any_cast<bool>(&value)) return *flag ? "yes" : "no";
  if (const auto* list = boost::any_cast<std::vector<std::string>>(&value))
    return fmt::format("{}", fmt::join(*list, " "));
  return "?";
}

}  // namespace

Options::Options(std::string command, std::string summary)
    : command_(std::move(command)), summary_(std::move(summary)) {
  section("Options");
  sections_.back().add_options()("help,h", "print this text and exit");
  optional("config", config_, "FILE: read options from an INI file (name = value); the command line wins");
}

Options& Options::section(const std::string& heading) {
  sections_.emplace_back(heading, kColumns);
  return *this;
}

Options& Options::declare(const char* name, const po::value_semantic* value, const std::string& help) {
  sections_.back().add_options()(name, value, help.c_str());
  return *this;
}

Options& Options::required(const char* name, std::filesystem::path& variable, const std::string& help) {
  required_.emplace_back(name);
  return optional(name, variable, help);
}

// Not po::value<path>: that reads a path up to its first space.
Options& Options::optional(const char* name, std::filesystem::path& variable, const std::string& help) {
  return text(
      name, [&variable](const std::string& given) { variable = given; }, help);
}

Options& Options::optional(const char* name, std::string& variable, const std::string& help) {
  return declare(name, po::value<std::string>(&variable), help);
}

Options& Options::text(const char* name, std::function<void(const std::string&)> assign, const std::string& help) {
  return declare(name, po::value<std::string>()->notifier(std::move(assign)), help);
}

Options& Options::text(const char* name, const std::string& by_default, std::function<void(const std::string&)> assign,
                       const std::string& help) {
  return declare(name, po::value<std::string>()->default_value(by_default)->notifier(std::move(assign)), help);
}

Options& Options::repeated(const char* name, std::vector<std::string>& variable, const std::string& help) {
  return declare(name, po::value<std::vector<std::string>>(&variable)->composing(), help);
}

Options& Options::flag(const char* name, bool& variable, const std::string& help) {
  return declare(name, po::bool_switch(&variable), help);
}

bool Options::parse(const std::vector<std::string>& arguments, bool print) {
  po::options_description all("", kColumns);
  for (const auto& section : sections_) all.add(section);
  try {
    po::variables_map values;
    po::store(po::command_line_parser(arguments)
                  .options(all)
                  .positional({})
                  .style(po::command_line_style::unix_style & ~po::command_line_style::allow_guessing)
                  .run(),
              values);
    if (values.count("help") != 0) {
      if (print) {
        fmt::print("brigade {} - {}\n", command_, summary_);
        std::ostringstream text;
        text << all;
        fmt::print("{}", text.str());
      }
      return false;
    }
    if (values.count("config") != 0) {
      const auto file = values["config"].as<std::string>();
      std::ifstream in(file);
      require<OptionError>(in.good(), "cannot open the configuration file {}", file);
      po::store(po::parse_config_file(in, all), values);
    }
    po::notify(values);
    for (const auto& name : required_)
      require<OptionError>(values.count(name) != 0, "--{} is missing. See `brigade {} --help`?", name, command_);
    for (const auto& [name, value] : values) {
      resolved_[name] = value_text(value.value());
      if (!value.defaulted()) given_.insert(name);
    }
  } catch (const po::error& error) {
    throw OptionError(fmt::format("{}. See `brigade {} --help`?", error.what(), command_));
  }
  return true;
}

std::size_t parse_bytes(const std::string& text, const char* option) {
  std::size_t used = 0;
  double number = -1;
  try {
    number = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  const std::string unit = text.substr(used);
  double factor = 0;
  if (unit.empty() || unit == "B") factor = 1;
  if (unit == "K" || unit == "KiB") factor = 0x1p10;
  if (unit == "M" || unit == "MiB") factor = 0x1p20;
  if (unit == "G" || unit == "GiB") factor = 0x1p30;
  require<OptionError>(used > 0 && factor > 0 && number > 0 && number * factor < 0x1p62,
                       "--{} '{}' is no size. Write bytes, or a number with K, M or G?", option, text);
  return static_cast<std::size_t>(number * factor);
}

}  // namespace brigade::cli
