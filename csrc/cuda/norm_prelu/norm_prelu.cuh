// Kernels of batch norm and PReLU. norm_prelu.h says what they do after one another.
//
// With x^ = (x - mean) / sqrt(var + eps), z = weight x^ + bias, g = dy for z > 0 and slope dy otherwise, and averages
// over the n values of a channel:
//
//     dbias = Σ g,   dweight = Σ g x^,   dslope = Σ dy z for z <= 0
//     dx = weight / sqrt(var + eps) (g - dbias / n - x^ dweight / n)
//
// The last two terms come from the mean and the variance; they are absent if these are given.
#pragma once

#include "../common/flat.cuh"
#include "../common/reduce.cuh"
#include "norm_prelu.h"

namespace lite_rtse::cuda {

__device__ __forceinline__ float inverse_root(float x) { return 1.0f / sqrtf(x); }
__device__ __forceinline__ double inverse_root(double x) { return 1.0 / sqrt(x); }

template <class C>
struct alignas(16) NormConstants {
  C mean, scale, bias, slope;
  C inverse, of_mean, of_var, unused;

  __device__ __forceinline__ C z(C x) const { return (x - mean) * scale + bias; }
  __device__ __forceinline__ C activated(C z) const { return z > 0 ? z : slope * z; }
  __device__ __forceinline__ C before_activation(C z, C dy) const { return z > 0 ? dy : slope * dy; }
};

// The tensors, typed. `constants`, `slopes` and `partial` lie in the workspace.
template <class T>
struct NormTensors {
  using C = Compute<T>;
  int64_t batch, channels, points;
  int64_t utterances, pieces, parts;  // as in the plan
  const T *x, *dy, *weight, *bias, *slope, *mean, *var;
  bool slope_each, batch_statistics;
  C eps, *statistics;
  T *result, *dweight, *dbias;  // result: y, or dx
  NormConstants<C>* constants;
  C *slope_sums, *partial;

  __device__ __forceinline__ C number(const T* from, int64_t c, C otherwise) const {
    return from ? C(to_compute(from[c])) : otherwise;
  }
  __device__ __forceinline__ NormConstants<C> of_channel(int64_t c, C mean_of, C var_of) const {
    const C inverse = inverse_root(var_of + eps);
    return {mean_of,
            inverse * number(weight, c, C(1)),
            number(bias, c, C(0)),
            number(slope, slope_each ? c : 0, C(1)),
            inverse,
            C(0),
            C(0),
            C(0)};
  }
};

// The place of a block among the sums: its channel, its utterances and its points.
struct NormPart {
  int64_t channel, part, first, last, begin, count;  // utterances [first, last), points [begin, begin + count)

  template <class T>
  __device__ explicit NormPart(const NormTensors<T>& a) {
    channel = blockIdx.x / a.parts, part = blockIdx.x % a.parts;
    first = part / a.pieces * a.utterances;
    last = first + a.utterances < a.batch ? first + a.utterances : a.batch;
    begin = part % a.pieces * NormPreluPlan::kPart;
    count = a.points - begin < NormPreluPlan::kPart ? a.points - begin : NormPreluPlan::kPart;
  }
  __device__ int64_t size() const { return (last - first) * count; }

