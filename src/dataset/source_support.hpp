// What several sources need: labels that come as text, files read by place, files that belong to a split.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sources.hpp"

namespace brigade::dataset {

// "0", "1", ... for collections that do not name their classes.
std::vector<std::string> numbered_classes(std::int64_t count);
// The lines of a small text file that are not empty, without trailing blanks.
std::vector<std::string> read_lines(const std::filesystem::path& path);
// classes.txt or labels.txt in `directory`, a name a line in the order of the labels ("3:roses" is roses); empty if
// there is neither.
std::vector<std::string> named_classes(const std::filesystem::path& directory);

// Labels as they are met, numbers or names, and the classes that they amount to.
class LabelTable {
 public:
  // Returns a number that class_of() will understand.
  std::int32_t add(std::string_view label);
  // Call when all labels were added. Names, if there are any, decide the order and may be more than those met. Without
  // them, numbers are classes as they are, and names are sorted. `where` is for the message.
  void settle(const std::vector<std::string>& names, const std::string& where);
  const std::vector<std::string>& classes() const { return classes_; }
  std::int32_t class_of(std::int32_t added) const { return final_[static_cast<std::size_t>(added)]; }

 private:
  void settle_numbers(const std::vector<std::int64_t>& numbers, const std::vector<std::string>& names,
                      const std::string& where);
  void settle_names(const std::vector<std::string>& names, const std::string& where);

  std::unordered_map<std::string, std::int32_t> index_;
  std::vector<std::string> met_;
  std::vector<std::string> classes_;
  std::vector<std::int32_t> final_;
};

// A file that any thread may read at any place. Unlike a mapping, a file that got shorter or storage that fails is an
// error, and no signal.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path);  // throws DataError
  InputFile(InputFile&& other) noexcept;
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile();

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  // Throws SourceError, naming the file, if the bytes are not there.
  void read(std::uint64_t offset, std::span<std::byte> bytes) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

// Replaces `bytes` by a whole image file. Throws DataError: others may be readable.
void read_image_file(const std::filesystem::path& path, std::vector<std::byte>& bytes);

// The files a collection consists of, sorted by name, by split: `path` itself, or those files of the directory `path`
// whose name `belongs`. The split is told by the beginning of the name: train, val (or validation), test; "train" if
// no file says so.
std::map<std::string, std::vector<std::filesystem::path>> files_by_split(const std::filesystem::path& path,
                                                                         bool (*belongs)(const std::string& name));

}  // namespace brigade::dataset
