// Tiles in shared memory, (channels, points) in the compute type, and the two products that 1x1 convolutions consist
// of.
//
// A warp holds 32 rows x 32 columns of a product in registers, 32 numbers per lane. 32 multiply-adds then take three
// 128-bit loads. Two lanes that differ in bit 0 of their index read the same address for one operand; two that differ
// in bit 1 read the same address for the other. The two halves of a 128-bit access then need two passes through shared
// memory instead of four.
#pragma once

#include "tile.h"
#include "types.cuh"

namespace lite_rtse::cuda {

// The part of a 32 x 32 product that a lane holds: rows row + 4 i, i < 8, and columns 4 quad + j, j < 4. For a product
// of two tiles over their points it holds rows quad + 8 i, i < 4, and columns row + 4 j, j < 8.
struct LanePlace {
  int row, quad;
};
__device__ __forceinline__ LanePlace lane_place(int thread = threadIdx.x) {
  const int lane = thread % kWarp;
  return {(lane & 1) | (lane >> 1 & 2), (lane >> 1 & 1) | (lane >> 2 & 6)};
}

// The number of quads of a warp, and the number of a lane's neighboring points that fill 16 bytes.
inline constexpr int kQuads = kWarp / 4;
template <class C>
inline constexpr int kLanePoints = 16 / int(sizeof(C));

// Weights w(target, source) of one block of 32 x 32 in the order in which `accumulate_product` reads them. Each source
// has its 32 targets, in the order of the lanes that hold them.
__device__ __forceinline__ int weight_slot(int source, int target) {
  return source * kWeightPitch + target % 4 * 8 + target / 4;
}

// The block's threads fill a weight block for the given numbers of targets and sources. w(target, source) =
// weight[target * target_stride + source * source_stride]; the rest is filled with zeros.
template <class C, class T>
__device__ void stage_weights(C* __restrict__ to, const T* __restrict__ weight, int64_t target_stride,
                              int64_t source_stride, int64_t targets, int64_t sources) {
  for (int i = threadIdx.x; i < kTile * kTile; i += blockDim.x) {
    // Neighboring threads read neighboring elements. The threads of a warp write to different banks: targets side by
    // side, or eight sources side by side for every fourth of sixteen targets.
    const int lane = i % kTile, round = i / kTile;
    const bool by_source = source_stride == 1;
    const int target = by_source ? lane / 8 * 4 + round / 4 % 4 + round / 16 * 16 : lane;
    const int source = by_source ? lane % 8 + round % 4 * 8 : round;
    const bool exists = target < targets && source < sources;
    to[weight_slot(source, target)] =
        exists ? C(to_compute(weight[target * target_stride + source * source_stride])) : C(0);
  }
}

// The block's threads fill a tile: channel c < channels, point p < points with from[c * stride + p]. The rest of kTile
// channels of N points is filled with zeros.
template <int N, class C, class T>
__device__ void stage_points(C* __restrict__ to, const T* __restrict__ from, int64_t stride, int64_t channels,
                             int64_t points) {
  constexpr int kPitch = channel_pitch(N), kWide = kWidest<T>;
  const bool aligned = to_boundary(from) == 0 && stride % kWide == 0 && points >= N;
  if (aligned) {
#pragma unroll 4
    for (int i = threadIdx.x; i < kTile * N / kWide; i += blockDim.x) {
      const int c = i / (N / kWide), p = i % (N / kWide) * kWide;
      Pack<C, kWide> converted{};
      if (c < channels) {
        const Pack<T, kWide> read = load_pack<kWide>(from + c * stride + p);
#pragma unroll
        for (int k = 0; k < kWide; ++k) converted.at[k] = to_compute(read.at[k]);
      }
      store_pack<kWide>(to + c * kPitch + p, converted);
    }
    return;
  }
#pragma unroll 4
  for (int i = threadIdx.x; i < kTile * N; i += blockDim.x) {
    const int c = i / N, p = i % N;
    to[c * kPitch + p] = c < channels && p < points ? C(to_compute(from[c * stride + p])) : C(0);
  }
}

// A thread's part of such a tile between memory and the tile. The loads are under way until the numbers are stored, so
// that a block can multiply one tile meanwhile.
template <int N, int Threads, class T>
struct HeldPoints {
  static constexpr int kEach = kTile * N / Threads, kWide = kWidest<T>;
  // Each thread has the same points of every kRows-th channel; with wide accesses those of every kWideRows-th one.
  static constexpr int kRows = Threads / N, kWideRows = kRows * kWide;
  static_assert(Threads % N == 0);
  T at[kEach];
  bool wide;

