// What a rank that gives up on others leaves in the run directory, beside its line on stderr: failure-<rank>.json
// (docs/formats.md).
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>

namespace brigade::training {

class LastWords {
 public:
  LastWords(std::filesystem::path run, int rank) : run_(std::move(run)), rank_(rank) {}

  // Where this rank is; `phase` lives as long as the program.
  void now_in(const char* phase, std::int64_t step);
  // From any thread. Throws nothing and takes no longer than a second: the problem itself is what matters.
  void say(const std::string& problem) const noexcept;

 private:
  const std::filesystem::path run_;
  const int rank_;
  std::atomic<const char*> phase_ = "start";
  std::atomic<std::int64_t> step_ = 0;
};

}  // namespace brigade::training
