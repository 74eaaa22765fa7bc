/// A source's images in formats that other programs read, so that formats can be compared on the same images.
#pragma once

#include <filesystem>
#include <string>

#include "brigade/dataset/ingest.hpp"

namespace brigade::dataset {

/// Which of several processes writes: each writes its own share of the files, and together they write all.
struct ExportShare {
  int rank = 0, size = 1;
};

/// Writes `directory`/<class>/<index>.jpg (or .png), which source format "folder" reads; pixels become PNG. The files
/// are in place when all ranks have returned: write to a directory that is renamed afterwards. Throws DataError.
void write_image_files(const Source& source, const std::filesystem::path& directory, const ExportShare& share);

/// Writes `directory`/train-00000-of-00003.tfrecord, ... of `records_per_file` tf.Example each, with features
/// image/encoded, image/class/label and image/class/text, which source format "tfrecord" reads. Otherwise the same.
void write_tfrecords(const Source& source, const std::filesystem::path& directory, std::int64_t records_per_file,
                     const ExportShare& share);

/// A class's name as the name of a directory.
std::string directory_name(std::string class_name);

}  // namespace brigade::dataset
