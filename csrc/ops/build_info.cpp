// Reports what was built, what is in use and what this machine can do.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <string>

#include "../cpu/api.h"
#include "../cpu/memory.h"
#include "entry.h"
#ifdef LITE_RTSE_CUDA
#include "cuda.h"
#endif

using lite_rtse::aligned_bytes;
using lite_rtse::AlignedBytes;
using lite_rtse::ops::guarded;

// The reason why the last call of another function in this file failed, or null.
LITE_RTSE_EXPORT const char* lite_rtse_failure() {
  return lite_rtse::ops::failure.empty() ? nullptr : lite_rtse::ops::failure.c_str();
}

// The instruction set in use. Fails if LITE_RTSE_ISA names no build that can run on this machine.
LITE_RTSE_EXPORT const char* lite_rtse_isa() {
  return guarded(static_cast<const char*>(nullptr), [] { return lite_rtse::kernels().isa; });
}

// The instruction sets that this machine can run, best first, separated by commas.
LITE_RTSE_EXPORT const char* lite_rtse_runnable_isas() {
  return guarded(static_cast<const char*>(nullptr), [] {
    static const std::string answer = [] {
      std::string list;
      for (const std::string& name : lite_rtse::runnable_isas()) list += (list.empty() ? "" : ",") + name;
      return list;
    }();
    return answer.c_str();
  });
}

// The compute capabilities that the CUDA kernels were compiled for, separated by commas. Empty in a build without CUDA.
LITE_RTSE_EXPORT const char* lite_rtse_cuda_architectures() {
#ifdef LITE_RTSE_CUDA
  return guarded(static_cast<const char*>(nullptr), [] {
    static const std::string answer = lite_rtse::ops::cuda_architectures_text();
    return answer.c_str();
  });
#else
  return "";
#endif
}

// The float32 FLOP/s of one thread in registers, with the instruction set in use.
LITE_RTSE_EXPORT double lite_rtse_fma_peak(double seconds) {
  return guarded(std::nan(""), [=] { return lite_rtse::kernels().fma_peak(seconds); });
}

// The float32 FLOP/s of one thread in the depthwise stages of the Multi-Order block's forward pass, over `frames`
// frames.
LITE_RTSE_EXPORT double lite_rtse_cascade_rate(int64_t frames) {
  return guarded(std::nan(""), [=] { return lite_rtse::kernels().cascade_rate(frames); });
}

namespace {

// The bytes per second, read plus written, of one thread that copies blocks larger than any cache.
double copy_bandwidth(double seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr size_t kBytes = size_t(1) << 27;
  const AlignedBytes from = aligned_bytes(kBytes), to = aligned_bytes(kBytes);
  std::memset(from.get(), 1, kBytes), std::memset(to.get(), 2, kBytes);
  double best = 0, total = 0;
  while (total < seconds) {
    const Clock::time_point start = Clock::now();
    std::memcpy(to.get(), from.get(), kBytes);
    const double took = std::chrono::duration<double>(Clock::now() - start).count();
    from.get()[to.get()[total > 0]] = 1;  // uses the copy, so that the compiler keeps it
    best = std::max(best, 2.0 * kBytes / took);
    total += took;
  }
  return best;
}

}  // namespace

LITE_RTSE_EXPORT double lite_rtse_copy_bandwidth(double seconds) {
  return guarded(std::nan(""), [=] { return copy_bandwidth(seconds); });
}
