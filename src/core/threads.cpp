#include "brigade/core/threads.hpp"

namespace brigade {

Threads& calling_thread() {
  static Threads one;
  return one;
}

}  // namespace brigade
