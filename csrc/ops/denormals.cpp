// How each of PyTorch's threads treats denormals: a setting of the processor, of every thread by itself.
#include <torch/csrc/stable/ops.h>

#include <cstdint>

#include "entry.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

#if defined(__x86_64__)
constexpr uint64_t kFlush = 0x8000 | 0x0040;  // of results, and of operands
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

// Calls f(i) in the i-th of so many threads of PyTorch's pool, of which the calling one is number 0. A range of one
// element for each thread is spread over all of them. Within a parallel region there is the calling thread alone.
template <class F>
void in_each_thread(int64_t threads, const F& f) {
  torch::stable::parallel_for(0, threads, 1, [&](int64_t begin, int64_t) { f(begin); });
}

}  // namespace

// Denormals count as zero from now on, in so many threads. How it was in each before goes to `before`.
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

// As `before` says, in the first `known` of so many threads. The rest were started since: they are as the first.
LITE_RTSE_EXPORT void lite_rtse_restore_denormals(const uint64_t* before, int64_t known, int64_t threads) {
  lite_rtse::ops::guarded(0, [=] {
    in_each_thread(threads, [=](int64_t i) { set_control((control() & ~kFlush) | before[i < known ? i : 0]); });
    return 0;
  });
}
