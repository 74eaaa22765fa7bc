#include "fuzz/formats.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "../src/dataset/npz_file.hpp"
#include "../src/dataset/resize.hpp"
#include "../src/dataset/shard.hpp"
#include "../src/dataset/sources.hpp"
#include "../src/dataset/tfrecord.hpp"

namespace brigade::dataset::fuzz {
namespace {

namespace fs = std::filesystem;
using Input = std::span<const std::uint8_t>;

constexpr std::int64_t kMostSamples = 16;  // that are looked at

// A directory in memory where there is such a thing, one for the process.
class Scratch {
 public:
  Scratch() {
    const fs::path memory = "/dev/shm";
    path_ =
        (fs::is_directory(memory) ? memory : fs::temp_directory_path()) / fmt::format("brigade-fuzz-{}", ::getpid());
    fs::create_directories(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  fs::path write(const std::string& name, Input bytes) const {
    std::ofstream(path_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return path_ / name;
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

const Scratch& scratch() {
  static const Scratch directory;
  return directory;
}

template <class Work>
bool allowed_to_fail(Work&& work) {
  try {
    work();
    return true;
  } catch (const Error&) {
    return false;
  }
}

// The first byte, which says how the rest is used; taken away from `input`.
std::uint8_t take_byte(Input& input) {
  if (input.empty()) return 0;
  const std::uint8_t byte = input.front();
  input = input.subspan(1);
  return byte;
}

void read_samples(const Sources& sources) {
  std::vector<std::byte> bytes;
  for (const auto& [split, source] : sources) {
    const auto classes = static_cast<std::int64_t>(source->classes().size());
    const auto pixels = source->pixels();
    for (std::int64_t i = 0; i < std::min(kMostSamples, source->samples()); ++i) {
      require(source->label(i) < classes, "{} has no class", source->name(i));
      source->fetch(i, bytes);
      if (pixels && static_cast<std::int64_t>(bytes.size()) != pixels->size()) std::abort();  // what others rely on
    }
  }
}

bool read_image(Input input) {
  // Where the region is that is wanted of an image of 24x24.
  const std::int64_t top = take_byte(input) % 24, left = take_byte(input) % 24;
  ImagePart part;
  return allowed_to_fail([&] {
    const auto file = std::as_bytes(input);
    for (const std::int64_t channels : {3, 1}) {
      const auto view =
          decode_to_shape(file, {24, 24, channels}, Resize::shorter_crop, {top, left, 24 - top, 24 - left}, part);
      if (view.region.bottom() < 24 || view.region.right() < 24) std::abort();
    }
    const RgbImage image = decode_image(file);
    if (static_cast<std::int64_t>(image.pixels.size()) != 3 * image.height * image.width) std::abort();
  });
}

bool read_idx(Input input) {
  const std::size_t labels = std::min<std::size_t>(take_byte(input), input.size());
  scratch().write("train-labels-idx1-ubyte", input.first(labels));
  scratch().write("train-images-idx3-ubyte", input.subspan(labels));
  return allowed_to_fail([] { read_samples(open_idx(scratch().path())); });
}

bool read_cifar(Input input) {
  scratch().write("data_batch_1.bin", input);
  return allowed_to_fail([] { read_samples(open_cifar(scratch().path())); });
}

bool read_tar(Input input) {
  const auto file = scratch().write("fuzz.tar", input);
  return allowed_to_fail([&] { read_samples(open_tar(file)); });
}

bool read_npz(Input input) {
  if (take_byte(input) % 2 == 0)  // a header alone: an archive has checksums
    return allowed_to_fail([&] { parse_npy(std::as_bytes(input)).item_bytes(); });
  const auto file = scratch().write("fuzz.npz", input);
  return allowed_to_fail([&] { read_samples(open_npz(file)); });
}

// A file, or a record that is given the checksums it needs to be looked into.
bool read_tfrecord(Input input) {
  std::vector<std::uint8_t> file;
  if (take_byte(input) % 2 == 0) {
    const auto put = [&](std::uint64_t value, int bytes) {
      for (int i = 0; i < bytes; ++i) file.push_back(static_cast<std::uint8_t>(value >> 8 * i));
    };
    put(input.size(), 8);
    put(tfrecord_checksum(std::as_bytes(std::span(file))), 4);
    file.insert(file.end(), input.begin(), input.end());
    put(tfrecord_checksum(std::as_bytes(input)), 4);
    input = file;
  }
  const auto path = scratch().write("fuzz.tfrecord", input);
  return allowed_to_fail([&] { read_samples(open_tfrecord(path)); });
}

bool read_shard(Input input) {
  const auto path = scratch().write("fuzz.h5", input);
  return allowed_to_fail([&] {
    const MappedShard shard{ShardFile(path)};
    const ShardFile file(path);
    std::vector<std::uint8_t> bytes, unused;
    for (std::int64_t row = 0; row < std::min(kMostSamples, file.header().samples); ++row) {
      const auto name = shard.name(row);
      file.verify(row, shard.sample(row, unused), [&] { return name; });
      bytes.resize(file.sample_bytes(row));
      file.read_rows(row, 1, bytes.data());
      file.verify(row, std::as_bytes(std::span(bytes)), [&] { return file.read_name(row); });
    }
  });
}

}  // namespace

const std::vector<Format>& formats() {
  static const std::vector<Format> all{{"cifar", read_cifar},      {"idx", read_idx},     {"image", read_image},
                                       {"npz", read_npz},          {"shard", read_shard}, {"tar", read_tar},
                                       {"tfrecord", read_tfrecord}};
  return all;
}

}  // namespace brigade::dataset::fuzz
