/// Errors and checks.
///
/// Three kinds of check, no more: EXPECT / ENSURE for programmers (debug builds only), require()
/// for the world, and one check_<library>() per foreign library, private to its room. A message
/// reads: problem (why). suggestion?
#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>

namespace brigade {

/// What the process returns to the shell (and so to Slurm).
enum class ExitCode : int {
  done = 0,
  bad_options = 2,
  bad_data = 3,
  diverged = 4,
  peer_lost = 5,
  stopped_early = 75,  ///< with a checkpoint: submit again
};

/// Base of all errors Brigade throws on purpose; carries the exit code they end the job with.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

  /// True if every rank throws this error at this point: then one speaks, and all end in good order.
  bool on_all_ranks = false;

 private:
  ExitCode code_;
};

/// The user asked for something that cannot be done.
struct OptionError : Error {
  explicit OptionError(const std::string& message) : Error(ExitCode::bad_options, message) {}
};
/// A file is missing, damaged or not what it says.
struct DataError : Error {
  explicit DataError(const std::string& message) : Error(ExitCode::bad_data, message) {}
};
/// The loss is no longer a finite number.
struct DivergedError : Error {
  explicit DivergedError(const std::string& message) : Error(ExitCode::diverged, message) {}
};
/// Another rank is missing or late.
struct PeerError : Error {
  explicit PeerError(const std::string& message) : Error(ExitCode::peer_lost, message) {}
};
/// This build does not contain what was asked for.
struct NotCompiled : Error {
  explicit NotCompiled(const std::string& message) : Error(ExitCode::bad_options, message) {}
};

/// Throws E (default DataError) with the formatted message unless `ok`.
///
///     require(n == m, "shard {} is truncated (expected {} images, the file holds {}). Run
///     `brigade shard` again?", i, n, m);
template <class E = DataError, class... Args>
void require(bool ok, fmt::format_string<Args...> message, Args&&... args) {
  if (!ok) [[unlikely]]
    throw E(fmt::format(message, std::forward<Args>(args)...));
}

namespace detail {
[[noreturn]] inline void contract_failed(const char* kind, const char* text, const char* file, int line) {
  fmt::print(stderr, "{}:{}: {} failed: {}\n", file, line, kind, text);
  std::abort();
}
}  // namespace detail
}  // namespace brigade

/// Preconditions (EXPECT) and postconditions (ENSURE) between programmers; gone in release builds.
#ifdef NDEBUG
#define BRIGADE_CONTRACT_(kind, condition) static_cast<void>(0)
#else
#define BRIGADE_CONTRACT_(kind, condition) \
  ((condition) ? static_cast<void>(0) : ::brigade::detail::contract_failed(kind, #condition, __FILE__, __LINE__))
#endif
#define EXPECT(condition) BRIGADE_CONTRACT_("EXPECT", condition)
#define ENSURE(condition) BRIGADE_CONTRACT_("ENSURE", condition)
