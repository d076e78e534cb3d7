// What the emulator promises to launchers, for test_emulator.py: each check returns what is wrong, or nothing.
#include <string>
#include <vector>

#include "checks.hpp"

namespace features {
namespace {

// The order in which threads of the grid came by.
__global__ void arrival(int* y) {
  __shared__ int slot;
  if (threadIdx.x == 0) slot = atomicAdd(&y[0], 1);
  __syncthreads();
  atomicAdd(&y[1 + slot], int(blockIdx.x));
  y[9 + 64 * slot + atomicAdd(&y[9 + 512 + slot], 1)] = int(threadIdx.x);
}
std::vector<int> order(uint64_t seed) {
  simt::configure({}, {.seed = seed});
  std::vector<int> found(9 + 512 + 8, 0);
  const auto config = geometry(8, 64);
  cudaLaunchKernelEx(&config, arrival, found.data());
  return found;
}
std::string check_schedules() {
  if (order(3) != order(3)) return "the same seed gives another schedule";
  const auto blocks = [](uint64_t seed) {
    const auto found = order(seed);
    return std::vector<int>(found.begin() + 1, found.begin() + 9);
  };
  const auto threads = [](uint64_t seed) {
    const auto found = order(seed);
    return std::vector<int>(found.begin() + 9, found.begin() + 9 + 64);
  };
  if (blocks(3) == blocks(4)) return "two seeds give the same order of blocks";
  if (threads(3) == threads(4)) return "two seeds give the same order of threads";
  return "";
}

__global__ void nothing() {}
// Whether a launch of a kernel that has opted in to `opted_in` bytes, or has not, is refused.
std::string check_launch(dim3 grid, dim3 block, size_t shared_bytes, int opted_in, bool valid) {
  simt::configure({.shared_opt_in = 99 << 10}, {.execute = false});
  const auto config = geometry(grid, block, shared_bytes);
  cudaError_t error = cudaSuccess;
  if (opted_in) error = cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, opted_in);
  if (error == cudaSuccess) error = cudaLaunchKernelEx(&config, nothing);
  const bool noticed = error != cudaSuccess && !simt::report().empty() && cudaPeekAtLastError() == error &&
                       cudaGetLastError() == error && cudaGetLastError() == cudaSuccess;
  if (valid ? error == cudaSuccess && simt::launches().size() == 1 : noticed && simt::launches().empty()) return "";
  return std::string(valid ? "refused" : "accepted") + ": grid " + std::to_string(grid.x) + "," +
         std::to_string(grid.y) + "," + std::to_string(grid.z) + ", block " + std::to_string(block.x) + "," +
         std::to_string(block.y) + "," + std::to_string(block.z) + ", shared " + std::to_string(shared_bytes);
}
std::string check_launch_limits() {
  constexpr int kKilobyte = 1 << 10;
  for (const std::string& wrong : {
           check_launch(1, 1024, 48 * kKilobyte, 0, true),
           check_launch(1, 1025, 0, 0, false),
           check_launch(1, dim3(32, 33), 0, 0, false),
           check_launch(1, dim3(1, 1, 64), 0, 0, true),
           check_launch(1, dim3(1, 1, 65), 0, 0, false),
           check_launch(1, 0, 0, 0, false),
           check_launch(0, 32, 0, 0, false),
           check_launch(0x7fffffff, 32, 0, 0, true),
           check_launch(0x80000000, 32, 0, 0, false),
           check_launch(dim3(1, 65535, 65535), 32, 0, 0, true),
           check_launch(dim3(1, 65536), 32, 0, 0, false),
           check_launch(dim3(1, 1, 65536), 32, 0, 0, false),
           check_launch(1, 32, 48 * kKilobyte + 1, 0, false),
           check_launch(1, 32, 48 * kKilobyte + 1, 64 * kKilobyte, true),
           check_launch(1, 32, 65 * kKilobyte, 64 * kKilobyte, false),
           check_launch(1, 32, 17 * kKilobyte, 16 * kKilobyte, false),
           check_launch(1, 32, 99 * kKilobyte, 99 * kKilobyte, true),
           check_launch(1, 32, 0, 99 * kKilobyte + 1, false),
       })
    if (!wrong.empty()) return wrong;
  return "";
}

// Shared arrays of fixed size count too: 20 KB here.
__global__ void fixed(float* y) {
  __shared__ float sums[4096];
  __shared__ double more[512];
  more[threadIdx.x] = sums[threadIdx.x] = y[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = sums[threadIdx.x ^ 1] + float(more[threadIdx.x ^ 1]);
}
std::string check_static_shared() {
  constexpr int kKilobyte = 1 << 10;
  const auto refused = [](int dynamic, int opted_in) {
    simt::configure({.shared_opt_in = 99 << 10}, {.execute = false});
    const auto config = geometry(1, 32, size_t(dynamic));
    if (opted_in && cudaFuncSetAttribute(fixed, cudaFuncAttributeMaxDynamicSharedMemorySize, opted_in) != cudaSuccess)
      return true;
    return cudaLaunchKernelEx(&config, fixed, static_cast<float*>(nullptr)) != cudaSuccess;
  };
  if (refused(28 * kKilobyte, 0) || refused(79 * kKilobyte, 79 * kKilobyte)) return "a launch that fits is refused";
  if (!refused(28 * kKilobyte + 1, 0) || !refused(32, 79 * kKilobyte + 1)) return "static shared memory is not counted";
  return "";
}

// After an error in a kernel nothing runs any more and every call says so, as on a device.
__global__ void failing() { __trap(); }
std::string check_sticky_error() {
  const auto config = geometry(1, 1);
  if (cudaLaunchKernelEx(&config, failing) != cudaErrorLaunchFailure) return "a failing kernel gives no error";
  if (cudaLaunchKernelEx(&config, nothing) != cudaErrorLaunchFailure) return "the next launch gives no error";
  const std::string text = cudaGetErrorString(cudaErrorLaunchFailure);
  return text.find("features::(anonymous namespace)::failing, block 0,0,0: __trap") == 0 ? ""
                                                                                         : "the error says: " + text;
}

// All work goes where the caller says.
std::string check_streams() {
  static char address;
  const auto stream = reinterpret_cast<cudaStream_t>(&address);
  std::vector<int> a(4, 0), b(4, 0);
  const auto enqueue = [&](int what, cudaStream_t on) {
    simt::configure({}, {.stream = stream});
    auto config = geometry(1, 1);
    config.stream = on;
    return what == 0   ? cudaLaunchKernelEx(&config, nothing)
           : what == 1 ? cudaMemsetAsync(a.data(), 1, 16, on)
                       : cudaMemcpyAsync(b.data(), a.data(), 16, cudaMemcpyDeviceToDevice, on);
  };
  for (int what : {0, 1, 2}) {
    if (enqueue(what, stream) != cudaSuccess) return "the caller's stream is refused";
    if (enqueue(what, nullptr) == cudaSuccess || simt::report().empty()) return "another stream is accepted";
  }
  return "";
}

// An attribute that the emulator does not know must not be ignored.
std::string check_attributes() {
  if (cudaFuncSetAttribute(nothing, cudaFuncAttributePreferredSharedMemoryCarveout, 50) != cudaSuccess)
    return "the carve-out is refused";
  if (cudaFuncSetAttribute(nothing, cudaFuncAttribute(10), 1) == cudaSuccess || simt::report().empty())
    return "an unknown attribute is accepted";
  simt::configure({}, {});
  auto config = geometry(1, 1);
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, nothing) == cudaSuccess ? "a launch attribute is ignored" : "";
}

std::string check_copies() {
  std::vector<int> a(10), b(10);
  cudaMemsetAsync(a.data(), 0x11, 20);
  cudaMemcpyAsync(b.data(), a.data(), 40, cudaMemcpyDeviceToDevice);
  return differs<int>("copy", b, [](int i) { return i < 5 ? 0x11111111 : 0; });
}

}  // namespace

Checks launch_checks() {
  return {
      {"schedules", check_schedules},
      {"launch_limits", check_launch_limits},
      {"static_shared", check_static_shared},
      {"sticky_error", check_sticky_error},
      {"streams", check_streams},
      {"attributes", check_attributes},
      {"copies", check_copies},
  };
}

}  // namespace features
