// Kernels of the causal depthwise convolution. One kernel computes y and also dx; another computes dweight and dbias.
#pragma once

#include "../common/depthwise.cuh"
#include "../common/flat.cuh"
#include "../common/reduce.cuh"
#include "causal_dwconv2d.h"

namespace lite_rtse::cuda {

// The march of one block over its segment: the rows and plane that it uses, and their places in shared memory.
struct DwconvMarch {
  int64_t channels, frames;
  int bins, rows, pitch;
  int64_t segment, segments;
  Divisor bin_divisor;
};

struct DwconvPlace {
  int64_t plane, channel, row;  // row of the partial sums
  int64_t begin, end;           // frames
};
__device__ __forceinline__ DwconvPlace dwconv_place(const DwconvMarch& m) {
  const int64_t plane = blockIdx.x / m.segments, s = blockIdx.x % m.segments;
  const int64_t begin = s * m.segment, end = begin + m.segment;
  return {plane, plane % m.channels, plane / m.channels * m.segments + s, begin, end < m.frames ? end : m.frames};
}

// Loads rows [first, first + count) of a plane; rows outside [0, frames) are zero. There are `padding` columns of zeros
// before the bins and zeros behind them. Row t goes to slot(t).
template <class C, class T, class Slot>
__device__ void load_rows(C* __restrict__ to, const T* __restrict__ plane, const DwconvMarch& m, int padding,
                          int64_t first, int count, Slot&& slot) {
  const int behind = padding + m.bins, empty = m.pitch - m.bins;
  for (int i = threadIdx.x; i < count * empty; i += blockDim.x) {
    const int column = i % empty;
    to[slot(i / empty) * m.pitch + (column < padding ? column : behind + column - padding)] = C(0);
  }
  const int before = int(first < 0 ? (first + count < 0 ? count : -first) : 0);
  const int64_t left = m.frames - first;
  const int inside = int(left < count ? (left < before ? before : left) : count);
  for (int i = threadIdx.x; i < (count - (inside - before)) * m.bins; i += blockDim.x) {
    const int r = m.bin_divisor.divide(i), column = i - r * m.bins;
    to[slot(r < before ? r : r + inside - before) * m.pitch + padding + column] = C(0);
  }
  load_span(plane + (first + before) * m.bins, (inside - before) * m.bins, [&](int i, C value) {
    const int r = m.bin_divisor.divide(i);
    to[slot(before + r) * m.pitch + padding + i - r * m.bins] = value;
  });
}

// The number of blocks that a multiprocessor shall hold. At 7 x 7 the taps alone take 49 registers, or 98 in double
// precision.
template <class C, int K>
inline constexpr int kDwconvBlocks = sizeof(C) * K > 28 ? 1 : 2;

// y[t] = bias + Σ_i w[i] x[t + offset + i]. With offset = 1 - K this is the forward convolution. With offset = 0 and
// the taps reversed it is the gradient with respect to x.
template <class T, int K>
__global__ void __launch_bounds__(CausalDwconv2dPlan::kThreads, kDwconvBlocks<Compute<T>, K>)
    dwconv_convolve(const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias,
                    T* __restrict__ y, bool reversed, const __grid_constant__ DwconvMarch m) {
  using C = Compute<T>;
  constexpr int R = CausalDwconv2dPlan::kRows, W = kStripColumns<C>, kHistory = K - 1;
  const int ring_rows = m.rows + kHistory, strips = (m.bins + W - 1) / W;
  C* const ring = dynamic_shared<C>();
  C* const out = ring + ring_rows * m.pitch;
  const DwconvPlace at = dwconv_place(m);
  const int64_t plane = at.plane * m.frames * m.bins, offset = reversed ? 0 : -kHistory;

  // The taps go through shared memory. They then stay in registers instead of being read and converted again in each
  // chunk.
  C* const taps = ring;
  for (int k = threadIdx.x; k < K * K; k += blockDim.x)
    taps[reversed ? K * K - 1 - k : k] = to_compute(weight[at.channel * (K * K) + k]);
  if (threadIdx.x == 0) taps[K * K] = bias ? C(to_compute(bias[at.channel])) : C(0);
  __syncthreads();
  C w[K * K];
#pragma unroll
  for (int k = 0; k < K * K; ++k) w[k] = taps[k];
  const C b = taps[K * K];
  __syncthreads();

  int base = 0;  // ring row of the chunk's first input row
  const auto slot = [&](int i) { return base + i < ring_rows ? base + i : base + i - ring_rows; };
  load_rows(ring, x + plane, m, K / 2, at.begin + offset, kHistory, slot);
  for (int64_t t = at.begin; t < at.end; t += m.rows) {
    load_rows(ring, x + plane, m, K / 2, t + offset + kHistory, m.rows, [&](int i) { return slot(kHistory + i); });
    __syncthreads();
    for (int item = threadIdx.x; item < strips * (m.rows / R); item += blockDim.x) {
      const int group = item / strips, column = (item - group * strips) * W;
      C sum[R][W];
#pragma unroll
      for (int r = 0; r < R; ++r)
#pragma unroll
        for (int c = 0; c < W; ++c) sum[r][c] = b;
      convolve_window<K, R>(sum, w, [&](int i) { return ring + slot(group * R + i) * m.pitch + column; });
#pragma unroll
      for (int r = 0; r < R; ++r) {
        Pack<C, W> row;
#pragma unroll
        for (int c = 0; c < W; ++c) row.at[c] = sum[r][c];
        store_pack<W>(out + (group * R + r) * m.pitch + column, row);
      }
    }
    __syncthreads();
    const int64_t left = at.end - t;
    store_span(y + plane + t * m.bins, int(left < m.rows ? left : m.rows) * m.bins, [&](int i) {
      const int r = m.bin_divisor.divide(i);
      return out[r * m.pitch + i - r * m.bins];
    });
    base = slot(m.rows);
  }
}

// Partial sums of dweight and dbias of one segment.
template <class T, int K>
__global__ void __launch_bounds__(CausalDwconv2dPlan::kThreads, kDwconvBlocks<Compute<T>, K>)
    dwconv_weight_gradient(const T* __restrict__ x, const T* __restrict__ dy, Compute<T>* __restrict__ partial,
                           int64_t partial_width, const __grid_constant__ DwconvMarch m) {
  using C = Compute<T>;
  constexpr int R = CausalDwconv2dPlan::kRows, W = kStripColumns<C>, kHistory = K - 1, kSums = K * K + 1;
  const int ring_rows = m.rows + kHistory, strips = (m.bins + W - 1) / W;
  C* const ring = dynamic_shared<C>();
  C* const gradient = ring + ring_rows * m.pitch;
  const DwconvPlace at = dwconv_place(m);
  const int64_t plane = at.plane * m.frames * m.bins;

  int base = 0;
  const auto slot = [&](int i) { return base + i < ring_rows ? base + i : base + i - ring_rows; };
  C dw[K * K] = {}, db = 0;
  load_rows(ring, x + plane, m, K / 2, at.begin - kHistory, kHistory, slot);
  for (int64_t t = at.begin; t < at.end; t += m.rows) {
    load_rows(ring, x + plane, m, K / 2, t, m.rows, [&](int i) { return slot(kHistory + i); });
    load_rows(gradient, dy + plane, m, 0, t, m.rows, [](int i) { return i; });
    __syncthreads();
    for (int item = threadIdx.x; item < strips * (m.rows / R); item += blockDim.x) {
      const int group = item / strips, column = (item - group * strips) * W;
      C g[R][W];
#pragma unroll
      for (int r = 0; r < R; ++r) {
        const bool counts = t + group * R + r < at.end;
        load_window(g[r], gradient + (group * R + r) * m.pitch + column);
#pragma unroll
        for (int c = 0; c < W; ++c) db += g[r][c] = counts ? g[r][c] : C(0);
      }
      weight_gradient_window<K, R>(dw, g, [&](int i) { return ring + slot(group * R + i) * m.pitch + column; });
    }
    __syncthreads();
    base = slot(m.rows);
  }

  // The sums take the place of the ring, which has more room than the sums of all warps need.
  C* const sums = ring;
  C* const own = sums + threadIdx.x / kWarp * kSums;
#pragma unroll
  for (int k = 0; k < kSums; ++k) {
    const C sum = warp_sum(k < K * K ? dw[k < K * K ? k : 0] : db);
    if (threadIdx.x % kWarp == 0) own[k] = sum;
  }
  __syncthreads();
  for (int k = threadIdx.x; k < kSums; k += blockDim.x) {
    C sum = 0;
    for (int warp = 0; warp < int(blockDim.x) / kWarp; ++warp) sum += sums[warp * kSums + k];
    const int64_t column = k < K * K ? at.channel * (K * K) + k : m.channels * (K * K) + at.channel;
    partial[at.row * partial_width + column] = sum;
  }
}

// For any kernel size and dilation: one thread computes one output, with all reads from global memory.
struct DwconvLoops {
  int64_t planes, channels, frames, bins, taps_t, taps_f, dilation;
};

template <class T>
__global__ void __launch_bounds__(CausalDwconv2dPlan::kThreads, 4)
    dwconv_convolve_loops(const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias,
                          T* __restrict__ y, bool reversed, const __grid_constant__ DwconvLoops a) {
  using C = Compute<T>;
  const int64_t index = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= a.planes * a.frames * a.bins) return;
  const int64_t f = index % a.bins, t = index / a.bins % a.frames, plane = index / (a.bins * a.frames);
  const T* const from = x + plane * a.frames * a.bins;
  const T* const w = weight + plane % a.channels * a.taps_t * a.taps_f;
  const int64_t first_row = reversed ? t : t - (a.taps_t - 1) * a.dilation, first_column = f - a.taps_f / 2;
  C sum = bias ? C(to_compute(bias[plane % a.channels])) : C(0);
  for (int64_t i = 0; i < a.taps_t; ++i) {
    const int64_t row = first_row + i * a.dilation;
    if (row < 0 || row >= a.frames) continue;
    for (int64_t j = 0; j < a.taps_f; ++j) {
      const int64_t column = first_column + j, tap = i * a.taps_f + j;
      if (column < 0 || column >= a.bins) continue;
      sum +=
          C(to_compute(w[reversed ? a.taps_t * a.taps_f - 1 - tap : tap])) * C(to_compute(from[row * a.bins + column]));
    }
  }
  y[index] = from_compute<T>(sum);
}

