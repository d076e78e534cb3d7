// The parts of the Conv-Block's fused kernels: the place of a block, and the work of a warp on one row of a strip.
//
// A warp divides its row among its lanes in three ways. For global memory and narrow products, lane = column. For the
// depthwise convolution, lane = channel: the lane marches over the columns, with the taps in registers. For products of
// 32 x 32, the division is that of tile.cuh: a lane has 4 columns of 8 channels. Here these channels are those of
// `lane_channel`.
#pragma once

#include "../common/tile.cuh"
#include "conv_block.h"

namespace lite_rtse::cuda {

static_assert(kConvColumns == kWarp && kConvColumns == kTile && kConvWeightPitch == kWeightPitch);

// Channel i of the 8 channels that a lane holds in a product. Neighboring lanes have every other channel. Stores of 16
// bytes then have no bank conflicts with `conv_pitch`.
__device__ __forceinline__ int lane_channel(int row, int i) { return 2 * row + (i & 1) + 8 * (i >> 1); }

// The place of channel c among the numbers of all lanes, with 8 per lane row: the inverse of `lane_channel`.
__device__ __forceinline__ int channel_slot(int c) { return c % 8 / 2 * 8 + c / 8 * 2 + c % 2; }

// The block's threads fill a matrix for accumulate_product with w(target, source) = weight[target * target_stride +
// source * source_stride]. There are zeros behind the last target.
template <class C, class T>
__device__ void stage_matrix(C* __restrict__ to, const T* __restrict__ weight, int target_stride, int source_stride,
                             int targets, int sources) {
  for (int i = threadIdx.x; i < sources * kConvChannels; i += blockDim.x) {
    const int source = i / kConvChannels, target = i % kConvChannels;
    to[source * kConvWeightPitch + channel_slot(target)] =
        target < targets ? C(to_compute(weight[target * target_stride + source * source_stride])) : C(0);
  }
}

// A vector of one number per channel, in the order in which the lanes of a product read it.
template <class C, class T>
__device__ void stage_vector(C* __restrict__ to, const T* __restrict__ from, int channels) {
  for (int c = threadIdx.x; c < kConvChannels; c += blockDim.x)
    to[channel_slot(c)] = c < channels ? C(to_compute(from[c])) : C(0);
}

// A matrix (targets, sources) for `narrow_product`: each target has 32 sources.
template <class C, class T>
__device__ void stage_narrow(C* __restrict__ to, const T* __restrict__ weight, int target_stride, int source_stride,
                             int targets, int sources) {
  for (int i = threadIdx.x; i < targets * kConvChannels; i += blockDim.x) {
    const int target = i / kConvChannels, source = i % kConvChannels;
    to[i] = source < sources ? C(to_compute(weight[target * target_stride + source * source_stride])) : C(0);
  }
}

// The part of the plane that a block marches over, and this thread's column of it.
struct ConvPlace {
  int64_t utterance, begin, end;  // frames [begin, end)
  int bin;                        // the bin of column 0; -1 in the first strip
  bool exists, own;               // about this thread's column, with lane = column
};
__device__ __forceinline__ ConvPlace conv_place(const ConvBlockMarch& m) {
  int64_t block = blockIdx.x;
  ConvPlace p;
  p.bin = int(block % m.strips) * kConvOwn - 1, block /= m.strips;
  p.begin = block % m.segments * m.segment;
  p.end = p.begin + m.segment < m.frames ? p.begin + m.segment : m.frames;
  p.utterance = block / m.segments;
  const int column = threadIdx.x % kWarp, bin = p.bin + column;
  p.exists = bin >= 0 && bin < m.bins;
  p.own = p.exists && column > 0 && column <= kConvOwn;
  return p;
}
// The offset of column 0 of a frame in a tensor of `channels` channels. Columns before the plane are not accessed.
__device__ __forceinline__ int64_t conv_offset(const ConvBlockMarch& m, const ConvPlace& p, int channels,
                                               int64_t frame) {
  return (p.utterance * channels * m.frames + frame) * m.bins + p.bin;
}

// Bit j is set if column 4 quad + j lies within the plane.
__device__ __forceinline__ unsigned existing_columns(const ConvBlockMarch& m, const ConvPlace& p, int quad) {
  unsigned mask = 0;
#pragma unroll
  for (int j = 0; j < 4; ++j) mask |= unsigned(p.bin + quad * 4 + j >= 0 && p.bin + quad * 4 + j < m.bins) << j;
  return mask;
}

// Loads one row of all channels from global memory; zeros if `counts` is false. `from`: column 0 of channel 0.
template <class C, class T>
__device__ __forceinline__ void load_row(C* __restrict__ to, int pitch, const T* __restrict__ from, int64_t plane,
                                         int channels, bool counts) {
  const int column = threadIdx.x % kWarp;
#pragma unroll 16
  for (int c = 0; c < channels; ++c) to[c * pitch + column] = counts ? C(to_compute(from[c * plane + column])) : C(0);
}
// A thread's column of one row between global memory and a tile. The loads are under way until the row is stored.
template <class T>
struct HeldRow {
  T at[kConvChannels];

