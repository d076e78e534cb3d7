// What was built, what is in use, and what this machine can do: asked for from Python with ctypes, so that it needs
// neither tensors nor a schema.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "../kernels/api.h"
#ifdef LITE_RTSE_CUDA
#include "cuda.h"
#endif

#define LITE_RTSE_EXPORT extern "C" __attribute__((visibility("default")))

// The instruction set in use, or "error: …" where LITE_RTSE_ISA names none that can run here.
LITE_RTSE_EXPORT const char* lite_rtse_isa() {
  static const std::string answer = [] {
    try {
      return std::string(lite_rtse::kernels().isa);
    } catch (const std::exception& e) {
      return std::string("error: ") + e.what();
    }
  }();
  return answer.c_str();
}

// The instruction sets that this machine can run, best first, separated by commas.
LITE_RTSE_EXPORT const char* lite_rtse_runnable_isas() {
  static const std::string answer = [] {
    std::string list;
    for (const std::string& name : lite_rtse::runnable_isas()) list += (list.empty() ? "" : ",") + name;
    return list;
  }();
  return answer.c_str();
}

// The compute capabilities that the CUDA kernels were compiled for, separated by commas; empty in a build without them.
LITE_RTSE_EXPORT const char* lite_rtse_cuda_architectures() {
#ifdef LITE_RTSE_CUDA
  static const std::string answer = lite_rtse::ops::cuda_architectures_text();
  return answer.c_str();
#else
  return "";
#endif
}

// float32 FLOP/s of one thread in registers, with the instruction set in use.
LITE_RTSE_EXPORT double lite_rtse_fma_peak(double seconds) { return lite_rtse::kernels().fma_peak(seconds); }

// float32 FLOP/s of one thread in the depthwise stages of the Multi-Order block's forward pass, over so many frames.
LITE_RTSE_EXPORT double lite_rtse_cascade_rate(double frames) {
  return lite_rtse::kernels().cascade_rate(int64_t(frames));
}

// Bytes a second, read and written, of one thread copying blocks larger than any cache.
LITE_RTSE_EXPORT double lite_rtse_copy_bandwidth(double seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr size_t kBytes = size_t(1) << 27;
  std::vector<char> from(kBytes, 1), to(kBytes, 2);
  double best = 0, total = 0;
  while (total < seconds) {
    const Clock::time_point start = Clock::now();
    std::memcpy(to.data(), from.data(), kBytes);
    const double took = std::chrono::duration<double>(Clock::now() - start).count();
    from[size_t(to[total > 0])] = 1;  // the copy is used
    best = std::max(best, 2.0 * kBytes / took);
    total += took;
  }
  return best;
}
