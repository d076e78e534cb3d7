// Moves whole rows of a plane as one flat span. Single rows of 257 bins are not aligned to 16 bytes. All rows together
// need scalar accesses only at the two ends.
#pragma once

#include "types.cuh"

namespace lite_rtse::cuda {

// Division of n < 2^31 by a divisor that is known before the launch: n / d = n * m >> 32 + s, with m = ceil(2^(32 + s)
// / d) and s = floor(log2 d). Let m d = 2^(32 + s) + e with 0 <= e < d < 2^(s + 1). Then the error n e / (d 2^(32 + s))
// stays below 1 / d.
struct Divisor {
  uint32_t divisor, shift;
  uint64_t multiplier;
  explicit Divisor(int64_t d) : divisor(uint32_t(d)), shift(0) {
    while (d >> (shift + 1)) ++shift;
    multiplier = ((uint64_t(1) << (32 + shift)) + divisor - 1) / divisor;
  }
  __device__ __forceinline__ int divide(int n) const { return int(uint64_t(n) * multiplier >> 32 >> shift); }
};

// Rotates a pack: its elements [turns, N), then [0, turns); turns < N.
template <int N, class T>
__device__ __forceinline__ Pack<T, N> rotated(const Pack<T, N>& pack, int turns) {
  Pack<T, N> from = pack;
#pragma unroll
  for (int bit = 1; bit < N; bit *= 2) {
    Pack<T, N> to;
#pragma unroll
    for (int k = 0; k < N; ++k) to.at[k] = turns & bit ? from.at[(k + bit) % N] : from.at[k];
    from = to;
  }
  return from;
}

// The first element that a lane moves if lanes move packs of N neighboring elements to or from shared memory, one
// element at a time. Lanes whose packs are 128 bytes apart share their banks. With this start they do not move the same
// element at the same time.
template <int N, class C>
__device__ __forceinline__ int first_of_lane() {
  constexpr int kLanes = 128 / int(sizeof(C)) / N;  // the lanes whose packs fill 128 bytes
  return int(threadIdx.x) % kWarp / kLanes % N;
}

// Calls put(i, value) for each i < count with element i of `from`. The block's threads share the work. put stores to
// shared memory.
template <class T, class Put>
__device__ __forceinline__ void load_span(const T* __restrict__ from, int count, Put&& put) {
  constexpr int kWide = kWidest<T>;
  const int head = min(count, to_boundary(from)), packs = (count - head) / kWide;
  const int rest = count - packs * kWide;  // the elements before the packs, then those behind them
  const int turns = first_of_lane<kWide, Compute<T>>();
#pragma unroll(kWide > 4 ? 2 : 4)
  for (int i = threadIdx.x; i < packs; i += blockDim.x) {
    const Pack<T, kWide> read = rotated(load_pack<kWide>(from + head + i * kWide), turns);
#pragma unroll
    for (int k = 0; k < kWide; ++k) put(head + i * kWide + (k + turns) % kWide, to_compute(read.at[k]));
  }
  for (int i = threadIdx.x; i < rest; i += blockDim.x) {
    const int at = i < head ? i : i + packs * kWide;
    put(at, to_compute(from[at]));
  }
}

// Stores get(i) as element i of `to` for each i < count. The block's threads share the work. get loads from shared
// memory.
template <class T, class Get>
__device__ __forceinline__ void store_span(T* __restrict__ to, int count, Get&& get) {
  constexpr int kWide = kWidest<T>;
  const int head = min(count, to_boundary(to)), packs = (count - head) / kWide;
  const int rest = count - packs * kWide;
  const int turns = first_of_lane<kWide, Compute<T>>();
#pragma unroll 2
  for (int i = threadIdx.x; i < packs; i += blockDim.x) {
    Pack<T, kWide> stored;
#pragma unroll
    for (int k = 0; k < kWide; ++k) stored.at[k] = from_compute<T>(get(head + i * kWide + (k + turns) % kWide));
    store_global_pack<kWide>(to + head + i * kWide, rotated(stored, (kWide - turns) % kWide));
  }
  for (int i = threadIdx.x; i < rest; i += blockDim.x) {
    const int at = i < head ? i : i + packs * kWide;
    to[at] = from_compute<T>(get(at));
  }
}

}  // namespace lite_rtse::cuda
