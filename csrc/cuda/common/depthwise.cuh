// Depthwise convolution of rows in shared memory: the work of one thread on a strip of R rows, 16 bytes wide.
//
// A thread reads each of the R + K - 1 input rows once, as a window of 128-bit accesses, and keeps the sums in
// registers. In float with K = 7 and R = 4 this takes thirty accesses for 784 multiply-adds. Neighboring lanes have
// neighboring windows, so eight lanes cover all banks.
//
//   y[r][c]  = Σ_ij w[i][j] x[r + i][c + j]         forward; with the taps reversed, the input gradient
//   dw[i][j] = Σ_rc g[r][c] x[r + i][c + j]         weight gradient
#pragma once

#include "types.cuh"

namespace lite_rtse::cuda {

template <class C>
inline constexpr int kStripColumns = 16 / int(sizeof(C));

// The number of elements of one row that a strip's outputs depend on, rounded up to whole accesses.
template <class C>
LITE_RTSE_SHARED_CODE constexpr int window_size(int taps) {
  return int(round_up(kStripColumns<C> + taps - 1, kStripColumns<C>));
}

template <int N, class C>
__device__ __forceinline__ void load_window(C (&x)[N], const C* from) {
  constexpr int W = kStripColumns<C>;
#pragma unroll
  for (int n = 0; n < N; n += W) {
    const Pack<C, W> pack = load_pack<W>(from + n);
#pragma unroll
    for (int k = 0; k < W; ++k) x[n + k] = pack.at[k];
  }
}

// sum += the convolution; row(i) points at the window of input row i.
template <int K, int R, int W, class C, class Row>
__device__ __forceinline__ void convolve_window(C (&sum)[R][W], const C (&w)[K * K], Row&& row) {
#pragma unroll
  for (int i = 0; i < R + K - 1; ++i) {
    C x[window_size<C>(K)];
    load_window(x, row(i));
#pragma unroll
    for (int r = 0; r < R; ++r) {
      if (i - r < 0 || i - r >= K) continue;
#pragma unroll
      for (int j = 0; j < K; ++j)
#pragma unroll
        for (int c = 0; c < W; ++c) sum[r][c] += w[(i - r) * K + j] * x[c + j];
    }
  }
}

// dw += the weight gradient.
template <int K, int R, int W, class C, class Row>
__device__ __forceinline__ void weight_gradient_window(C (&dw)[K * K], const C (&g)[R][W], Row&& row) {
#pragma unroll
  for (int i = 0; i < R + K - 1; ++i) {
    C x[window_size<C>(K)];
    load_window(x, row(i));
#pragma unroll
    for (int r = 0; r < R; ++r) {
      if (i - r < 0 || i - r >= K) continue;
#pragma unroll
      for (int j = 0; j < K; ++j)
#pragma unroll
        for (int c = 0; c < W; ++c) dw[(i - r) * K + j] += g[r][c] * x[c + j];
    }
  }
}

}  // namespace lite_rtse::cuda
