// Storage and compute types, 128-bit accesses, shared memory.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>

#include "plan.h"

namespace lite_rtse::cuda {

// Half types are computed in float.
template <class T>
struct ComputeOf {
  using type = float;
};
template <>
struct ComputeOf<double> {
  using type = double;
};
template <class T>
using Compute = typename ComputeOf<T>::type;

__device__ __forceinline__ double to_compute(double x) { return x; }
__device__ __forceinline__ float to_compute(float x) { return x; }
__device__ __forceinline__ float to_compute(__half x) { return __half2float(x); }
__device__ __forceinline__ float to_compute(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T, class C>
__device__ __forceinline__ T from_compute(C x) {
  return T(x);
}
template <>
__device__ __forceinline__ __half from_compute<__half, float>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_compute<__nv_bfloat16, float>(float x) {
  return __float2bfloat16_rn(x);
}

// Returns the same number, but hides its origin from the compiler. Values that depend on it are then computed at the
// point of use, instead of being held in registers throughout a loop.
__device__ __forceinline__ int opaque(int x) {
  asm volatile("" : "+r"(x));
  return x;
}

// N elements that one access moves if they fill 16 bytes or less. The address must be a multiple of the size.
template <class T, int N>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Pack {
  T at[N];
};
template <class T>
inline constexpr int kWidest = 16 / int(sizeof(T));

template <int N, class T>
__device__ __forceinline__ Pack<T, N> load_pack(const T* p) {
  return *reinterpret_cast<const Pack<T, N>*>(p);
}
template <int N, class T>
__device__ __forceinline__ void store_pack(T* p, const Pack<T, N>& value) {
  *reinterpret_cast<Pack<T, N>*>(p) = value;
}

template <int Bytes>
struct WordOf;
template <>
struct WordOf<2> {
  using type = unsigned short;
};
template <>
struct WordOf<4> {
  using type = unsigned;
};
template <>
struct WordOf<8> {
  using type = uint2;
};
template <>
struct WordOf<16> {
  using type = uint4;
};
// A store to global memory that must remain a single access. Otherwise nvcc splits the pack to share the code of a
// scalar path.
template <int N, class T>
__device__ __forceinline__ void store_global_pack(T* p, const Pack<T, N>& value) {
  using Word = typename WordOf<alignof(Pack<T, N>)>::type;
  constexpr int kWords = sizeof(value) / sizeof(Word);
  Word words[kWords];
  memcpy(words, &value, sizeof(value));
#pragma unroll
  for (int i = 0; i < kWords; ++i) __stwb(reinterpret_cast<Word*>(p) + i, words[i]);
}

// The number of elements from p to the next 16-byte boundary.
template <class T>
__device__ __forceinline__ int to_boundary(const T* p) {
  return int((0 - reinterpret_cast<uintptr_t>(p)) % 16 / sizeof(T));
}

template <int N, class T>
__device__ __forceinline__ bool allows_pack(const T* p) {
  return reinterpret_cast<uintptr_t>(p) % alignof(Pack<T, N>) == 0;
}

// Loads the first `count` of N numbers; the others become zeros. It uses one access if all are wanted and the address
// allows it.
template <class C, int N, class T>
__device__ __forceinline__ Pack<C, N> load_some(const T* p, int64_t count) {
  Pack<C, N> value{};
  if (count >= N && allows_pack<N>(p)) {
    const Pack<T, N> read = load_pack<N>(p);
#pragma unroll
    for (int j = 0; j < N; ++j) value.at[j] = to_compute(read.at[j]);
    return value;
  }
#pragma unroll
  for (int j = 0; j < N; ++j)
    if (j < count) value.at[j] = to_compute(p[j]);
  return value;
}

// Stores the first `count` of N numbers, likewise.
template <class T, class C, int N>
__device__ __forceinline__ void store_some(T* p, const Pack<C, N>& value, int64_t count) {
  if (count >= N && allows_pack<N>(p)) {
    Pack<T, N> stored;
#pragma unroll
    for (int j = 0; j < N; ++j) stored.at[j] = from_compute<T>(value.at[j]);
    store_global_pack<N>(p, stored);
    return;
  }
#pragma unroll
  for (int j = 0; j < N; ++j)
    if (j < count) p[j] = from_compute<T>(value.at[j]);
}

// The block's dynamic shared memory. Every kernel declares it with this one name and type.
extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[];
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  return reinterpret_cast<T*>(dynamic_shared_bytes);
}

}  // namespace lite_rtse::cuda
