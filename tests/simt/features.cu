// What the emulator promises to kernels and launchers, for test_emulator.py: each check returns what is wrong, or
// nothing.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace features {

SIMT_DEFINE_DYNAMIC_SHARED(bytes)

constexpr unsigned kAll = 0xffffffffu;

cudaLaunchConfig_t geometry(dim3 grid, dim3 block, size_t shared_bytes = 0) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid, config.blockDim = block, config.dynamicSmemBytes = shared_bytes;
  return config;
}

// The result of one kernel that gives each thread of a grid its element of an array.
template <class T, class... Arguments>
std::vector<T> results(const cudaLaunchConfig_t& config, size_t count, void (*kernel)(T*, Arguments...),
                       std::type_identity_t<Arguments>... arguments) {
  std::vector<T> found(count, T(-1));
  cudaLaunchKernelEx(&config, kernel, found.data(), arguments...);
  return found;
}

template <class T>
std::string differs(const char* what, const std::vector<T>& found, const std::function<T(int)>& expected) {
  if (!simt::report().empty()) return simt::report();
  for (size_t i = 0; i < found.size(); ++i)
    if (found[i] != expected(int(i)))
      return std::string(what) + " at " + std::to_string(i) + ": " + std::to_string(found[i]) + " is not " +
             std::to_string(expected(int(i)));
  return "";
}

__global__ void indices(int* y) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  y[block * blockDim.x * blockDim.y * blockDim.z + thread] = int(thread);
}
std::string check_indices() {
  return differs<int>("index", results(geometry(dim3(2, 3, 4), dim3(5, 3, 2)), 24 * 30, indices),
                      [](int i) { return i % 30; });
}

enum Shuffle { up, down, exchange, index, wide };
__global__ void shuffles(int* y, int kind, int amount, int width) {
  const int lane = int(threadIdx.x);
  switch (kind) {
    case up: y[lane] = __shfl_up_sync(kAll, lane, unsigned(amount), width); break;
    case down: y[lane] = __shfl_down_sync(kAll, lane, unsigned(amount), width); break;
    case exchange: y[lane] = __shfl_xor_sync(kAll, lane, amount, width); break;
    case index: y[lane] = __shfl_sync(kAll, lane, amount, width); break;
    case wide: y[lane] = int(__shfl_sync(kAll, make_double2(lane, -lane), amount, width).y); break;
  }
}
// The rules of the programming guide: segments of `width` lanes; a source outside the segment leaves the value.
std::string check_shuffles() {
  for (int width : {32, 16, 8, 4, 2, 1}) {
    for (int amount : {0, 1, 3, 7, 16, 31}) {
      const auto expect = [=](int kind, const std::function<int(int lane, int begin)>& source) {
        const auto found = results(geometry(1, 32), 32, shuffles, kind, amount, width);
        return differs<int>("shuffle", found, [=](int lane) { return source(lane, lane / width * width); });
      };
      for (const std::string& wrong :
           {expect(up, [=](int l, int begin) { return l - amount >= begin ? l - amount : l; }),
            expect(down, [=](int l, int begin) { return l + amount < begin + width ? l + amount : l; }),
            expect(exchange, [=](int l, int begin) { return (l ^ amount) < begin + width ? l ^ amount : l; }),
            expect(index, [=](int, int begin) { return begin + amount % width; }),
            expect(wide, [=](int, int begin) { return -(begin + amount % width); })})
        if (!wrong.empty()) return wrong + " (width " + std::to_string(width) + ", " + std::to_string(amount) + ")";
    }
  }
  return "";
}

__global__ void votes(int* y) {
  const int lane = int(threadIdx.x);
  y[4 * lane] = int(__ballot_sync(kAll, lane % 3 == 0));
  y[4 * lane + 1] = __any_sync(kAll, lane == 5) + 2 * __any_sync(kAll, lane == 99);
  y[4 * lane + 2] = __all_sync(kAll, lane < 32) + 2 * __all_sync(kAll, lane != 5);
  // The halves of the warp vote for themselves, at the same time, and a different number of times.
  const unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;
  int count = 0;
  for (int i = 0; i < (lane < 16 ? 3 : 1); ++i) count += __popc(__ballot_sync(half, lane % 2));
  __syncwarp();
  y[4 * lane + 3] = count;
}
std::string check_votes() {
  return differs<int>("vote", results(geometry(1, 32), 128, votes), [](int i) {
    constexpr int kEveryThird = 0x49249249;
    const int expected[] = {kEveryThird, 1, 1, i / 4 < 16 ? 24 : 8};
    return expected[i % 4];
  });
}

// A block of 40 threads has a second warp of 8 lanes, of which a full mask means just those.
__global__ void partial_warp(int* y) {
  int sum = 1;
  for (int offset = 4; offset > 0; offset /= 2) sum += __shfl_xor_sync(kAll, sum, offset);
  __syncthreads();
  y[threadIdx.x] = sum;
}
std::string check_partial_warp() {
  return differs<int>("sum", results(geometry(1, 40), 40, partial_warp), [](int) { return 8; });
}

