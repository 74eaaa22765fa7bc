#include "brigade/core/clock.hpp"

#include <unistd.h>

#include <chrono>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string>

namespace brigade {

double now_s() {
  using namespace std::chrono;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

double wall_clock_s() {
  using namespace std::chrono;
  return duration<double>(system_clock::now().time_since_epoch()).count();
}

double process_start_s() {
  // Field 22 of /proc/self/stat: clock ticks since boot. The name in field 2 may hold blanks, so
  // fields are counted after its closing parenthesis.
  std::ifstream stat("/proc/self/stat");
  std::string line;
  std::getline(stat, line);
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  double ticks = 0;
  if (!(fields >> ticks)) return wall_clock_s();
  timespec boot{};
  clock_gettime(CLOCK_BOOTTIME, &boot);
  const double since_boot_s = static_cast<double>(boot.tv_sec) + 1e-9 * static_cast<double>(boot.tv_nsec);
  return wall_clock_s() - (since_boot_s - ticks / static_cast<double>(sysconf(_SC_CLK_TCK)));
}

}  // namespace brigade