  // The arguments are those of load_row.
  __device__ __forceinline__ void load(const T* __restrict__ from, int64_t plane, int channels, bool counts) {
    from += threadIdx.x % kWarp;
    const int rows = counts ? channels : 0;
#pragma unroll
    for (int c = 0; c < kConvChannels; ++c, from += plane) at[c] = c < rows ? *from : T{};
  }
  template <class C>
  __device__ __forceinline__ void store(C* __restrict__ to, int pitch, int channels) const {
    to += threadIdx.x % kWarp;
#pragma unroll
    for (int c = 0; c < kConvChannels; ++c, to += pitch)
      if (c < channels) *to = to_compute(at[c]);
  }
};

template <class C, class T>
__device__ __forceinline__ void store_row(T* __restrict__ to, int64_t plane, const C* __restrict__ from, int pitch,
                                          int channels, bool counts) {
  const int column = threadIdx.x % kWarp;
#pragma unroll 8
  for (int c = 0; c < channels; ++c)
    if (counts) to[c * plane + column] = from_compute<T>(from[c * pitch + column]);
}

// A ring of `rows` + 2 rows of h or du. It holds row i of a chunk's rows and the two rows that they depend on.
struct ConvRing {
  int rows, base = 0;
  __device__ __forceinline__ explicit ConvRing(int chunk) : rows(chunk + kConvLookBack) {}
  __device__ __forceinline__ int at(int i) const {
    return (base + i < rows ? base + i : base + i - rows) * kConvColumns;
  }
  __device__ __forceinline__ void advance() {
    base = base < kConvLookBack ? base + rows - kConvLookBack : base - kConvLookBack;
  }
};

// Calls use(q, x) for each quad q of columns. x[i][0 … 5] are the columns 4 q - 1 … 4 q + 4 of three rows of one
// channel. Columns outside the strip are zeros; they only affect columns that are not the strip's own.
template <class C, class Use>
__device__ __forceinline__ void slide(const C* const (&row)[3], Use&& use) {
  constexpr int kQuads = kConvColumns / 4;
  C left[3] = {};
  Pack<C, 4> quad[3];
#pragma unroll
  for (int i = 0; i < 3; ++i) quad[i] = load_pack<4>(row[i]);
#pragma unroll
  for (int q = 0; q < kQuads; ++q) {
    C x[3][6];
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      Pack<C, 4> next{};
      if (q + 1 < kQuads) next = load_pack<4>(row[i] + 4 * q + 4);
      x[i][0] = left[i], x[i][5] = next.at[0];
#pragma unroll
      for (int k = 0; k < 4; ++k) x[i][k + 1] = quad[i].at[k];
      left[i] = quad[i].at[3];
      quad[i] = next;
    }
    use(q, x);
  }
}

// Taps and bias of dw in shared memory, with the channels side by side. They are thus in registers only while they are
// needed. With `reversed` they are the taps of the gradient with respect to h, without bias.
template <class C, class T>
__device__ void stage_taps(C* __restrict__ to, const T* __restrict__ weight, const T* __restrict__ bias, bool reversed,
                           int channels) {
  for (int i = threadIdx.x; i < (kConvTaps + 1) * kConvChannels; i += blockDim.x) {
    const int k = i / kConvChannels, c = i % kConvChannels;
    const T* from = weight + c * kConvTaps + (reversed ? kConvTaps - 1 - k : k);
    if (k == kConvTaps) from = bias ? bias + c : nullptr;
    to[i] = c < channels && from ? C(to_compute(*from)) : C(0);
  }
}

// The depthwise convolution of one row, with lane = channel: calls put(q, sums) for each quad of columns.
template <class C, class Put>
__device__ __forceinline__ void convolve_row(const C* const (&row)[3], const C* taps, Put&& put) {
  C tap[kConvTaps];
#pragma unroll
  for (int k = 0; k < kConvTaps; ++k) tap[k] = taps[k * kConvChannels];
  const C bias = taps[kConvTaps * kConvChannels];
  slide(row, [&](int q, const C(&x)[3][6]) {
    Pack<C, 4> sum{{bias, bias, bias, bias}};
#pragma unroll
    for (int i = 0; i < 3; ++i)
#pragma unroll
      for (int k = 0; k < 3; ++k)
#pragma unroll
        for (int j = 0; j < 4; ++j) sum.at[j] += tap[3 * i + k] * x[i][j + k];
    put(q, sum);
  });
}

// sum[n] = the products of N matrices with one row of `sources` channels.
template <int N, class C>
__device__ __forceinline__ void row_products(C (&sum)[N][8][4], const C* const (&matrix)[N], const C* row, int pitch,
                                             int sources, LanePlace lane) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[n][i][j] = 0;
  row += lane.quad * 4;
#pragma unroll 2
  for (int c = 0; c < sources; ++c) {
    const Pack<C, 4> x = load_pack<4>(row + c * pitch);
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const Pack<C, 8> w = load_pack<8>(matrix[n] + c * kConvWeightPitch + lane.row * 8);
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[n][i][j] += w.at[i] * x.at[j];
    }
  }
}

template <class C>
__device__ __forceinline__ Pack<C, 8> lane_vector(const C* vector, LanePlace lane) {
  return load_pack<8>(vector + lane.row * 8);
}

// Stores a lane's part of a product as one row of `channels` channels.
template <class C>
__device__ __forceinline__ void put_row(C* row, int pitch, const C (&sum)[8][4], int channels, LanePlace lane) {
#pragma unroll
  for (int i = 0; i < 8; ++i)
    if (lane_channel(lane.row, i) < channels)
      store_pack<4>(row + lane_channel(lane.row, i) * pitch + lane.quad * 4,
                    Pack<C, 4>{{sum[i][0], sum[i][1], sum[i][2], sum[i][3]}});
}

}  // namespace lite_rtse::cuda
