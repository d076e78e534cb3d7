// Storage and compute types, 128-bit accesses, shared memory.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

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

// N elements moved by one access where they fill 16 bytes or less. The address must be a multiple of the size.
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

// Elements from p to the next 16-byte boundary.
template <class T>
__device__ __forceinline__ int to_boundary(const T* p) {
  return int((0 - reinterpret_cast<uintptr_t>(p)) % 16 / sizeof(T));
}

// Stores the first `count` of four numbers, by one access where all are wanted and the address allows it.
template <class T, class C>
__device__ __forceinline__ void store_quad(T* p, const Pack<C, 4>& value, int64_t count) {
  if (count >= 4 && reinterpret_cast<uintptr_t>(p) % alignof(Pack<T, 4>) == 0) {
    Pack<T, 4> stored;
#pragma unroll
    for (int j = 0; j < 4; ++j) stored.at[j] = from_compute<T>(value.at[j]);
    store_pack<4>(p, stored);
    return;
  }
#pragma unroll
  for (int j = 0; j < 4; ++j)
    if (j < count) p[j] = from_compute<T>(value.at[j]);
}

// The block's dynamic shared memory. Every kernel declares it by this one name and type.
extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[];
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  return reinterpret_cast<T*>(dynamic_shared_bytes);
}

}  // namespace lite_rtse::cuda
