// Gradients of the gate chain, by tiles of points: those of the gates and `final` take their places in u, that of p_0
// becomes part of dh, and each block leaves a row of partial sums for A_k, a_k, W_out and b_out.
//
//   dq = W_outᵀ dy,   dp_{n-1} = dq · final,   dfinal = dq · p_{n-1}
//   ds_k = A_kᵀ dp_{k+1},   dp_k = ds_k · gate_k,   dgate_k = ds_k · p_k,   dA_k = Σ dp_{k+1} s_kᵀ,   da_k = Σ dp_{k+1}
//
// The chain is computed anew up to s_{n-2}, all of which stay in shared memory; p_k is computed once more where it is
// needed. When stage k is done its s_k is of no more use, and dp_k takes its place. Products work as in the forward
// kernel, a warp on its 32 points; for dA_k the block's threads share the matrix instead and each takes all points.
// Points beyond the last are zero in every factor and add nothing.
#pragma once

#include "multi_order_conv_gates.cuh"

namespace lite_rtse::cuda {

template <class T>
struct GatesBackward {
  Gates<T> chain;  // u becomes its gradient
  const T* dy;     // of one output channel, or
  T* dq;           // planes of C channels an utterance, u_plane apart; becomes q. Not used, but not null, beside dy
  T* dp0;          // as p0
  Compute<T>* partial;
  int64_t all_tiles;  // of all utterances
};

// Adds the sum of a channel's values in the warp's 32 points to `total`; the lanes that have the same row call it.
template <class C>
__device__ __forceinline__ void add_points(C* total, const Pack<C, 4>& value, int quad, bool exists) {
  C sum = (value.at[0] + value.at[1]) + (value.at[2] + value.at[3]);
  for (const int bit : {2, 8, 16}) sum += __shfl_xor_sync(0xffffffffu, sum, bit);
  if (quad == 0 && exists) *total += sum;
}

// total (rows x columns) = or += Σ_p a[row][p] b[column][p] over the block's points, as many as it has threads. A
// thread takes 4 x 4 elements, rows and columns far apart, so that neighbours read neighbouring channels; where there
// are fewer such parts than threads, neighbours share the points and then add up.
template <class C>
__device__ void gate_weight_gradient(const C* a, int rows, const C* b, int columns, int pitch, C* total, bool begins) {
  const int row_tiles = (rows + 3) / 4, column_tiles = (columns + 3) / 4, wide = min(4, column_tiles);
  const int tasks = row_tiles * ((column_tiles + wide - 1) / wide * wide);
  int sharing = 1;
  const int quads = int(blockDim.x) / 4;
  while (2 * sharing <= min(quads, kWarp) && 2 * sharing * tasks <= int(blockDim.x)) sharing *= 2;
  const int share = int(threadIdx.x) % sharing;
  for (int begin = 0; begin < tasks; begin += int(blockDim.x) / sharing) {
    const int task = begin + int(threadIdx.x) / sharing;
    const int row = task / wide % row_tiles, column = task % wide + task / (wide * row_tiles) * wide;
    C sum[4][4] = {};
    const C *from_a[4], *from_b[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      from_a[i] = a + min(row + i * row_tiles, rows - 1) * pitch;
      from_b[i] = b + min(column + i * column_tiles, columns - 1) * pitch;
    }
    for (int q = share; q < quads; q += sharing) {
      Pack<C, 4> x[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) x[i] = load_pack<4>(from_a[i] + 4 * q);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const Pack<C, 4> y = load_pack<4>(from_b[j] + 4 * q);
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int k = 0; k < 4; ++k) sum[i][j] += x[i].at[k] * y.at[k];
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        for (int bit = 1; bit < sharing; bit *= 2) sum[i][j] += __shfl_xor_sync(0xffffffffu, sum[i][j], bit);
        const int r = row + i * row_tiles, c = column + j * column_tiles;
        if (share > 0 || column >= column_tiles || task >= tasks || r >= rows || c >= columns) continue;
        C& element = total[int64_t(r) * columns + c];
        element = begins ? sum[i][j] : element + sum[i][j];
      }
  }
}

