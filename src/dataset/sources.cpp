#include "sources.hpp"

#include <algorithm>
#include <array>

namespace brigade::dataset {
namespace {

struct Format {
  const char *name, *help, *looked_for;
  bool (*recognises)(const std::filesystem::path& path);
  Sources (*open)(const std::filesystem::path& path);
};

// "auto" asks in this order: formats that are told by a file's name, then directories of anything.
constexpr std::array kFormats{
    Format{"brigade", "another dataset", "manifest.json", is_brigade, open_brigade},
    Format{"idx", "MNIST's files, gzip or plain", "train-images-idx3-ubyte[.gz]", is_idx, open_idx},
    Format{"cifar", "CIFAR-10 or -100 binaries", "data_batch_1.bin or train.bin", is_cifar, open_cifar},
    Format{"npz", "numpy arrays x_train, y_train, ...", "FILE.npz", is_npz, open_npz},
    Format{"tar", "WebDataset archives: key.jpg and key.cls or key.json", "*.tar", is_tar, open_tar},
    Format{"tfrecord", "tf.Example with JPEG or PNG", "*.tfrecord", is_tfrecord, open_tfrecord},
    Format{"list", "a text file, an image's path and label a line", "FILE.txt or train.txt", is_list, open_list},
    Format{"folder", "a directory per class, perhaps below train/, val/ and test/", "directories of images", is_folder,
           open_folder},
};

const Format& format_of(const SourceOptions& options) {
  const auto& path = options.path;
  if (options.format != "auto") {
    std::string known = "auto";
    for (const auto& format : kFormats) {
      if (options.format == format.name) return format;
      known += fmt::format(", {}", format.name);
    }
    throw OptionError(fmt::format("unknown source format '{}' ({})", options.format, known));
  }
  std::string looked_for;
  for (const auto& format : kFormats) {
    if (format.recognises(path)) return format;
    looked_for += fmt::format("{}{}", looked_for.empty() ? "" : "; ", format.looked_for);
  }
  throw DataError(
      fmt::format("the source {} holds nothing known (looked for {}). Give its --format?", path.string(), looked_for));
}

}  // namespace

std::vector<std::pair<std::string, std::string>> source_formats() {
  std::vector<std::pair<std::string, std::string>> formats;
  for (const auto& format : kFormats) formats.emplace_back(format.name, format.help);
  return formats;
}

Sources open_sources(const SourceOptions& options) {
  require<OptionError>(options.limit_per_class >= 0, "a limit of {} images per class", options.limit_per_class);
  std::error_code error;
  require(std::filesystem::exists(options.path, error), "the source {} cannot be read ({})", options.path.string(),
          error ? error.message() : "there is no such file or directory");
  Sources sources = format_of(options).open(options.path);
  if (!options.classes.empty()) sources = select_classes(sources, options.classes);
  if (options.limit_per_class > 0) sources = limit_per_class(sources, options.limit_per_class, options.seed);
  if (!options.split.empty()) sources = split_by_class(sources, options.split, options.seed);
  return sources;
}

}  // namespace brigade::dataset
