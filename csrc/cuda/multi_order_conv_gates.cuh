// The gate chain of the Multi-Order block on tiles of points: y (or q, where `out` is a product of its own) in one pass
// over p_0, the gates and `final`.
//
//   s_k = p_k · gate_k,   p_{k+1} = A_k s_k + a_k,   q = final · p_{n-1},   y = W_out q + b_out
//
// A warp takes 32 points through the whole chain, 32 targets of a product in registers at a time. Only s_k is in shared
// memory: what a product gives is multiplied by the next gate, read from global memory meanwhile, before it is stored.
// Of the weights one block of 32 x 32 at a time is in shared memory, so any number of channels will do.
#pragma once

#include "multi_order_conv.h"
#include "tile.cuh"

namespace lite_rtse::cuda {

static_assert(channel_pitch(kTile) == kTile + GatesPlan::kTilePadding && kWeightBlock == GatesPlan::kWeights);

template <class T>
struct Gates {
  int64_t channels, points, tiles;  // tiles of one utterance
  int stages, pitch;                // of the tile in shared memory
  const T *weight[kMostStages], *bias[kMostStages], *w_out, *b_out;
  const T* p0;
  T* u;
  int64_t p0_utterance, u_utterance, p0_plane, u_plane;
  T* y;  // of one output channel; where it is null, q takes the place of `final`

  __device__ __forceinline__ int gate(int k) const { return int(gate_channels(channels, stages, k)); }
  // Channel of u where the factor of p_k begins: gate_k, or `final`.
  __device__ __forceinline__ int64_t factor(int k) const { return k < stages ? 2 * channels - 2 * gate(k) : 0; }
};

// A lane's points in a tile and in the planes.
struct GatePlace {
  LanePlace lane;
  int column;     // in the tile: the first of four
  int64_t point;  // in a plane
  int count;      // how many of the four exist
};

template <class T>
__device__ __forceinline__ GatePlace gate_place(const Gates<T>& a, int64_t tile) {
  GatePlace p;
  p.lane = lane_place();
  p.column = int(threadIdx.x) / kWarp * kTile + p.lane.quad * 4;
  p.point = tile * blockDim.x + p.column;
  p.count = int(a.points - p.point < 0 ? 0 : a.points - p.point < 4 ? a.points - p.point : 4);
  return p;
}

// The first `count` of four numbers, zeros behind them.
template <class C, class T>
__device__ __forceinline__ Pack<C, 4> load_quad(const T* p, int count) {
  Pack<C, 4> value{};
  if (count >= 4 && reinterpret_cast<uintptr_t>(p) % alignof(Pack<T, 4>) == 0) {
    const Pack<T, 4> read = load_pack<4>(p);
#pragma unroll
    for (int j = 0; j < 4; ++j) value.at[j] = to_compute(read.at[j]);
    return value;
  }
#pragma unroll
  for (int j = 0; j < 4; ++j)
    if (j < count) value.at[j] = to_compute(p[j]);
  return value;
}

// sum = the product of `sources` channels in shared memory with weights w(target, source) of 32 targets, in a lane's
// targets and points. All threads of the block call it; what they wrote to shared memory before is there.
template <class C, class T>
__device__ __forceinline__ void gate_product(C (&sum)[1][8][4], C* weights, const C* from, int pitch, int sources,
                                             const T* w, int64_t target_stride, int64_t source_stride, int targets,
                                             LanePlace lane) {
#pragma unroll
  for (int i = 0; i < 8; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) sum[0][i][j] = 0;
  from += threadIdx.x / kWarp * kTile;
  for (int c0 = 0; c0 < sources; c0 += kTile) {
    const int count = min(sources - c0, kTile);
    __syncthreads();
    stage_weights(weights, w + c0 * source_stride, target_stride, source_stride, targets, count);
    __syncthreads();
    accumulate_product(sum, weights, from + c0 * pitch, pitch, 0, count, lane);
  }
}

// p_{k+1} of targets [first, first + 32), bias included.
template <class T, class C>
__device__ __forceinline__ void next_p(C (&sum)[1][8][4], const Gates<T>& a, C* weights, const C* s, int k, int first,
                                       LanePlace lane) {
  const int sources = a.gate(k), targets = 2 * sources;
  gate_product(sum, weights, s, a.pitch, sources, a.weight[k] + int64_t(first) * sources, sources, 1, targets - first,
               lane);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int target = first + lane.row + 4 * i;
    const C bias = target < targets ? C(to_compute(a.bias[k][target])) : C(0);
#pragma unroll
    for (int j = 0; j < 4; ++j) sum[0][i][j] += bias;
  }
}

