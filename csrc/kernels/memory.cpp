#include "memory.h"

namespace lite_rtse {

void* thread_scratch(std::size_t n) {
  struct Scratch {
    AlignedBytes bytes;
    std::size_t size = 0;
  };
  thread_local Scratch scratch;
  if (scratch.size < n) {
    scratch.bytes.reset();  // free first: the two need not exist together
    scratch.size = 0;
    scratch.bytes = aligned_bytes(n);
    scratch.size = n;
  }
#ifdef LITE_RTSE_POISON  // tests: what is read before it is written becomes NaN
  std::memset(scratch.bytes.get(), 0xFF, n);
#endif
  return scratch.bytes.get();
}

}  // namespace lite_rtse
