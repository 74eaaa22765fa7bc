// Staging: shards are copied to storage of the node before training, and the copies are used again by later runs.
//
//     STAGE_DIR/brigade-UID/HASH-NAME/      HASH: of the dataset's path, NAME: of its directory
//         train-00000-of-00016.h5           the copy, written beside its name and renamed
//         train-00000-of-00016.h5.json      what it is a copy of: size and time of the source, CRC-32C of all bytes
//
// A copy is valid if its source has kept size and time, and its own bytes have the CRC: they are read before they are
// trusted, which also brings them into the page cache. Each rank of the node takes every node.size()-th shard.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "brigade/core/atomic_file.hpp"
#include "brigade/core/checksum.hpp"
#include "brigade/core/clock.hpp"
#include "places.hpp"
#include "plain_file.hpp"
#include "shard_reader.hpp"

namespace brigade::dataset {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

constexpr std::size_t kPieceBytes = 8U << 20;

struct Source {
  std::int64_t bytes = 0, mtime_ns = 0;
  bool operator==(const Source&) const = default;
};

Source source_of(const fs::path& path) {
  struct stat status {};
  require(::stat(path.c_str(), &status) == 0, "shard {} cannot be staged ({})", path.string(), std::strerror(errno));
  return {status.st_size, std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec};
}

std::uint32_t crc_of(const fs::path& path, std::int64_t bytes, const std::function<void(std::span<std::byte>)>& use) {
  const PlainFile in(path);
  std::vector<std::byte> piece(kPieceBytes);
  std::uint32_t crc = 0;
  for (std::int64_t at = 0; at < bytes; at += std::ssize(piece)) {
    const auto part = std::span(piece).first(static_cast<std::size_t>(std::min<std::int64_t>(kPieceBytes, bytes - at)));
    in.read(static_cast<std::size_t>(at), part);
    crc = crc32c(part, crc);
    if (use) use(part);
  }
  return crc;
}

fs::path record_of(const fs::path& copy) { return copy.string() + ".json"; }

bool is_valid(const fs::path& copy, const Source& source) {
  std::error_code error;
  if (!fs::exists(record_of(copy), error) || fs::file_size(copy, error) != static_cast<std::uintmax_t>(source.bytes) ||
      error)
    return false;
  try {
    const auto record = json::parse(read_file(record_of(copy), 4096));
    const Source then{record.at("source_bytes"), record.at("source_mtime_ns")};
    return then == source && crc_of(copy, source.bytes, {}) == record.at("crc32c").get<std::uint32_t>();
  } catch (const std::exception&) {
    return false;  // damaged: copied again
  }
}

void copy_shard(const fs::path& from, const fs::path& copy, const Source& source) {
  AtomicFile file(copy);
  const int out = ::open(file.path().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const auto cannot = [&](std::string_view why) {
    return DataError(fmt::format("shard {} cannot be staged to {} ({}). Free some space, or use another --stage-dir?",
                                 from.string(), copy.string(), why));
  };
  const auto fail = [&] { throw cannot(std::strerror(errno)); };
  if (out < 0) fail();
  try {
    const std::uint32_t crc = crc_of(from, source.bytes, [&](std::span<std::byte> part) {
      while (!part.empty()) {
        const ssize_t put = ::write(out, part.data(), part.size());
        if (put < 0 && errno != EINTR) fail();
        part = part.subspan(static_cast<std::size_t>(std::max<ssize_t>(put, 0)));
      }
    });
    if (::fsync(out) != 0) fail();
    require(source_of(from) == source, "shard {} changed while it was staged", from.string());
    require(crc_of(file.path(), source.bytes, {}) == crc,
            "the copy of {} in {} has other bytes than were written (is the disk failing?). Use another --stage-dir?",
            from.string(), copy.parent_path().string());
    std::error_code ignored;
    fs::remove(record_of(copy), ignored);  // of an older copy
    file.commit();
    const json record{{"source_bytes", source.bytes}, {"source_mtime_ns", source.mtime_ns}, {"crc32c", crc}};
    try {
      write_file(record_of(copy), record.dump() + "\n");
    } catch (const Error& error) {
      throw cannot(error.what());
    }
  } catch (...) {
    ::close(out);
    throw;
  }
  ::close(out);
}

fs::path directory_for(const fs::path& from, const fs::path& stage) {
  const std::string path = fs::weakly_canonical(from).string();
  const std::uint32_t hash = crc32c(std::as_bytes(std::span(path)));
  return stage / fmt::format("brigade-{}", ::getuid()) /
         fmt::format("{:08x}-{}", hash, fs::path(path).filename().string());
}

// What is left of processes of this node that were killed while they copied.
void remove_abandoned_copies(const fs::path& directory) {
  constexpr std::string_view kMark = ".partial-";  // then the process, see AtomicFile
  std::error_code ignored;
  std::vector<fs::path> abandoned;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    const std::string name = entry.path().filename().string();
    const std::size_t mark = name.rfind(kMark);
    if (mark == std::string::npos) continue;
    const long process = std::strtol(name.c_str() + mark + kMark.size(), nullptr, 10);
    if (process > 0 && ::kill(static_cast<pid_t>(process), 0) != 0 && errno == ESRCH) abandoned.push_back(entry.path());
  }
  for (const auto& path : abandoned) fs::remove(path, ignored);
}

}  // namespace

fs::path stage_shards(const fs::path& from, const SplitInfo& split, const fs::path& stage, Team& job, Team& node,
                      Prepared& prepared) {
  const Stopwatch watch;
  const fs::path to = directory_for(from, stage);
  struct Task {
    fs::path from, copy;
    Source source;
  };
  std::vector<Task> missing;  // of this rank
  for (const auto& shard : split.shards) prepared.bytes += shard.bytes;
  collectively(job, "looking for staged shards", [&] {
    std::error_code error;
    fs::create_directories(to, error);
    require<OptionError>(!error, "cannot make the directory {} ({}). Use another --stage-dir?", to.string(),
                         error.message());
    if (node.rank() == 0) remove_abandoned_copies(to);
    for (std::size_t i = 0; i < split.shards.size(); ++i) {
      if (static_cast<int>(i % static_cast<std::size_t>(node.size())) != node.rank()) continue;
      const auto& file = split.shards[i].file;
      const Source source = source_of(from / file);
      if (!is_valid(to / file, source)) missing.push_back({from / file, to / file, source});
    }
    // Each rank speaks for itself: together they may still need too much, which the copying would say.
    std::int64_t needed = 0;
    for (const auto& task : missing) needed += task.source.bytes;
    const std::int64_t free = file_system_of(to).free_bytes;
    require<OptionError>(needed < free,
                         "the shards cannot be staged to {} (they take {:.2f} GB, {:.2f} GB are free). Use another "
                         "--stage-dir, or --reader mmap?",
                         to.string(), static_cast<double>(needed) * 1e-9, static_cast<double>(free) * 1e-9);
  });
  collectively(job, "staging shards", [&] {
    for (const auto& task : missing) {
      copy_shard(task.from, task.copy, task.source);
      prepared.copied_bytes += task.source.bytes;
    }
  });
  prepared.seconds = watch.elapsed();
  return to;
}

}  // namespace brigade::dataset
