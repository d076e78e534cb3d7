// A product of matrices by a warp, with defects that can be planted. A part of cases.cu.
#pragma once

#include <cuda_bf16.h>

namespace cases {

constexpr int kRowsOfA = 16, kColumnsOfB = 8, kInner = 16;

// D = A B + 1, all row by row. A lane collects its numbers one by one, as the PTX ISA numbers them.
template <Defect kDefect>
__global__ void products(const float* a, const float* b, float* d) {
  const int lane = int(threadIdx.x) % warpSize, group = lane / 4, member = lane % 4;
  if (kDefect == lane_exited && lane == 7) return;
  unsigned of_a[4] = {}, of_b[2] = {};
  const bool bfloat16 = blockIdx.x == 0;
  const auto bits = [&](float x) {
    return unsigned(bfloat16 ? __bfloat16_as_ushort(__float2bfloat16_rn(x)) : __half_as_ushort(__float2half_rn(x)));
  };
  for (int i = 0; i < 8; ++i) {
    const bool lower = kDefect == wrong_fragment ? i >= 4 : i / 2 % 2,
               right = kDefect == wrong_fragment ? i / 2 % 2 : i >= 4;
    of_a[i / 2] |= bits(a[(group + 8 * lower) * kInner + 2 * member + i % 2 + 8 * right]) << 16 * (i % 2);
  }
  for (int i = 0; i < 4; ++i)
    of_b[i / 2] |= bits(b[(2 * member + i % 2 + 8 * (i / 2)) * kColumnsOfB + group]) << 16 * (i % 2);
  float of_d[4] = {1, 1, 1, 1};
  if (kDefect == missing_lanes && lane >= 16) {
    __syncthreads();
  } else if (kDefect == different_operations && lane == 3) {
    __mma_m16n8k16(!bfloat16, of_d, of_a, of_b);
  } else {
    __mma_m16n8k16(bfloat16, of_d, of_a, of_b);
  }
  d += blockIdx.x * kRowsOfA * kColumnsOfB;
  for (int i = 0; i < 4; ++i) d[(group + 8 * (i / 2)) * kColumnsOfB + 2 * member + i % 2] = of_d[i];
}

template <Defect kDefect>
std::string run_products() {
  constexpr int kTypes = 2, kSize = kRowsOfA * kColumnsOfB;
  std::vector<float> a(kRowsOfA * kInner), b(kInner * kColumnsOfB);
  for (size_t i = 0; i < a.size(); ++i) a[i] = float(i * (i + 3) % 23) - 11;
  for (size_t i = 0; i < b.size(); ++i) b[i] = float(i * (i + 5) % 29) - 14;
  std::vector<float> d(kTypes * kSize), expected(kTypes * kSize, 1.0f);
  for (int i = 0; i < kTypes * kSize; ++i)
    for (int k = 0; k < kInner; ++k) {
      const int row = i % kSize / kColumnsOfB;
      expected[size_t(i)] += a[size_t(row * kInner + k)] * b[size_t(k * kColumnsOfB + i % kColumnsOfB)];
    }
  Memory memory;
  const auto config = geometry(kTypes, kDefect == partial_warp ? 24 : 32);
  const float *a_in = memory.input(a), *b_in = memory.input(b);
  cudaLaunchKernelEx(&config, products<kDefect>, a_in, b_in, memory.output(d));
  const std::string fault = memory.finish();
  return fault.empty() ? compare(d, expected) : fault;
}

}  // namespace cases