// One tile's way through the chain and back.
template <class T>
struct GateTile {
  using C = Compute<T>;
  const GatesBackward<T>& a;
  const Gates<T>& f;
  C *tile, *weights, *sums;  // sums: of the warp, as GateSums has the vectors
  const T *p0, *dy;
  T *u, *dp0, *dq;
  GatePlace p;

  __device__ __forceinline__ GateSums place() const { return {f.channels, f.stages}; }
  __device__ __forceinline__ C* s(int k) const { return tile + (f.gate(k) - f.gate(0)) * f.pitch; }
  // dp_{k+1}: where s_{k+1} was, or in the channels behind them all.
  __device__ __forceinline__ C* dp_after(int k) const { return s(k + 1); }

  __device__ __forceinline__ void load_factors(Pack<C, 4> (&factor)[8], T* from, int targets) const {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int row = p.lane.row + 4 * i;
      factor[i] = load_quad<C>(from + row * f.u_plane, row < targets ? p.count : 0);
    }
  }

  __device__ void forward() const {
    first_gate(f, p0, u, s(0), p);
    for (int k = 0; k + 1 < f.stages; ++k)
      for (int first = 0; first < 2 * f.gate(k); first += kTile) {
        const int targets = 2 * f.gate(k) - first;
        Pack<C, 4> factor[8];
        load_factors(factor, u + (f.factor(k + 1) + first) * f.u_plane + p.point, targets);
        C sum[1][8][4];
        next_p(sum, f, weights, s(k), k, first, p.lane);
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          const int row = p.lane.row + 4 * i;
          if (row >= targets) continue;
#pragma unroll
          for (int j = 0; j < 4; ++j) factor[i].at[j] *= sum[0][i][j];
          store_pack<4>(s(k + 1) + (first + row) * f.pitch + p.column, factor[i]);
        }
      }
  }

  // From dy or dq to dp_{n-1}.
  __device__ void out() const {
    const int last = f.stages - 1;
    const Pack<C, 4> dy_quad = dy ? load_quad<C>(dy + p.point, p.count) : Pack<C, 4>{};
    if (dy) add_points(sums + place().out_bias(), dy_quad, p.lane.quad, p.lane.row == 0);
    for (int first = 0; first < f.channels; first += kTile) {
      const int targets = int(f.channels) - first;
      T *const finals = u + first * f.u_plane + p.point, *const dqs = dq + first * f.u_plane + p.point;
      Pack<C, 4> factor[8];
      load_factors(factor, finals, targets);
      C sum[1][8][4];
      next_p(sum, f, weights, s(last), last, first, p.lane);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int row = p.lane.row + 4 * i;
        const bool exists = row < targets;
        Pack<C, 4> g = dy_quad, q;
        if (!dy) g = load_quad<C>(dqs + row * f.u_plane, exists ? p.count : 0);
        const C w = dy && exists ? C(to_compute(f.w_out[first + row])) : C(0);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          q.at[j] = factor[i].at[j] * sum[0][i][j];
          if (dy) q.at[j] *= g.at[j], g.at[j] *= w;
          sum[0][i][j] *= g.at[j];
          g.at[j] *= factor[i].at[j];
        }
        if (exists) {
          store_quad(finals + row * f.u_plane, Pack<C, 4>{{sum[0][i][0], sum[0][i][1], sum[0][i][2], sum[0][i][3]}},
                     p.count);
          store_pack<4>(dp_after(last) + (first + row) * f.pitch + p.column, g);
          if (!dy) store_quad(dqs + row * f.u_plane, q, p.count);
        }
        if (dy) add_points(sums + place().out() + first + row, q, p.lane.quad, exists);
        add_points(sums + place().bias(last) + first + row, g, p.lane.quad, exists);
      }
    }
  }

  // From dp_{k+1} to dp_k.
  __device__ void back(int k) const {
    const int sources = 2 * f.gate(k);
    for (int first = 0; first < f.gate(k); first += kTile) {
      const int targets = f.gate(k) - first;
      T* const gates = u + (f.factor(k) + first) * f.u_plane + p.point;
      C pk[1][8][4];
      if (k > 0) {
        next_p(pk, f, weights, s(k - 1), k - 1, first, p.lane);
      } else {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          const int row = p.lane.row + 4 * i;
          const Pack<C, 4> x = load_quad<C>(p0 + (first + row) * f.p0_plane + p.point, row < targets ? p.count : 0);
#pragma unroll
          for (int j = 0; j < 4; ++j) pk[0][i][j] = x.at[j];
        }
      }
      Pack<C, 4> factor[8];
      load_factors(factor, gates, targets);
      C ds[1][8][4];
      gate_product(ds, weights, dp_after(k), f.pitch, sources, f.weight[k] + first, 1, f.gate(k), targets, p.lane);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int row = p.lane.row + 4 * i;
        const bool exists = row < targets;
        Pack<C, 4> dgate, dp;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          dgate.at[j] = ds[0][i][j] * pk[0][i][j];
          dp.at[j] = ds[0][i][j] * factor[i].at[j];
        }
        if (exists) {
          store_quad(gates + row * f.u_plane, dgate, p.count);
          if (k > 0)
            store_pack<4>(s(k) + (first + row) * f.pitch + p.column, dp);
          else
            store_quad(dp0 + (first + row) * f.p0_plane + p.point, dp, p.count);
        }
        if (k > 0) add_points(sums + place().bias(k - 1) + first + row, dp, p.lane.quad, exists);
      }
    }
  }
};

