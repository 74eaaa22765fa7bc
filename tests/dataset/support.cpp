#include "dataset/support.hpp"

#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include <jpeglib.h>
#include <png.h>

namespace brigade::dataset::testing {

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (fs::temp_directory_path() / "brigade-dataset-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary directory");
  path_ = pattern;
}
TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::uint8_t pixel(std::int64_t sample, std::int64_t position) {
  const auto mixed = static_cast<std::uint64_t>(sample * 1315423911 + position + 1) * 0x9E3779B97F4A7C15ULL;
  return static_cast<std::uint8_t>(mixed >> 56);
}

Bytes pixels_of(std::int64_t sample, const ImageShape& image) {
  Bytes bytes;
  for (std::int64_t position = 0; position < image.size(); ++position) bytes.push_back(pixel(sample, position));
  return bytes;
}

std::vector<std::string> SyntheticSource::classes() const {
  std::vector<std::string> names;
  for (std::int64_t c = 0; c < classes_; ++c) names.push_back("class " + std::to_string(c));
  return names;
}

void SyntheticSource::fetch(std::int64_t index, std::vector<std::byte>& bytes) const {
  ++reads;
  require(!bad.contains(index), "it is made to fail");
  const auto pixels = pixels_of(index, image_);
  bytes.assign(reinterpret_cast<const std::byte*>(pixels.data()),
               reinterpret_cast<const std::byte*>(pixels.data() + pixels.size()));
}

Bytes fetch(const Source& source, std::int64_t index) {
  std::vector<std::byte> bytes;
  source.fetch(index, bytes);
  const auto* begin = reinterpret_cast<const std::uint8_t*>(bytes.data());
  return {begin, begin + bytes.size()};
}

Sources synthetic(std::int64_t train, std::int64_t test, ImageShape image) {
  Sources sources;
  sources["train"] = std::make_shared<SyntheticSource>(train, image);
  if (test > 0) sources["test"] = std::make_shared<SyntheticSource>(test, image);
  return sources;
}

Manifest ingest(const Sources& sources, const fs::path& directory, std::int64_t samples_per_shard, int ranks,
                IngestResult* result) {
  IngestOptions options;
  options.directory = directory;
  options.samples_per_shard = samples_per_shard;
  options.size = ranks;
  for (int rank = ranks - 1; rank >= 0; --rank) {  // no rank depends on another
    options.rank = rank;
    const auto mine = ingest_shards(sources, options);
    if (result == nullptr) continue;
    result->written += mine.written;
    result->kept += mine.kept;
    result->bad.insert(result->bad.end(), mine.bad.begin(), mine.bad.end());
  }
  return finish_ingest(sources, options);
}

Bytes file_bytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void write_bytes(const fs::path& path, std::span<const std::uint8_t> bytes) {
  if (path.has_parent_path()) fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void write_gzip(const fs::path& path, std::span<const std::uint8_t> bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
}

void flip_byte(const fs::path& path, std::uint64_t offset) {
  auto bytes = file_bytes(path);
  bytes.at(offset) ^= 0x10;
  write_bytes(path, bytes);
}

Bytes idx(std::span<const std::uint32_t> extents, std::span<const std::uint8_t> items) {
  Bytes bytes{0, 0, 0x08, static_cast<std::uint8_t>(extents.size())};
  for (const std::uint32_t extent : extents)
    for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<std::uint8_t>(extent >> shift));
  bytes.insert(bytes.end(), items.begin(), items.end());
  return bytes;
}

Bytes jpeg(const Bytes& pixels, int height, int width, int components, int quality, const JpegStyle& style) {
  jpeg_compress_struct compress{};
  jpeg_error_mgr errors{};
  compress.err = jpeg_std_error(&errors);
  jpeg_create_compress(&compress);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&compress, &memory, &size);
  compress.image_height = static_cast<JDIMENSION>(height);
  compress.image_width = static_cast<JDIMENSION>(width);
  compress.input_components = components;
  compress.in_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&compress);
  jpeg_set_quality(&compress, quality, TRUE);
  if (components == 3) {
    compress.comp_info[0].v_samp_factor = style.down;
    compress.comp_info[0].h_samp_factor = style.across;
  }
  if (style.progressive) jpeg_simple_progression(&compress);
  jpeg_start_compress(&compress, TRUE);
  while (compress.next_scanline < compress.image_height) {
    auto* row = const_cast<JSAMPLE*>(pixels.data()) +
                static_cast<std::size_t>(compress.next_scanline) * static_cast<std::size_t>(width * components);
    jpeg_write_scanlines(&compress, &row, 1);
  }
  jpeg_finish_compress(&compress);
  jpeg_destroy_compress(&compress);
  Bytes bytes(memory, memory + size);
  std::free(memory);
  return bytes;
}

namespace {

Bytes write_png(png_image& image, const Bytes& pixels, const void* colours) {
  png_alloc_size_t size = 0;
  png_image_write_to_memory(&image, nullptr, &size, 0, pixels.data(), 0, colours);
  Bytes bytes(size);
  png_image_write_to_memory(&image, bytes.data(), &size, 0, pixels.data(), 0, colours);
  bytes.resize(size);
  return bytes;
}

png_image png_of(int height, int width, std::uint32_t format) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.height = static_cast<png_uint_32>(height);
  image.width = static_cast<png_uint_32>(width);
  image.format = format;
  return image;
}

}  // namespace

Bytes png(const Bytes& pixels, int height, int width, int components) {
  static constexpr std::array<std::uint32_t, 5> kFormats{0, PNG_FORMAT_GRAY, PNG_FORMAT_GA, PNG_FORMAT_RGB,
                                                         PNG_FORMAT_RGBA};
  auto image = png_of(height, width, kFormats.at(static_cast<std::size_t>(components)));
  return write_png(image, pixels, nullptr);
}

Bytes palette_png(const Bytes& pixels, int height, int width, const Bytes& colours) {
  auto image = png_of(height, width, PNG_FORMAT_RGB_COLORMAP);
  image.colormap_entries = static_cast<png_uint_32>(colours.size() / 3);
  return write_png(image, pixels, colours.data());
}

}  // namespace brigade::dataset::testing