// Sum over the lanes that have the same points.
template <class C>
__device__ __forceinline__ C sum_over_rows(C x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 4);
}

// s_0 of the block's points.
template <class T, class C>
__device__ __forceinline__ void first_gate(const Gates<T>& a, const T* p0, const T* u, C* s, const GatePlace& p) {
  const T* const gate = u + a.factor(0) * a.u_plane;
  for (int c = p.lane.row; c < a.gate(0); c += 4) {
    const Pack<C, 4> x = load_quad<C>(p0 + c * a.p0_plane + p.point, p.count);
    Pack<C, 4> value = load_quad<C>(gate + c * a.u_plane + p.point, p.count);
#pragma unroll
    for (int j = 0; j < 4; ++j) value.at[j] *= x.at[j];
    store_pack<4>(s + c * a.pitch + p.column, value);
  }
}

template <class T>
__global__ void __launch_bounds__(GatesPlan::kMostWarps* kWarp, 4) gates_forward(const __grid_constant__ Gates<T> a) {
  using C = Compute<T>;
  const int64_t utterance = blockIdx.x / a.tiles;
  const GatePlace p = gate_place(a, blockIdx.x % a.tiles);
  const T* const p0 = a.p0 + utterance * a.p0_utterance;
  T* const u = a.u + utterance * a.u_utterance;
  C* const tiles = dynamic_shared<C>();
  // Two tiles take turns; s_{n-2}, the largest, is in the first.
  C* const other = tiles + a.gate(a.stages - 1) * a.pitch;
  C* const weights = other + (a.stages > 1 ? a.gate(a.stages - 2) * a.pitch : 0);
  const auto tile = [&](int k) { return (a.stages - 1 - k) % 2 == 0 ? tiles : other; };

  first_gate(a, p0, u, tile(0), p);
  C y[4] = {};
  for (int k = 0; k < a.stages; ++k) {
    const bool last = k + 1 == a.stages;
    const int targets = 2 * a.gate(k);
    for (int first = 0; first < targets; first += kTile) {
      T* const factors = u + (a.factor(k + 1) + first) * a.u_plane + p.point;
      Pack<C, 4> factor[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int row = p.lane.row + 4 * i;
        factor[i] = load_quad<C>(factors + row * a.u_plane, first + row < targets ? p.count : 0);
      }
      C sum[1][8][4];
      next_p(sum, a, weights, tile(k), k, first, p.lane);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int row = p.lane.row + 4 * i;
        if (first + row >= targets) continue;
#pragma unroll
        for (int j = 0; j < 4; ++j) factor[i].at[j] *= sum[0][i][j];
        if (!last) {
          store_pack<4>(tile(k + 1) + (first + row) * a.pitch + p.column, factor[i]);
        } else if (a.y) {
          const C w = to_compute(a.w_out[first + row]);
#pragma unroll
          for (int j = 0; j < 4; ++j) y[j] += w * factor[i].at[j];
        } else {
          store_quad(factors + row * a.u_plane, factor[i], p.count);
        }
      }
    }
  }
  if (!a.y) return;
  Pack<C, 4> out;
#pragma unroll
  for (int j = 0; j < 4; ++j) out.at[j] = sum_over_rows(y[j]) + C(to_compute(a.b_out[0]));
  if (p.lane.row == 0) store_quad(a.y + utterance * a.points + p.point, out, p.count);
}

}  // namespace lite_rtse::cuda
