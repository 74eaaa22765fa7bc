#include "last_words.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <future>
#include <memory>
#include <thread>

#include "brigade/core/clock.hpp"
#include "brigade/core/host_name.hpp"
#include "brigade/telemetry/run_directory.hpp"

namespace brigade::training {
namespace {

constexpr std::chrono::seconds kPatience{1};

}  // namespace

void LastWords::now_in(const char* phase, std::int64_t step) {
  phase_.store(phase);
  step_.store(step);
}

// By a thread of its own, for the storage may be what hangs: the job is to end all the same.
void LastWords::say(const std::string& problem) const noexcept {
  try {
    const telemetry::Failure failure{.rank = rank_,
                                     .host = host_name(),
                                     .phase = phase_.load(),
                                     .step = step_.load(),
                                     .time_s = wall_clock_s(),
                                     .problem = problem};
    const auto written = std::make_shared<std::promise<void>>();
    std::thread([run = run_, failure, written] {
      try {
        telemetry::write_failure(run, failure);
      } catch (const std::exception& error) {
        fmt::print(stderr, "brigade: warning: {}\n", error.what());
      }
      written->set_value();
    }).detach();
    written->get_future().wait_for(kPatience);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "brigade: warning: %s\n", error.what());
  }
}

}  // namespace brigade::training
