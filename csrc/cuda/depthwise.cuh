// Depthwise convolution of rows in shared memory: what a thread does for 4 neighbouring columns of R rows.
//
// A thread reads each of the R + K - 1 input rows once, as a window of 128-bit accesses, and keeps the sums in
// registers: at K = 7, R = 4 thirty accesses for 784 multiply-adds. Neighbouring lanes have neighbouring windows, so
// that eight of them cover all banks.
//
//   y[r][c]  = Σ_ij w[i][j] x[r + i][c + j]         forward; with the taps reversed, the input gradient
//   dw[i][j] = Σ_rc g[r][c] x[r + i][c + j]         weight gradient
#pragma once

#include "types.cuh"

namespace lite_rtse::cuda {

// Elements of one row that 4 outputs depend on, a multiple of 4.
LITE_RTSE_SHARED_CODE constexpr int window_size(int taps) { return (taps + 3 + 3) / 4 * 4; }

template <int N, class C>
__device__ __forceinline__ void load_window(C (&x)[N], const C* from) {
#pragma unroll
  for (int n = 0; n < N; n += 4) {
    const Pack<C, 4> quad = load_pack<4>(from + n);
#pragma unroll
    for (int k = 0; k < 4; ++k) x[n + k] = quad.at[k];
  }
}

// sum += the convolution; row(i) points at the window of input row i.
template <int K, int R, class C, class Row>
__device__ __forceinline__ void convolve_window(C (&sum)[R][4], const C (&w)[K * K], Row&& row) {
#pragma unroll
  for (int i = 0; i < R + K - 1; ++i) {
    C x[window_size(K)];
    load_window(x, row(i));
#pragma unroll
    for (int r = 0; r < R; ++r) {
      if (i - r < 0 || i - r >= K) continue;
#pragma unroll
      for (int j = 0; j < K; ++j)
#pragma unroll
        for (int c = 0; c < 4; ++c) sum[r][c] += w[(i - r) * K + j] * x[c + j];
    }
  }
}

// dw += the weight gradient.
template <int K, int R, class C, class Row>
__device__ __forceinline__ void weight_gradient_window(C (&dw)[K * K], const C (&g)[R][4], Row&& row) {
#pragma unroll
  for (int i = 0; i < R + K - 1; ++i) {
    C x[window_size(K)];
    load_window(x, row(i));
#pragma unroll
    for (int r = 0; r < R; ++r) {
      if (i - r < 0 || i - r >= K) continue;
#pragma unroll
      for (int j = 0; j < K; ++j)
#pragma unroll
        for (int c = 0; c < 4; ++c) dw[(i - r) * K + j] += g[r][c] * x[c + j];
    }
  }
}

}  // namespace lite_rtse::cuda