  // f(at, n) for packs of neighboring numbers that begin at a boundary of 16 bytes in x. The threads share them.
  template <class T, class F>
  __device__ __forceinline__ void for_each_pack(const NormTensors<T>& a, F&& f) const {
    constexpr int W = kWidest<T>;
    for (int64_t b = first; b < last; ++b) {
      const int64_t start = (b * a.channels + channel) * a.points + begin;
      const int head = to_boundary(a.x + start), before = head ? W - head : 0;
      // the first pack may begin before the part
      for (int slot = int(threadIdx.x); slot * W < before + count; slot += int(blockDim.x)) {
        const int at = slot ? slot * W - before : 0, end = slot * W - before + W;
        f(start + at, (end < count ? end : int(count)) - at);
      }
    }
  }
};

// The sum over the block, for its first thread; the same order for any values. `sums` has a number for each warp.
template <class C>
__device__ __forceinline__ C block_sum(C x, C* sums) {
  x = warp_sum(x);
  __syncthreads();  // the sums before have been read
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = x;
  __syncthreads();
  C total = 0;
  for (int warp = 0; warp < int(blockDim.x) / kWarp; ++warp) total += sums[warp];
  return total;
}

// Leaves the mean of each part, and the sum of the squares of the distances from it.
template <class T>
__global__ void __launch_bounds__(NormPreluPlan::kThreads, 2)
    norm_statistics(const __grid_constant__ NormTensors<T> a) {
  using C = Compute<T>;
  constexpr int W = kWidest<T>;
  __shared__ C sums[NormPreluPlan::kThreads / kWarp];
  const NormPart part(a);
  C sum = 0, squares = 0;
  part.for_each_pack(a, [&](int64_t at, int n) {
    const Pack<C, W> x = load_some<C, W>(a.x + at, n);
#pragma unroll
    for (int i = 0; i < W; ++i) sum += x.at[i];  // zeros behind the first n
  });
  const C mean = block_sum(sum, sums) / C(part.size());
  part.for_each_pack(a, [&](int64_t at, int n) {
    const Pack<C, W> x = load_some<C, W>(a.x + at, n);
#pragma unroll
    for (int i = 0; i < W; ++i) squares += i < n ? (x.at[i] - mean) * (x.at[i] - mean) : C(0);
  });
  squares = block_sum(squares, sums);
  if (threadIdx.x > 0) return;
  C* const row = a.partial + (part.channel * a.parts + part.part) * 2;
  row[0] = mean, row[1] = squares;
}

// f(part) for the parts of a lane's channel, summed over the warp in a fixed order.
template <class F>
__device__ __forceinline__ double sum_of_parts(int64_t parts, F&& f) {
  double sum = 0;
  for (int64_t p = threadIdx.x % kWarp; p < parts; p += kWarp) sum += f(p);
  return warp_sum(sum);
}

// The number of values of a part.
template <class T>
__device__ __forceinline__ double part_size(const NormTensors<T>& a, int64_t p) {
  const int64_t first = p / a.pieces * a.utterances, begin = p % a.pieces * NormPreluPlan::kPart;
  const int64_t utterances = a.batch - first < a.utterances ? a.batch - first : a.utterances;
  return double(utterances * (a.points - begin < NormPreluPlan::kPart ? a.points - begin : NormPreluPlan::kPart));
}

// The channel's mean and variance, unless they are given, and its constants.
template <class T>
__global__ void __launch_bounds__(NormPreluPlan::kFinishWarps* kWarp)
    norm_statistics_finish(const __grid_constant__ NormTensors<T> a) {
  using C = Compute<T>;
  const int64_t c = int64_t(blockIdx.x) * NormPreluPlan::kFinishWarps + threadIdx.x / kWarp;
  if (c >= a.channels) return;  // the whole warp
  C mean = a.number(a.mean, c, C(0)), var = a.number(a.var, c, C(0));
  const double size = double(a.batch * a.points);
  if (!a.mean && size > 0) {
    const C* const rows = a.partial + c * a.parts * 2;
    const double all = sum_of_parts(a.parts, [&](int64_t p) { return part_size(a, p) * double(rows[2 * p]); }) / size;
    const double squares = sum_of_parts(a.parts, [&](int64_t p) {
      const double away = double(rows[2 * p]) - all;
      return double(rows[2 * p + 1]) + part_size(a, p) * away * away;
    });
    mean = C(all), var = C(squares / size);
  }
  if (threadIdx.x % kWarp > 0) return;
  a.statistics[c] = mean, a.statistics[a.channels + c] = var;
  a.constants[c] = a.of_channel(c, mean, var);
}

// Leaves dweight, dbias and dslope of each part.
template <class T>
__global__ void __launch_bounds__(NormPreluPlan::kThreads, 2) norm_gradients(const __grid_constant__ NormTensors<T> a) {
  using C = Compute<T>;
  constexpr int W = kWidest<T>;
  __shared__ C sums[NormPreluPlan::kThreads / kWarp];
  const NormPart part(a);
  const NormConstants<C> k =
      a.of_channel(part.channel, a.statistics[part.channel], a.statistics[a.channels + part.channel]);
  C weight = 0, bias = 0, slope = 0;
  part.for_each_pack(a, [&](int64_t at, int n) {
    const Pack<C, W> x = load_some<C, W>(a.x + at, n), dy = load_some<C, W>(a.dy + at, n);
#pragma unroll
    for (int i = 0; i < W; ++i) {  // dy is zero behind the first n
      const C z = k.z(x.at[i]), g = k.before_activation(z, dy.at[i]);
      bias += g, weight += g * ((x.at[i] - k.mean) * k.inverse);
      slope += z > 0 ? C(0) : dy.at[i] * z;
    }
  });
  weight = block_sum(weight, sums), bias = block_sum(bias, sums), slope = block_sum(slope, sums);
  if (threadIdx.x > 0) return;
  C* const row = a.partial + (part.channel * a.parts + part.part) * 3;
  row[0] = weight, row[1] = bias, row[2] = slope;
}

// The channel's gradients, and its constants.
template <class T>
__global__ void __launch_bounds__(NormPreluPlan::kFinishWarps* kWarp)
    norm_gradients_finish(const __grid_constant__ NormTensors<T> a) {
  using C = Compute<T>;
  const int64_t c = int64_t(blockIdx.x) * NormPreluPlan::kFinishWarps + threadIdx.x / kWarp;
  if (c >= a.channels) return;  // the whole warp
  const C* const rows = a.partial + c * a.parts * 3;
  const int64_t parts = a.points > 0 ? a.parts : 0;
  const double weight = sum_of_parts(parts, [&](int64_t p) { return double(rows[3 * p]); });
  const double bias = sum_of_parts(parts, [&](int64_t p) { return double(rows[3 * p + 1]); });
  const double slope = sum_of_parts(parts, [&](int64_t p) { return double(rows[3 * p + 2]); });
  if (threadIdx.x % kWarp > 0) return;
  NormConstants<C> k = a.of_channel(c, a.statistics[c], a.statistics[a.channels + c]);
  const double size = double(a.batch * a.points);
  if (a.batch_statistics && size > 0) k.of_mean = C(bias / size), k.of_var = C(weight / size) * k.inverse;
  a.constants[c] = k;
  a.slope_sums[c] = C(slope);
  if (a.dweight) a.dweight[c] = from_compute<T>(C(weight));
  if (a.dbias) a.dbias[c] = from_compute<T>(C(bias));
}

// y, or dx. A block has kChunk neighboring numbers; the divisors are those of points, if these are fewer than kChunk,
// and of channels.
template <class T, bool Backward>
__global__ void __launch_bounds__(NormPreluPlan::kThreads, 4)
    norm_apply(const __grid_constant__ NormTensors<T> a, const __grid_constant__ Divisor by_points) {
  using C = Compute<T>;
  constexpr int W = kWidest<T>, kChunk = NormPreluPlan::kChunk;
  const int64_t start = int64_t(blockIdx.x) * kChunk, left = a.batch * a.channels * a.points - start;
  const int64_t row = start / a.points, offset = start % a.points;
  const int channel = int(row % a.channels), count = int(left < kChunk ? left : kChunk);
  // The number of ends of a channel before number i.
  const auto ends_before = [&](int i) {
    return a.points > kChunk ? int(offset + i >= a.points) : by_points.divide(int(offset) + i);
  };
  const auto constants_of = [&](int ends) { return a.constants[(channel + ends) % int(a.channels)]; };
  const auto applied = [&](const NormConstants<C>& k, C x, C dy) {
    const C z = k.z(x);
    if (!Backward) return k.activated(z);
    return k.scale * (k.before_activation(z, dy) - k.of_mean - (x - k.mean) * k.of_var);
  };
  for (int i = int(threadIdx.x) * W; i < count; i += NormPreluPlan::kThreads * W) {
    const Pack<C, W> x = load_some<C, W>(a.x + start + i, count - i);
    Pack<C, W> dy{}, result;
    if (Backward) dy = load_some<C, W>(a.dy + start + i, count - i);
    const int first = ends_before(i), last = ends_before(i + W - 1);
    NormConstants<C> k = constants_of(first);
#pragma unroll
    for (int j = 0; j < W; ++j) {
      if (first != last) k = constants_of(ends_before(i + j));
      result.at[j] = applied(k, x.at[j], dy.at[j]);
    }
    store_some(a.result + start + i, result, count - i);
  }
}

}  // namespace lite_rtse::cuda
