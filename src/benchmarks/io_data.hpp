// The same images in several formats.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "brigade/communication/communicator.hpp"
#include "brigade/dataset/ingest.hpp"
#include "brigade/dataset/reader.hpp"
#include "brigade/dataset/synthetic.hpp"

namespace brigade::benchmarks {

enum class IoFormat : std::uint8_t { files, tfrecord, raw, encoded };
const char* name_of(IoFormat format);

// What the images are; exactly one of the three.
struct IoDataOptions {
  std::filesystem::path dataset = {};       // shards, as they are trained on
  std::filesystem::path source = {};        // anything that `brigade shard` reads
  dataset::SyntheticImages synthetic = {};  // samples > 0
  std::filesystem::path directory = {};     // where formats are made of source or synthetic
  std::int64_t image_size = 0;              // of what is made; 0: as the first image
  dataset::Resize resize = dataset::Resize::squash;
  int threads = 1;  // that decode, while shards are made
};

struct IoReaders {
  std::vector<std::unique_ptr<dataset::SplitReader>> readers;
  std::string mode;  // how they read; "source" if these are no shards
};

class IoData {
 public:
  // Makes the formats that are wanted and not there yet; all ranks share the work. Throws OptionError or DataError, the
  // same on all ranks.
  IoData(communication::Communicator& communicator, const IoDataOptions& options, std::span<const IoFormat> formats);

  const std::string& description() const { return description_; }
  const std::vector<IoFormat>& formats() const { return formats_; }
  dataset::ImageShape image() const { return manifest_.image; }
  const dataset::Manifest& manifest() const { return manifest_; }  // of mean and deviation
  std::int64_t samples() const { return samples_; }
  // The class of label k of a format, as the name of a directory: formats may number classes differently.
  const std::vector<std::string>& classes(IoFormat format) const;
  // Readers for as many threads. `reader` is for shards. Collective.
  IoReaders open(communication::Communicator& communicator, IoFormat format, const dataset::ReaderOptions& reader,
                 int count) const;
  // Everything the format consists of.
  const std::vector<std::filesystem::path>& files(IoFormat format) const;

 private:
  struct Made {
    std::filesystem::path path;
    std::vector<std::string> classes;
    std::vector<std::filesystem::path> files;
  };
  void use(const IoDataOptions& options, std::span<const IoFormat> formats);
  void make(communication::Communicator& communicator, const IoDataOptions& options, std::span<const IoFormat> formats);
  void make_shards(communication::Communicator& communicator, const dataset::Sources& sources,
                   const IoDataOptions& options, IoFormat format);
  void make_files(communication::Communicator& communicator, const dataset::Source& source,
                  const std::filesystem::path& directory, IoFormat format) const;
  void list(IoFormat format, const std::filesystem::path& path);
  const Made& made(IoFormat format) const { return made_[static_cast<std::size_t>(format)]; }

  std::string description_;
  std::vector<IoFormat> formats_;
  dataset::Manifest manifest_;
  dataset::Resize resize_ = dataset::Resize::squash;
  std::int64_t samples_ = 0;
  Made made_[4];
};

}  // namespace brigade::benchmarks
