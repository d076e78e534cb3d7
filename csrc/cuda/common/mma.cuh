// Products of half-typed matrices on tensor cores: a warp computes D = A B + C. A has 16 x 16 numbers. The others have
// 16 x 8.
//
// Products are exact, and sums are in float32. A lane has these parts of the matrices, with g = lane / 4 and t = lane %
// 4. Each word of A and B has two neighbors along the sum, the first one in its low half.
//
//   a[0]: row g, columns 2 t and 2 t + 1      a[1]: row g + 8      a[2], a[3]: the same rows, 8 columns further
//   b[0]: rows 2 t and 2 t + 1 of column g    b[1]: 8 rows further
//   d[0], d[1]: row g, columns 2 t and 2 t + 1                     d[2], d[3]: row g + 8       c: as d
//
// The source is the PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type".
#pragma once

#include <type_traits>

#include "types.cuh"

namespace lite_rtse::cuda {

// Since compute capability 8.0 the instruction exists for both half types.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
inline constexpr bool kTensorCores = false;
#else
inline constexpr bool kTensorCores = true;
#endif

// Two neighbors along the sum.
template <class T>
__device__ __forceinline__ unsigned fragment_word(T first, T second) {
  unsigned short bits[2];
  memcpy(bits, &first, 2);
  memcpy(bits + 1, &second, 2);
  return bits[0] | unsigned(bits[1]) << 16;
}

// d = a b + c. All lanes of the warp call it together. It is volatile, so that it stays outside of conditions that only
// some lanes meet. nvcc has no function for the instruction, but the emulator of the tests does.
template <class T>
__device__ __forceinline__ void multiply_fragments(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                                                   const float (&c)[4]) {
  constexpr bool kBfloat16 = std::is_same_v<T, __nv_bfloat16>;
  static_assert(kBfloat16 || std::is_same_v<T, __half>);
#ifdef __CUDACC__
  if constexpr (kBfloat16)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %11, %12, %13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %11, %12, %13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#else
  for (int i = 0; i < 4; ++i) d[i] = c[i];
  __mma_m16n8k16(kBfloat16, d, a, b);
#endif
}

}  // namespace lite_rtse::cuda
