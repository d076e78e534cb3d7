#include "memory.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lite_rtse {
namespace {

constexpr std::size_t kKept = std::size_t(64) << 20, kHugePage = std::size_t(2) << 20;

struct HugeFree {
  void operator()(void* p) const { ::operator delete(p, std::align_val_t(kHugePage)); }
};

// Whole huge pages, where the system gives them to those who ask: the march over time walks rows that lie 16 KB apart,
// and with pages of 4 KB waits for their addresses.
std::unique_ptr<unsigned char, HugeFree> huge_bytes(std::size_t n) {
  n = (n + kHugePage - 1) / kHugePage * kHugePage;
  std::unique_ptr<unsigned char, HugeFree> bytes(static_cast<unsigned char*>(allocate(n, std::align_val_t(kHugePage))));
#if defined(__linux__)
  static_cast<void>(madvise(bytes.get(), n, MADV_HUGEPAGE));  // advice: refused, the pages are ordinary ones
#endif
  return bytes;
}

struct Scratch {
  std::unique_ptr<unsigned char, HugeFree> bytes;
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
    scratch.release();  // first: the old and the new need not exist together
    scratch.bytes = huge_bytes(n);
    scratch.size = n;
  }
#ifdef LITE_RTSE_POISON  // tests: what is read before it is written is NaN
  std::memset(scratch.bytes.get(), 0xFF, n);
#endif
  return scratch.bytes.get();
}

void trim_thread_scratch() {
  if (scratch.size > kKept) scratch.release();
}

}  // namespace lite_rtse
