// The parts of the Conv-Block that are not 1x1 convolutions, for any number of channels and any type. All data is in
// global memory, in the compute type.
#pragma once

#include "../common/reduce.cuh"
#include "conv_block.h"

namespace lite_rtse::cuda {

struct ConvLoops {
  int64_t planes, channels, frames, bins;  // planes: channels of all utterances
};

// y = bias + causal depthwise 3x3 convolution of x. With `reversed` it is the gradient of that convolution with respect
// to x for a given y. A thread computes one element.
template <class T>
__global__ void __launch_bounds__(ConvBlockLoopsPlan::kThreads)
    conv_block_depthwise(const Compute<T>* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias,
                         Compute<T>* __restrict__ y, bool reversed, const __grid_constant__ ConvLoops a) {
  using C = Compute<T>;
  const int64_t index = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= a.planes * a.frames * a.bins) return;
  const int64_t f = index % a.bins, row = index / a.bins, t = row % a.frames, c = row / a.frames % a.channels;
  const int64_t first = reversed ? t : t - kConvLookBack;
  C sum = bias ? C(to_compute(bias[c])) : C(0);
#pragma unroll
  for (int i = 0; i < 3; ++i)
#pragma unroll
    for (int j = 0; j < 3; ++j) {
      if (first + i < 0 || first + i >= a.frames || f + j < 1 || f + j > a.bins) continue;
      const int tap = reversed ? kConvTaps - 1 - (3 * i + j) : 3 * i + j;
      sum += C(to_compute(weight[c * kConvTaps + tap])) * x[index + (first + i - t) * a.bins + j - 1];
    }
  y[index] = sum;
}

// s becomes dv = dy s, v becomes ds = dy v.
template <class T>
__global__ void __launch_bounds__(ConvBlockLoopsPlan::kThreads)
    conv_block_split(const T* __restrict__ dy, Compute<T>* __restrict__ s, Compute<T>* __restrict__ v, int64_t count) {
  const int64_t index = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= count) return;
  const Compute<T> d = to_compute(dy[index]);
  s[index] *= d;
  v[index] *= d;
}

// A block sums the taps and the bias of one channel over a segment of an utterance. Row r of the partial sums belongs
// to segment r: the taps of all channels, then the biases.
template <class C>
__global__ void __launch_bounds__(ConvBlockLoopsPlan::kThreads)
    conv_block_taps(const C* __restrict__ du, const C* __restrict__ h, C* __restrict__ partial, int64_t segment,
                    int64_t segments, const __grid_constant__ ConvLoops a) {
  __shared__ C sums[ConvBlockLoopsPlan::kThreads / kWarp][kConvTaps + 1];
  const int64_t c = blockIdx.x % a.channels, row = blockIdx.x / a.channels;
  const int64_t begin = row % segments * segment, end = begin + segment < a.frames ? begin + segment : a.frames;
  const int64_t plane = (row / segments * a.channels + c) * a.frames * a.bins;
  C sum[kConvTaps + 1] = {};
  for (int64_t i = threadIdx.x; i < (end - begin) * a.bins; i += blockDim.x) {
    const int64_t t = begin + i / a.bins, f = i % a.bins, at = plane + t * a.bins + f;
    const C d = du[at];
    sum[kConvTaps] += d;
#pragma unroll
    for (int j = 0; j < 3; ++j)
#pragma unroll
      for (int k = 0; k < 3; ++k)
        if (t + j >= kConvLookBack && f + k >= 1 && f + k <= a.bins)
          sum[3 * j + k] += d * h[at + (j - kConvLookBack) * a.bins + k - 1];
  }
#pragma unroll
  for (int k = 0; k <= kConvTaps; ++k) {
    sum[k] = warp_sum(sum[k]);
    if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp][k] = sum[k];
  }
  __syncthreads();
  if (threadIdx.x > kConvTaps) return;
  C total = 0;
  for (int warp = 0; warp < ConvBlockLoopsPlan::kThreads / kWarp; ++warp) total += sums[warp][threadIdx.x];
  C* const to = partial + row * a.channels * (kConvTaps + 1);
  to[threadIdx.x < kConvTaps ? c * kConvTaps + threadIdx.x : a.channels * kConvTaps + c] = total;
}

}  // namespace lite_rtse::cuda