  // The arguments are those of stage_points.
  __device__ __forceinline__ void load(const T* __restrict__ from, int64_t stride, int64_t channels, int64_t points) {
    wide = to_boundary(from) == 0 && stride % kWide == 0 && points >= N;
    if (wide) {
      constexpr int kPacks = N / kWide;
      int c = int(threadIdx.x) / kPacks;
      from += c * stride + int(threadIdx.x) % kPacks * kWide;
#pragma unroll
      for (int r = 0; r < kEach; r += kWide, c += kWideRows, from += kWideRows * stride) {
        Pack<T, kWide> read{};
        if (c < channels) read = load_pack<kWide>(from);
#pragma unroll
        for (int k = 0; k < kWide; ++k) at[r + k] = read.at[k];
      }
      return;
    }
    const int p = int(threadIdx.x) % N;
    const int rows = p < points ? int(channels < kTile ? channels : kTile) : 0;
    int c = int(threadIdx.x) / N;
    from += c * stride + p;
#pragma unroll
    for (int r = 0; r < kEach; ++r, c += kRows, from += kRows * stride) at[r] = c < rows ? *from : T{};
  }

  template <class C>
  __device__ __forceinline__ void store(C* __restrict__ to) const {
    constexpr int kPitch = channel_pitch(N);
    if (wide) {
      constexpr int kPacks = N / kWide;
      to += int(threadIdx.x) / kPacks * kPitch + int(threadIdx.x) % kPacks * kWide;
#pragma unroll
      for (int r = 0; r < kEach; r += kWide, to += kWideRows * kPitch) {
        Pack<C, kWide> converted;
#pragma unroll
        for (int k = 0; k < kWide; ++k) converted.at[k] = to_compute(at[r + k]);
        store_pack<kWide>(to, converted);
      }
      return;
    }
    to += int(threadIdx.x) / N * kPitch + int(threadIdx.x) % N;
#pragma unroll
    for (int r = 0; r < kEach; ++r, to += kRows * kPitch) *to = to_compute(at[r]);
  }
};

// sum[n][i][j] += Σ_c w(target, c) x[c][p] for the lane's 8 targets and its J points in each of N tiles. The tiles are
// `apart` elements from one another. `weights`: a weight block; `x`: channel 0 of the first tile at the warp's first
// point.
template <int N, int J, class C>
__device__ __forceinline__ void accumulate_product(C (&sum)[N][8][J], const C* weights, const C* x, int pitch,
                                                   int apart, int sources, LanePlace lane) {
  weights += lane.row * 8;
  x += lane.quad * J;
#pragma unroll 2  // more unrolling would take registers for operands that are used later
  for (int c = 0; c < sources; ++c) {
    const Pack<C, 8> w = load_pack<8>(weights + c * kWeightPitch);
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const Pack<C, J> xc = load_pack<J>(x + c * pitch + n * apart);
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < J; ++j) sum[n][i][j] += w.at[i] * xc.at[j];
    }
  }
}

// sum[i][j] += Σ_p a[row][p] b[column][p] over the `points` (a multiple of 4) from a and b on. With Bias also bias[i]
// += Σ_p a[row][p].
template <bool Bias, class C>
__device__ __forceinline__ void accumulate_outer(C (&sum)[4][8], C (&bias)[4], const C* a, int a_pitch, const C* b,
                                                 int b_pitch, int points, LanePlace lane) {
  a += lane.quad * a_pitch;
  b += lane.row * b_pitch;
#pragma unroll 1
  for (int p = 0; p < points; p += 4) {
    Pack<C, 4> ap[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) ap[i] = load_pack<4>(a + 8 * i * a_pitch + p);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const Pack<C, 4> bp = load_pack<4>(b + 4 * j * b_pitch + p);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int k = 0; k < 4; ++k) sum[i][j] += ap[i].at[k] * bp.at[k];
    }
    if constexpr (Bias) {
#pragma unroll
      for (int i = 0; i < 4; ++i) bias[i] += (ap[i].at[0] + ap[i].at[1]) + (ap[i].at[2] + ap[i].at[3]);
    }
  }
}

// Adds the parts of one outer product that the block's warps hold. Calls write(row, column, sum) for all of its
// elements; column 32 is the bias. The threads share these calls. `scratch`: kTile * (kTile + 4) numbers per warp,
// which the block no longer needs.
template <int Threads, class C, class Write>
__device__ __forceinline__ void sum_over_warps(C* scratch, const C (&sum)[4][8], const C (&bias)[4], LanePlace lane,
                                               Write&& write) {
  constexpr int kPitch = kTile + 4, kSize = kTile * kPitch;
  C* const own = scratch + threadIdx.x / kWarp * kSize;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = lane.quad + 8 * i;
#pragma unroll
    for (int j = 0; j < 8; ++j) own[row * kPitch + lane.row + 4 * j] = sum[i][j];
    if (lane.row == 0) own[row * kPitch + kTile] = bias[i];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kSize; i += Threads) {
    if (i % kPitch > kTile) continue;
    C total = scratch[i];
#pragma unroll
    for (int w = 1; w < Threads / kWarp; ++w) total += scratch[w * kSize + i];
    write(i / kPitch, i % kPitch, total);
  }
  __syncthreads();
}

}  // namespace lite_rtse::cuda