// A block sums one tap, or one bias, over one segment of an utterance.
template <class T>
__global__ void __launch_bounds__(CausalDwconv2dPlan::kThreads, 4)
    dwconv_weight_gradient_loops(const T* __restrict__ x, const T* __restrict__ dy, Compute<T>* __restrict__ partial,
                                 int64_t segment, int64_t segments, const __grid_constant__ DwconvLoops a) {
  using C = Compute<T>;
  __shared__ C sums[CausalDwconv2dPlan::kThreads / kWarp];
  const int64_t taps = a.taps_t * a.taps_f, width = a.channels * (taps + 1);
  const int64_t row = blockIdx.x / width, column = blockIdx.x % width;
  const bool is_bias = column >= a.channels * taps;
  const int64_t c = is_bias ? column - a.channels * taps : column / taps, tap = column % taps;
  const int64_t plane = (row / segments * a.channels + c) * a.frames * a.bins;
  const int64_t begin = row % segments * segment, end = begin + segment < a.frames ? begin + segment : a.frames;
  const int64_t back = is_bias ? 0 : (a.taps_t - 1 - tap / a.taps_f) * a.dilation;
  const int64_t aside = is_bias ? 0 : tap % a.taps_f - a.taps_f / 2;
  C sum = 0;
  for (int64_t i = threadIdx.x; i < (end - begin) * a.bins; i += blockDim.x) {
    const int64_t t = begin + i / a.bins, f = i % a.bins;
    if (t - back < 0 || f + aside < 0 || f + aside >= a.bins) continue;
    const C g = to_compute(dy[plane + t * a.bins + f]);
    sum += is_bias ? g : g * C(to_compute(x[plane + (t - back) * a.bins + f + aside]));
  }
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int warp = 1; warp < CausalDwconv2dPlan::kThreads / kWarp; ++warp) sum += sums[warp];
  partial[blockIdx.x] = sum;
}

}  // namespace lite_rtse::cuda
