// What of some files is in memory already.
#pragma once

#include <filesystem>
#include <span>

namespace brigade::benchmarks {

using Paths = std::span<const std::filesystem::path>;

// Share of the files' bytes that this node's page cache holds, by mincore(2). (For files that are somebody else's, the
// kernel says everything is there.) Throws DataError if a file cannot be opened.
double resident_share(Paths files);

// Writes the files back and asks the kernel to forget them (posix_fadvise DONTNEED). Pages that a process has mapped
// stay, and so do directories and inodes: resident_share() tells what was achieved.
void drop_page_cache(Paths files);

// Reads all files.
void fill_page_cache(Paths files);

}  // namespace brigade::benchmarks
