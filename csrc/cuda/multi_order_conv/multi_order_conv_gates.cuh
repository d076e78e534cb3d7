// The gate chain of the Multi-Order block on tiles of points. It computes y (or q, if `out` is a separate product) in
// one pass over p_0, the gates and `final`.
//
//   s_k = p_k · gate_k,   p_{k+1} = A_k s_k + a_k,   q = final · p_{n-1},   y = W_out q + b_out
//
// A warp takes its points through the whole chain, with 32 targets of a product in registers at a time. A lane has 16
// bytes of neighboring points of eight channels. Only s_k is in shared memory. The next gate is read from global memory
// before a product. The product's result is multiplied by this gate and then stored. One block of 32 x 32 weights at a
// time is in shared memory, so any number of channels works.
//
// Planes in the workspace begin at multiples of 16 bytes. They are padded to such multiples with numbers that are
// finite if the operands are. A lane writes its results for the padding back to the padding.
//
// There are no tensor cores: TensorFloat-32 rounds to 10 bits, which float32's error bound forbids. In half types the
// planes and s_k are in float32, too.
#pragma once

#include "../common/tile.cuh"
#include "multi_order_conv.h"

namespace lite_rtse::cuda {

template <class T>
struct Gates {
  int64_t channels, points, tiles;  // the tiles of one utterance
  int stages, pitch;                // of the tile in shared memory
  const T *weight[kMostStages], *bias[kMostStages], *w_out, *b_out;
  const Compute<T>* p0;
  Compute<T>* u;
  int64_t p0_utterance, u_utterance, plane;  // elements from one utterance, or channel, to the next
  T* y;                                      // for one output channel; if it is null, q replaces `final`

  __device__ __forceinline__ int gate(int k) const { return int(gate_channels(channels, stages, k)); }
  // The channel of u where the factor of p_k begins: gate_k, or `final`.
  __device__ __forceinline__ int64_t factor(int k) const { return k < stages ? 2 * channels - 2 * gate(k) : 0; }
};

// A lane's points, in the tile and in the planes, and the number of them that exist.
template <class C>
struct GatePlace {
  static constexpr int kPoints = kLanePoints<C>;
  LanePlace lane;
  int column, count;
  int64_t point;

  __device__ __forceinline__ GatePlace(int thread, int64_t tile, int64_t points)
      : lane(lane_place(thread)), column((thread / kWarp * kQuads + lane.quad) * kPoints),
        point(tile * (int(blockDim.x) / kWarp * kQuads * kPoints) + column) {
    const int64_t left = points - point;
    count = left < 0 ? 0 : left < kPoints ? int(left) : kPoints;
  }
};

// A lane's points of eight channels, row + 4 i. They are zeros for channels and lanes that do not exist.
template <class C>
struct GateRows {
  static constexpr int J = kLanePoints<C>;
  Pack<C, J> at[8];

  // Loads `channels` channels; `from`: the lane's points of the first channel.
  __device__ __forceinline__ void load(const C* from, int64_t plane, int channels, const GatePlace<C>& p) {
    from += p.lane.row * plane;
#pragma unroll
    for (int i = 0; i < 8; ++i, from += 4 * plane) {
      at[i] = Pack<C, J>{};
      if (p.count > 0 && p.lane.row + 4 * i < channels) at[i] = load_pack<J>(from);
    }
  }
};

// sum = bias + the product of `sources` channels in shared memory with weights w(target, source). It covers a lane's
// targets, of 32 targets, and its points; bias may be null. All threads of the block call it. It sees what they wrote
// to shared memory before, and may overwrite what they read before.
template <class C, class T>
__device__ __forceinline__ void gate_product(C (&sum)[1][8][kLanePoints<C>], C* weights, const C* from, int pitch,
                                             int sources, const T* w, int64_t target_stride, int64_t source_stride,
                                             const T* bias, int targets, LanePlace lane) {
  constexpr int J = kLanePoints<C>;
  C* const biases = weights + kWeightBlock;
  from += int(threadIdx.x) / kWarp * (kQuads * J);
#pragma unroll
  for (int i = 0; i < 8; ++i)
#pragma unroll
    for (int j = 0; j < J; ++j) sum[0][i][j] = 0;
  for (int c0 = 0; c0 < sources; c0 += kTile) {
    const int count = min(sources - c0, kTile);
    __syncthreads();
    stage_weights(weights, w + c0 * source_stride, target_stride, source_stride, targets, count);
    if (bias && c0 == 0 && threadIdx.x < kTile)
      biases[weight_slot(0, threadIdx.x)] = int(threadIdx.x) < targets ? C(to_compute(bias[threadIdx.x])) : C(0);
    __syncthreads();
    accumulate_product(sum, weights, from + c0 * pitch, pitch, 0, count, lane);
  }
  if (!bias) return;
  const Pack<C, 8> b = load_pack<8>(biases + lane.row * 8);
#pragma unroll
  for (int i = 0; i < 8; ++i)
#pragma unroll
    for (int j = 0; j < J; ++j) sum[0][i][j] += b.at[i];
}

// Computes p_{k+1} of the targets [first, first + 32).
template <class T, class C>
__device__ __forceinline__ void next_p(C (&sum)[1][8][kLanePoints<C>], const Gates<T>& a, C* weights, const C* s, int k,
                                       int first, LanePlace lane) {
  const int sources = a.gate(k), targets = 2 * sources - first;
  gate_product(sum, weights, s, a.pitch, sources, a.weight[k] + int64_t(first) * sources, sources, 1, a.bias[k] + first,
               targets, lane);
}

// Sums over the lanes that have the same points.
template <class C>
__device__ __forceinline__ C sum_over_rows(C x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 4);
}