// A shuffle from a lane that takes no part is undefined, and gives all ones here.
__global__ void absent_source(int* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xffffu, 5, 20);
}
std::string check_absent_source() {
  return differs<int>("value", results(geometry(1, 32), 16, absent_source), [](int) { return -1; });
}

__global__ void atomics(int* y) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(&y[0], i);
  atomicMax(&y[1], i);
  atomicMin(&y[2], -i);
  atomicCAS(&y[3], -1, 7);
  if (i == 3) atomicExch(&y[4], 9);
  unsigned long long* wide = reinterpret_cast<unsigned long long*>(y + 6);
  atomicAdd(wide, 1ull << 32);
}
std::string check_atomics() {
  return differs<int>("counter", results(geometry(4, 50), 8, atomics), [](int i) {
    const int expected[] = {19900 - 1, 199, -199, 7, 9, -1, -1, 199};
    return expected[i];
  });
}

__global__ void shared_poison(float* y) {
  extern __shared__ __align__(16) unsigned char bytes[];
  __shared__ float in_function[32];
  const float dynamic = reinterpret_cast<float*>(bytes)[threadIdx.x];
  y[blockIdx.x * blockDim.x + threadIdx.x] = float(std::isnan(dynamic) + 2 * std::isnan(in_function[threadIdx.x]));
  __syncthreads();
  in_function[threadIdx.x] = reinterpret_cast<float*>(bytes)[threadIdx.x] = 0;  // the next block must not see it
}
std::string check_shared_poison() {
  return differs<float>("poison", results(geometry(5, 32, 128), 160, shared_poison), [](int) { return 3.0f; });
}

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
    if (opted_in &&
        cudaFuncSetAttribute(fixed, cudaFuncAttributeMaxDynamicSharedMemorySize, opted_in) != cudaSuccess)
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
  return text.find("features::failing, block 0,0,0: __trap") == 0 ? "" : "the error says: " + text;
}

std::string check_copies() {
  std::vector<int> a(10), b(10);
  cudaMemsetAsync(a.data(), 0x11, 20);
  cudaMemcpyAsync(b.data(), a.data(), 40, cudaMemcpyDeviceToDevice);
  return differs<int>("copy", b, [](int i) { return i < 5 ? 0x11111111 : 0; });
}

std::string check_mathematics() {
  const float nan = NAN;
  const bool right = min(3, 2u) == 2 && max(-1, 2LL) == 2 && min(nan, 1.0f) == 1.0f && max(2.0, nan) == 2.0 &&
                     rsqrtf(4.0f) == 0.5f && __fmaf_rn(2, 3, 4) == 10 && __saturatef(nan) == 0 && __clz(0) == 32 &&
                     __clz(1) == 31 && __popc(0xf0f0) == 8 && __ffs(8) == 4 && __umulhi(1u << 31, 6) == 3 &&
                     __float_as_int(1.0f) == 0x3f800000 && __int_as_float(0x40000000) == 2.0f && __expf(0.0f) == 1.0f;
  // Rounded once each, not contracted: (1 + ε)² − (1 + 2ε) is ε² in one operation, 0 in two.
  volatile float x = 1.0f + 0x1p-12f, minus = -(1.0f + 0x1p-11f);
  if (__fadd_rn(__fmul_rn(x, x), minus) != 0 || fmaf(x, x, minus) != 0x1p-24f) return "rounding";
  return right ? "" : "a function is wrong";
}

const std::map<std::string, std::string (*)()>& all() {
  static const std::map<std::string, std::string (*)()> checks = {
      {"indices", check_indices},
      {"shuffles", check_shuffles},
      {"votes", check_votes},
      {"partial_warp", check_partial_warp},
      {"absent_source", check_absent_source},
      {"atomics", check_atomics},
      {"shared_poison", check_shared_poison},
      {"schedules", check_schedules},
      {"launch_limits", check_launch_limits},
      {"static_shared", check_static_shared},
      {"sticky_error", check_sticky_error},
      {"copies", check_copies},
      {"mathematics", check_mathematics},
  };
  return checks;
}

}  // namespace features

// Runs the check of that name.
extern "C" const char* simt_feature(const char* name) {
  static std::string wrong;
  simt::configure({}, {});
  wrong = features::all().at(name)();
  return wrong.c_str();
}

// Conversions to and from half types, element by element, for comparison with torch's.
extern "C" void simt_to_half(const float* x, unsigned short* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = __half_as_ushort(__float2half_rn(x[i]));
}
extern "C" void simt_from_half(const unsigned short* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = __half2float(__ushort_as_half(x[i]));
}
extern "C" void simt_to_bfloat16(const float* x, unsigned short* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = __bfloat16_as_ushort(__float2bfloat16_rn(x[i]));
}
extern "C" void simt_from_bfloat16(const unsigned short* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = __bfloat162float(__ushort_as_bfloat16(x[i]));
}
