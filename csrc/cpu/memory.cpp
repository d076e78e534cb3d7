#include "memory.h"

namespace lite_rtse {
namespace {

constexpr std::size_t kKept = std::size_t(64) << 20;

struct Scratch {
  HugeBytes bytes;
  std::size_t size = 0;

  void release() {
    bytes.reset();
    size = 0;
  }
};
thread_local Scratch scratch;

}  // namespace

void* thread_scratch(std::size_t n) {
  if (scratch.size < n) {
    scratch.release();  // released first, so that the old and the new memory do not exist together
    scratch.bytes = huge_bytes(n);
    scratch.size = n;
  }
#ifdef LITE_RTSE_POISON  // tests: memory that is read before it is written holds NaN
  std::memset(scratch.bytes.get(), 0xFF, n);
#endif
  return scratch.bytes.get();
}

void trim_thread_scratch() {
  if (scratch.size > kKept) scratch.release();
}

}  // namespace lite_rtse