// Computes s_0. p0, u: the lane's points of their first channels.
template <class T, class C>
__device__ __forceinline__ void first_gate(const Gates<T>& a, const C* p0, const C* u, C* s, const GatePlace<C>& p) {
  constexpr int J = kLanePoints<C>;
  for (int first = 0; first < a.gate(0); first += kTile) {
    const int channels = a.gate(0) - first;
    GateRows<C> x, gate;
    x.load(p0 + first * a.plane, a.plane, channels, p);
    gate.load(u + (a.factor(0) + first) * a.plane, a.plane, channels, p);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int row = p.lane.row + 4 * i;
      Pack<C, J> value;
#pragma unroll
      for (int j = 0; j < J; ++j) value.at[j] = x.at[i].at[j] * gate.at[i].at[j];
      if (row < channels) store_pack<J>(s + (first + row) * a.pitch + p.column, value);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(GatesPlan::kMostWarps* kWarp, GatesPlan::blocks(sizeof(Compute<T>), false))
    gates_forward(const __grid_constant__ Gates<T> a) {
  using C = Compute<T>;
  constexpr int J = kLanePoints<C>;
  const int64_t utterance = blockIdx.x / a.tiles;
  const GatePlace<C> p(threadIdx.x, blockIdx.x % a.tiles, a.points);
  C* const u = a.u + utterance * a.u_utterance + p.point;
  C* const tiles = dynamic_shared<C>();
  // Two tiles alternate; s_{n-2}, the largest, is in the first.
  C* const other = tiles + a.gate(a.stages - 1) * a.pitch;
  C* const weights = other + (a.stages > 1 ? a.gate(a.stages - 2) * a.pitch : 0);
  const auto tile = [&](int k) { return (a.stages - 1 - k) % 2 == 0 ? tiles : other; };

  first_gate(a, a.p0 + utterance * a.p0_utterance + p.point, u, tile(0), p);
  C y[J] = {};
  for (int k = 0; k < a.stages; ++k) {
    const bool last = k + 1 == a.stages;
    for (int first = 0; first < 2 * a.gate(k); first += kTile) {
      const int targets = 2 * a.gate(k) - first;
      C* const factors = u + (a.factor(k + 1) + first) * a.plane;
      GateRows<C> factor;
      factor.load(factors, a.plane, targets, p);
      C sum[1][8][J];
      next_p(sum, a, weights, tile(k), k, first, p.lane);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int row = p.lane.row + 4 * i;
        if (row >= targets) continue;
        Pack<C, J> value;
#pragma unroll
        for (int j = 0; j < J; ++j) value.at[j] = factor.at[i].at[j] * sum[0][i][j];
        if (!last) {
          store_pack<J>(tile(k + 1) + (first + row) * a.pitch + p.column, value);
        } else if (a.y) {
          const C w = to_compute(a.w_out[first + row]);
#pragma unroll
          for (int j = 0; j < J; ++j) y[j] += w * value.at[j];
        } else if (p.count > 0) {
          store_global_pack<J>(factors + row * a.plane, value);
        }
      }
    }
  }
  if (!a.y) return;
  Pack<C, J> out;
#pragma unroll
  for (int j = 0; j < J; ++j) out.at[j] = sum_over_rows(y[j]) + C(to_compute(a.b_out[0]));
  if (p.lane.row == 0) store_some(a.y + utterance * a.points + p.point, out, p.count);
}

}  // namespace lite_rtse::cuda
