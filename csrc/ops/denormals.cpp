// Sets how PyTorch's threads treat denormals. The processor has this setting separately for each thread.
#include <torch/csrc/stable/ops.h>

#include <cstdint>

#include "entry.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

#if defined(__x86_64__)
constexpr uint64_t kFlush = 0x8000 | 0x0040;  // flush results, and flush operands
uint64_t control() { return _mm_getcsr(); }
void set_control(uint64_t value) { _mm_setcsr(uint32_t(value)); }
#elif defined(__aarch64__)
constexpr uint64_t kFlush = uint64_t(1) << 24;
uint64_t control() {
  uint64_t value;
  asm volatile("mrs %0, fpcr" : "=r"(value));
  return value;
}
void set_control(uint64_t value) { asm volatile("msr fpcr, %0" ::"r"(value)); }
#else
constexpr uint64_t kFlush = 0;
uint64_t control() { return 0; }
void set_control(uint64_t) {}
#endif

// Calls f(i) in the i-th of `threads` threads of PyTorch's pool; the calling thread is number 0. A range of one element
// per thread is spread over all of them. Within a parallel region only the calling thread runs.
template <class F>
void in_each_thread(int64_t threads, const F& f) {
  torch::stable::parallel_for(0, threads, 1, [&](int64_t begin, int64_t) { f(begin); });
}

}  // namespace

// From now on denormals count as zero in `threads` threads. `before` gets the earlier setting of each thread.
LITE_RTSE_EXPORT void lite_rtse_flush_denormals(uint64_t* before, int64_t threads) {
  lite_rtse::ops::guarded(0, [=] {
    for (int64_t i = 0; i < threads; ++i) before[i] = control() & kFlush;
    in_each_thread(threads, [=](int64_t i) {
      before[i] = control() & kFlush;
      set_control(control() | kFlush);
    });
    return 0;
  });
}

// Restores the settings in `before` for the first `known` of `threads` threads. The other threads started later and get
// the setting of the first.
LITE_RTSE_EXPORT void lite_rtse_restore_denormals(const uint64_t* before, int64_t known, int64_t threads) {
  lite_rtse::ops::guarded(0, [=] {
    in_each_thread(threads, [=](int64_t i) { set_control((control() & ~kFlush) | before[i < known ? i : 0]); });
    return 0;
  });
}
