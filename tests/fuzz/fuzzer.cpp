// libFuzzer's entry, compiled once for each format: BRIGADE_FUZZ_FORMAT is its name.
#include <algorithm>
#include <cstdlib>

#include "fuzz/formats.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace brigade::dataset::fuzz;
  static const auto format =
      std::find_if(formats().begin(), formats().end(), [](const Format& f) { return f.name == BRIGADE_FUZZ_FORMAT; });
  if (format == formats().end()) std::abort();
  format->read({data, size});
  return 0;
}
