// What the emulator promises to kernels, for test_emulator.py: each check returns what is wrong, or
// nothing.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <functional>
#include <string>

#include "checks.hpp"

namespace features {

SIMT_DEFINE_DYNAMIC_SHARED(bytes)

constexpr unsigned kAll = 0xffffffffu;

__global__ void indices(int* y) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  y[block * blockDim.x * blockDim.y * blockDim.z + thread] = int(thread);
}
std::string check_indices() {
  return differs<int>("index", results(geometry(dim3(2, 3, 4), dim3(5, 3, 2)), 24 * 30, indices),
                      [](int i) { return i % 30; });
}

enum Shuffle { up, down, exchange, index, wide, half_type };
__global__ void shuffles(int* y, int kind, int amount, int width) {
  const int lane = int(threadIdx.x);
  switch (kind) {
    case up: y[lane] = __shfl_up_sync(kAll, lane, unsigned(amount), width); break;
    case down: y[lane] = __shfl_down_sync(kAll, lane, unsigned(amount), width); break;
    case exchange: y[lane] = __shfl_xor_sync(kAll, lane, amount, width); break;
    case index: y[lane] = __shfl_sync(kAll, lane, amount, width); break;
    case wide: y[lane] = int(__shfl_sync(kAll, -0x1p40 * lane, amount, width) * 0x1p-40); break;
    case half_type: y[lane] = __half_as_ushort(__shfl_sync(kAll, __ushort_as_half(lane), amount, width)); break;
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
            expect(wide, [=](int, int begin) { return -(begin + amount % width); }),
            expect(half_type, [=](int, int begin) { return begin + amount % width; })})
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

// Warps that do different things meet, at different lines, at a barrier with a name.
__global__ void named_barrier(int* y) {
  __shared__ int handed[2][32];
  const int lane = int(threadIdx.x) % 32;
  if (threadIdx.x < 32) {
    for (int round = 0; round < 3; ++round) {
      handed[round % 2][lane] = 10 * round + lane;
      __barrier_sync_count(1, blockDim.x);
    }
  } else {
    for (int round = 0; round < 3; ++round) {
      __barrier_sync_count(1, blockDim.x);
      y[32 * round + lane] = handed[round % 2][31 - lane];
    }
  }
}
std::string check_named_barrier() {
  return differs<int>("handed over", results(geometry(1, 64), 96, named_barrier),
                      [](int i) { return 10 * (i / 32) + 31 - i % 32; });
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

// Every third lane by itself: an operation of some lanes is no concern of the others, whose masks it must not touch.
__global__ void some_lanes(int* y) {
  constexpr unsigned kEveryThird = 0x49249249u;
  const int lane = int(threadIdx.x) % warpSize;
  int value = lane;
  if (kEveryThird >> lane & 1) {
    __syncwarp(kEveryThird);
    value = __shfl_down_sync(kEveryThird, lane, 3) + 100 * __popc(__ballot_sync(kEveryThird, lane > 15));
  }
  y[threadIdx.x] = value;
}
std::string check_some_lanes() {
  return differs<int>("value", results(geometry(1, 64), 64, some_lanes), [](int i) {
    const int lane = i % 32;
    return lane % 3 ? lane : 500 + (lane < 29 ? lane + 3 : lane);
  });
}

// Sums by a tree in shared memory, a level between every two barriers, in blocks of three dimensions and many warps.
__global__ void tree(int* y) {
  __shared__ int sums[512];
  const int thread = int((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x);
  sums[thread] = thread;
  for (int half = 256; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) sums[thread] += sums[thread + half];
  }
  if (thread == 0) y[blockIdx.x] = sums[0];
}
std::string check_tree() {
  return differs<int>("sum", results(geometry(3, dim3(16, 8, 4)), 3, tree), [](int) { return 512 * 511 / 2; });
}

// A shuffle from a lane that takes no part is undefined, and gives all ones here.
__global__ void absent_source(int* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xffffu, 5, 20);
}
std::string check_absent_source() {
  return differs<int>("value", results(geometry(1, 32), 16, absent_source), [](int) { return -1; });
}

