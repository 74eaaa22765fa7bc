// Formats are made once and kept: `directory` holds files/, tfrecord/, raw/ and encoded/, and made-of.txt, which says
// of what. Shards are restartable by themselves; the others are written into <format>.partial, which is renamed.
#include "io_data.hpp"

#include <algorithm>

#include "brigade/communication/require_same.hpp"
#include "brigade/core/atomic_file.hpp"
#include "brigade/core/error.hpp"
#include "brigade/dataset/export.hpp"
#include "brigade/dataset/source_reader.hpp"
#include "brigade/training/same_dataset.hpp"

namespace brigade::benchmarks {
namespace {

namespace fs = std::filesystem;
using communication::Communicator;

constexpr const char* kSplit = "train";
constexpr std::int64_t kRecordFileBytes = std::int64_t{128} << 20;

bool is_shards(IoFormat format) { return format == IoFormat::raw || format == IoFormat::encoded; }

std::vector<fs::path> files_below(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::ranges::sort(files);
  return files;
}

std::vector<std::string> directory_names(const std::vector<std::string>& classes) {
  std::vector<std::string> names;
  for (const auto& name : classes) names.push_back(dataset::directory_name(name));
  return names;
}

dataset::Sources open_at(const fs::path& path) {
  dataset::SourceOptions options;
  options.path = path;
  return dataset::open_sources(options);
}

dataset::Sources open_images(const IoDataOptions& options) {
  if (options.synthetic.samples > 0) return {{kSplit, dataset::synthetic_source(options.synthetic)}};
  dataset::Sources sources = open_at(options.source);
  const auto train = sources.find(kSplit);
  require(train != sources.end(), "{} holds no split '{}'", options.source.string(), kSplit);
  return {*train};
}

std::string words(const IoDataOptions& options, const dataset::Sources& sources) {
  const auto& source = *sources.at(kSplit);
  const std::string size = options.image_size == 0 ? "" : fmt::format(", resized to {0}x{0}", options.image_size);
  const auto& synthetic = options.synthetic;
  if (synthetic.samples > 0)
    return fmt::format("{} synthetic JPEG images of {}x{}, seed {}{}", synthetic.samples, synthetic.height,
                       synthetic.width, synthetic.seed, size);
  return fmt::format("{} images of {}{}", source.samples(), fs::absolute(options.source).string(), size);
}

// How many records make a file of a good size, judged by a few samples.
std::int64_t records_per_file(const dataset::Source& source) {
  constexpr std::int64_t kJudged = 16;
  std::vector<std::byte> bytes;
  std::int64_t sum = 0, judged = 0;
  for (; judged < std::min(kJudged, source.samples()); ++judged) {
    source.fetch(judged * source.samples() / kJudged % source.samples(), bytes);
    sum += static_cast<std::int64_t>(bytes.size());
  }
  return std::max<std::int64_t>(1, kRecordFileBytes * judged / std::max<std::int64_t>(1, sum));
}

}  // namespace

const char* name_of(IoFormat format) {
  constexpr const char* kNames[] = {"files", "tfrecord", "raw", "encoded"};
  return kNames[static_cast<std::size_t>(format)];
}

IoData::IoData(Communicator& communicator, const IoDataOptions& options, std::span<const IoFormat> formats)
    : resize_(options.resize) {
  if (options.dataset.empty()) {
    make(communicator, options, formats);
    return;
  }
  collectively(communicator, "opening the dataset", [&] { use(options, formats); });
  training::require_same_dataset(communicator, options.dataset, manifest_);
}

void IoData::use(const IoDataOptions& options, std::span<const IoFormat> formats) {
  manifest_ = dataset::read_manifest(options.dataset);
  const auto own = manifest_.layout == dataset::Layout::raw ? IoFormat::raw : IoFormat::encoded;
  for (const IoFormat format : formats)
    require<OptionError>(format == own,
                         "{} holds {} shards, not {}. Use --source {} --work DIR, where other formats are made of it?",
                         options.dataset.string(), name_of(own), name_of(format), options.dataset.string());
  formats_ = {own};
  samples_ = manifest_.split(kSplit).samples();
  description_ = fmt::format("{} images of the dataset {}", samples_, options.dataset.string());
  auto& made = made_[static_cast<std::size_t>(own)];
  made.path = options.dataset;
  made.classes = directory_names(manifest_.classes);
  for (const auto& shard : manifest_.split(kSplit).shards) made.files.push_back(options.dataset / shard.file);
}

void IoData::make(Communicator& communicator, const IoDataOptions& options, std::span<const IoFormat> formats) {
  dataset::Sources sources;
  collectively(communicator, "opening the images", [&] {
    sources = open_images(options);
    samples_ = sources.at(kSplit)->samples();
    description_ = words(options, sources);
    std::error_code error;
    fs::create_directories(options.directory, error);
    require(!error, "cannot make the directory {} ({})", options.directory.string(), error.message());
    const auto made_of = options.directory / "made-of.txt";
    const std::string before = fs::exists(made_of) ? read_file(made_of) : description_ + "\n";
    require<OptionError>(before == description_ + "\n", "{} holds formats of {} not of {}. Use another --work?",
                         options.directory.string(), before.substr(0, before.find('\n')), description_);
  });
  communication::require_same(communicator, {{"the number of images", fmt::format("{}", samples_)}}, ExitCode::bad_data,
                              "Is --source the same on every node?");
  communicator.barrier("comparing what formats are made of");
  collectively(communicator, "saying what formats are made of", [&] {
    if (communicator.rank() == 0) write_file(options.directory / "made-of.txt", description_ + "\n");
  });
  formats_.assign(formats.begin(), formats.end());
  // The shape of all formats, and mean and deviation of their pixels, come from shards: raw ones, if none are wanted.
  if (std::ranges::none_of(formats, is_shards)) make_shards(communicator, sources, options, IoFormat::raw);
  for (const IoFormat format : formats) {
    if (is_shards(format))
      make_shards(communicator, sources, options, format);
    else
      make_files(communicator, *sources.at(kSplit), options.directory / name_of(format), format);
    collectively(communicator, "listing files", [&] { list(format, options.directory / name_of(format)); });
  }
}

void IoData::make_shards(Communicator& communicator, const dataset::Sources& sources, const IoDataOptions& options,
                         IoFormat format) {
  dataset::IngestOptions ingest{.directory = options.directory / name_of(format),
                                .layout = format == IoFormat::raw ? dataset::Layout::raw : dataset::Layout::encoded,
                                .image_size = options.image_size,
                                .resize = options.resize,
                                .threads = options.threads,
                                .rank = communicator.rank(),
                                .size = communicator.size(),
                                .progress = {}};
  bool there = false;
  collectively(communicator, "looking for shards", [&] {
    there = fs::exists(ingest.directory / "manifest.json");
    if (there) manifest_ = dataset::read_manifest(ingest.directory);
  });
  if (there) return;
  collectively(communicator, "making shards", [&] {
    const auto result = dataset::ingest_shards(sources, ingest);
    require(result.bad.empty(), "{} does not decode ({}); formats can only be compared on the same images",
            result.bad.empty() ? "" : result.bad.front().name, result.bad.empty() ? "" : result.bad.front().why);
  });
  collectively(communicator, "writing the manifest", [&] {
    if (communicator.rank() == 0) dataset::finish_ingest(sources, ingest);
  });
  collectively(communicator, "reading the manifest", [&] { manifest_ = dataset::read_manifest(ingest.directory); });
}

void IoData::make_files(Communicator& communicator, const dataset::Source& source, const fs::path& directory,
                        IoFormat format) const {
  const auto partial = fs::path(directory) += ".partial";
  bool there = false;
  collectively(communicator, "looking for files", [&] { there = fs::exists(directory); });
  communicator.barrier("looking for files");
  if (there) return;
  collectively(communicator, "making room", [&] {
    std::error_code error;
    if (communicator.rank() == 0) fs::remove_all(partial, error);
    require(!error, "cannot remove {} ({})", partial.string(), error.message());
  });
  collectively(communicator, "making files", [&] {
    const dataset::ExportShare share{.rank = communicator.rank(), .size = communicator.size()};
    if (format == IoFormat::files)
      dataset::write_image_files(source, partial, share);
    else
      dataset::write_tfrecords(source, partial, records_per_file(source), share);
  });
  collectively(communicator, "naming files", [&] {
    std::error_code error;
    if (communicator.rank() == 0) fs::rename(partial, directory, error);
    require(!error, "cannot rename {} ({})", partial.string(), error.message());
  });
}

void IoData::list(IoFormat format, const fs::path& path) {
  auto& made = made_[static_cast<std::size_t>(format)];
  made.path = path;
  made.files = files_below(path);
  if (is_shards(format)) {
    made.classes = directory_names(manifest_.classes);
    std::erase_if(made.files, [](const fs::path& file) { return file.extension() != ".h5"; });
    return;
  }
  const auto source = open_at(path).at(kSplit);
  made.classes = directory_names(source->classes());
  require(source->samples() == samples_, "{} holds {} images (expected {}). Remove it, to have it made again?",
          path.string(), source->samples(), samples_);
}

const std::vector<std::string>& IoData::classes(IoFormat format) const { return made(format).classes; }
const std::vector<fs::path>& IoData::files(IoFormat format) const { return made(format).files; }

IoReaders IoData::open(Communicator& communicator, IoFormat format, const dataset::ReaderOptions& reader,
                       int count) const {
  const fs::path& path = made(format).path;
  IoReaders opened{.readers = {}, .mode = "source"};
  if (is_shards(format)) {
    dataset::Manifest manifest;
    collectively(communicator, "reading the manifest", [&] { manifest = dataset::read_manifest(path); });
    const dataset::SplitFiles files(path, manifest, kSplit, reader, communicator, communicator.node());
    opened.mode = name_of(files.mode());
    for (int i = 0; i < count; ++i) opened.readers.push_back(files.reader());
    return opened;
  }
  collectively(communicator, "opening the files", [&] {
    const auto source = open_at(path).at(kSplit);
    for (int i = 0; i < count; ++i)
      opened.readers.push_back(dataset::open_source_reader(source, manifest_.image, resize_));
  });
  return opened;
}

}  // namespace brigade::benchmarks