template <class T>
__global__ void __launch_bounds__(GatesPlan::kMostWarps* kWarp, 3)
    gates_backward(const __grid_constant__ GatesBackward<T> a) {
  using C = Compute<T>;
  const Gates<T>& f = a.chain;
  const GateSums place{f.channels, f.stages};
  const int warps = int(blockDim.x) / kWarp, size = int(place.vectors_size());
  C* const tile = dynamic_shared<C>();
  C* const weights = tile + (2 * f.channels - f.gate(0)) * f.pitch;
  C* const sums = weights + kWeightBlock;
  C* const partial = a.partial + blockIdx.x * place.width();
  for (int i = threadIdx.x; i < warps * size; i += blockDim.x) sums[i] = 0;
  __syncthreads();

  for (int64_t t = blockIdx.x; t < a.all_tiles; t += gridDim.x) {
    const int64_t utterance = t / f.tiles;
    const GateTile<T> at{a,
                         f,
                         tile,
                         weights,
                         sums + int(threadIdx.x) / kWarp * size,
                         f.p0 + utterance * f.p0_utterance,
                         a.dy ? a.dy + utterance * f.points : nullptr,
                         f.u + utterance * f.u_utterance,
                         a.dp0 + utterance * f.p0_utterance,
                         a.dq + utterance * f.channels * f.u_plane,
                         gate_place(f, t % f.tiles)};
    at.forward();
    at.out();
    for (int k = f.stages - 1; k >= 0; --k) {
      __syncthreads();
      gate_weight_gradient(at.dp_after(k), 2 * f.gate(k), at.s(k), f.gate(k), f.pitch, partial + place.matrix(k),
                           t == blockIdx.x);
      at.back(k);
    }
  }

  __syncthreads();
  for (int i = threadIdx.x; i < size; i += blockDim.x) {
    C sum = 0;
    for (int w = 0; w < warps; ++w) sum += sums[w * size + i];
    partial[place.vectors() + i] = sum;
  }
}

}  // namespace lite_rtse::cuda