__global__ void products(float* y, bool bfloat16, float a, float b, float d) {
  const auto pair = [=](float x) {
    return 0x10001u * (bfloat16 ? __bfloat16_as_ushort(__float2bfloat16_rn(x)) : __half_as_ushort(__float2half_rn(x)));
  };
  const unsigned of_a[4] = {pair(a), pair(a), pair(a), pair(a)}, of_b[2] = {pair(b), pair(b)};
  float of_d[4] = {d, d, d, d};
  __mma_m16n8k16(bfloat16, of_d, of_a, of_b);
  for (int i = 0; i < 4; ++i) y[4 * threadIdx.x + i] = of_d[i];
}
// 16 equal products: exact, aligned to the largest term and then cut off; not finite where one of them is not.
std::string check_products() {
  struct Case {
    float a, b, d, expected;
  };
  for (const bool bfloat16 : {false, true})
    for (const Case& c : {Case{3, 5, 7, 247}, Case{0x1p-12f, 0x1p-12f, 1, 1}, Case{0x1p-12f, 0x1p-12f, -1, -1},
                          Case{0x1p-12f, 0x1p-12f, 0, 0x1p-20f}, Case{0x1p-24f, 1, 0, 0x1p-20f},
                          Case{1 + 0x1p-7f, 1 + 0x1p-7f, 0, 16 + 0x1p-2f + 0x1p-10f}, Case{INFINITY, 1, 0, INFINITY}}) {
      const auto found = results(geometry(1, 32), 128, products, bfloat16, c.a, c.b, c.d);
      if (const auto wrong = differs<float>("product", found, [&](int) { return c.expected; }); !wrong.empty())
        return wrong;
    }
  return std::isnan(results(geometry(1, 32), 128, products, true, INFINITY, 0.0f, 1.0f)[0]) ? "" : "not NaN";
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

// What 128-bit accesses rely on.
std::string check_vectors() {
  static_assert(sizeof(float2) == 8 && alignof(float2) == 8 && sizeof(float4) == 16 && alignof(float4) == 16);
  static_assert(sizeof(int2) == 8 && alignof(int2) == 8 && sizeof(uint4) == 16 && alignof(uint4) == 16);
  static_assert(sizeof(double2) == 16 && alignof(double2) == 16 && sizeof(float3) == 12 && alignof(float3) == 4);
  static_assert(sizeof(short2) == 4 && alignof(short2) == 4 && sizeof(ushort4) == 8 && alignof(ushort4) == 8);
  static_assert(sizeof(uchar4) == 4 && alignof(uchar4) == 4 && sizeof(longlong2) == 16 && alignof(longlong2) == 16);
  static_assert(sizeof(__half) == 2 && alignof(__half) == 2 && sizeof(__half2) == 4 && alignof(__half2) == 4);
  static_assert(sizeof(__nv_bfloat16) == 2 && sizeof(__nv_bfloat162) == 4 && alignof(__nv_bfloat162) == 4);
  const float4 v = make_float4(1, 2, 3, 4);
  const dim3 d(7, 8);
  return v.x == 1 && v.y == 2 && v.z == 3 && v.w == 4 && d.x == 7 && d.y == 8 && d.z == 1 ? "" : "order of members";
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

const Checks& all() {
  static const Checks checks = [] {
    Checks found = {
        {"indices", check_indices},
        {"shuffles", check_shuffles},
        {"votes", check_votes},
        {"named_barrier", check_named_barrier},
        {"partial_warp", check_partial_warp},
        {"some_lanes", check_some_lanes},
        {"tree", check_tree},
        {"absent_source", check_absent_source},
        {"products", check_products},
        {"atomics", check_atomics},
        {"shared_poison", check_shared_poison},
        {"vectors", check_vectors},
        {"mathematics", check_mathematics},
    };
    found.merge(launch_checks());
    return found;
  }();
  return checks;
}

}  // namespace features

// Runs the check of that name under several schedules.
extern "C" const char* simt_feature(const char* name) {
  constexpr uint64_t kSeeds = 10;
  static std::string wrong;
  wrong.clear();
  for (uint64_t seed = 0; seed < kSeeds && wrong.empty(); ++seed) {
    simt::configure({}, {.seed = seed});
    wrong = features::all().at(name)();
    if (!wrong.empty()) wrong += " (seed " + std::to_string(seed) + ")";
  }
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
