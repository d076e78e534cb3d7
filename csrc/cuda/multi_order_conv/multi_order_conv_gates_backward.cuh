// Gradients of the gate chain, by tiles of points. The gradients of the gates and of `final` replace these in u. The
// gradient of p_0 becomes part of dh. Each block writes a row of partial sums for A_k, a_k, W_out and b_out.
//
//   dq = W_outᵀ dy,   dp_{n-1} = dq · final,   dfinal = dq · p_{n-1}
//   ds_k = A_kᵀ dp_{k+1},   dp_k = ds_k · gate_k,   dgate_k = ds_k · p_k,   dA_k = Σ dp_{k+1} s_kᵀ,   da_k = Σ dp_{k+1}
//
// The kernel recomputes the chain up to s_{n-2}; all s_k stay in shared memory. It recomputes p_k where it needs it.
// After stage k, its s_k is no longer needed, and dp_k takes its place. Products work as in the forward kernel: a warp
// computes its own points. For dA_k the block's threads share the matrix instead, and each thread takes all points. In
// the padding dy and dq are zero and the rest is finite, so the padding adds nothing to any sum.
#pragma once

#include "../common/reduce.cuh"
#include "multi_order_conv_gates.cuh"

namespace lite_rtse::cuda {

template <class T>
struct GatesBackward {
  Gates<T> chain;   // u becomes its gradient
  const T* dy;      // for one output channel; otherwise dq is used
  Compute<T>* dq;   // planes of C channels per utterance; becomes q. With dy it is unused, but not null
  Compute<T>* dp0;  // used like p0
  Compute<T>* partial;
  int64_t all_tiles;  // of all utterances
};

// The sum, over the lanes that share a row, of one of their v[i]; `which` is the index i. In each round a lane gives
// half of its numbers to another lane and takes that lane's other half.
template <class C>
__device__ __forceinline__ C sum_over_quads(C (&v)[8], int quad, int& which) {
  which = 0;
#pragma unroll
  for (int half = 4, bit = 0; half > 0; half /= 2, ++bit) {
    const bool upper = quad >> bit & 1;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const C given = upper ? v[i] : v[half + i], kept = upper ? v[half + i] : v[i];
      v[i] = kept + __shfl_xor_sync(0xffffffffu, given, bit == 0 ? 2 : 4 << bit);
    }
    which += upper ? half : 0;
  }
  return v[0];
}

// Adds Σ_p a[row][p] b[column][p] over the block's points to `matrix` (rows x columns, interleaved), and Σ_p a[row][p]
// to `vector`. With `begins`, their previous values count as zero. A thread computes 4 x 4 elements. Its rows and
// columns are far apart. Neighboring threads thus read neighboring channels, in the order of the lanes of a product. If
// there are fewer such parts than threads, neighboring threads share the points and then add their sums. The previous
// values are read first, so that the product hides the latency.
template <class C>
__device__ void gate_weight_gradient(const C* a, int rows, const C* b, int columns, int pitch, C* matrix, C* vector,
                                     bool begins) {
  constexpr int J = kLanePoints<C>;
  const int row_tiles = (rows + 3) / 4, column_tiles = (columns + 3) / 4, wide = min(4, column_tiles);
  const int tasks = row_tiles * ((column_tiles + wide - 1) / wide * wide);
  int sharing = 1;
  const int quads = int(blockDim.x) / kWarp * kQuads;
  while (2 * sharing <= min(quads, kWarp) && 2 * sharing * tasks <= int(blockDim.x)) sharing *= 2;
  const LanePlace lane = lane_place();
  const int thread = int(threadIdx.x) / kWarp * kWarp + lane.quad * 4 + lane.row, share = thread % sharing;
  for (int begin = 0; begin < tasks; begin += int(blockDim.x) / sharing) {
    const int task = begin + thread / sharing;
    const int row = task / wide % row_tiles, column = task % wide + task / (wide * row_tiles) * wide;
    const bool owns = share == 0 && column < column_tiles && task < tasks;
    C* const part = matrix + 4 * (int64_t(row) * column_tiles + column);
    const int64_t apart = 4 * int64_t(row_tiles) * column_tiles;
    Pack<C, 4> sum[4];
    C sum_a[4];
    const C *from_a[4], *from_b[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int r = row + i * row_tiles;
      from_a[i] = a + min(r, rows - 1) * pitch;
      from_b[i] = b + min(column + i * column_tiles, columns - 1) * pitch;
      const bool continues = owns && r < rows && !begins;
      sum_a[i] = continues && column == 0 ? vector[r] : C(0);
      sum[i] = Pack<C, 4>{};
      if (continues) sum[i] = load_pack<4>(part + i * apart);
    }
#pragma unroll 1
    for (int q = share; q < quads; q += sharing) {
      Pack<C, J> x[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        x[i] = load_pack<J>(from_a[i] + J * q);
#pragma unroll
        for (int k = 0; k < J; ++k) sum_a[i] += x[i].at[k];
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const Pack<C, J> y = load_pack<J>(from_b[j] + J * q);
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int k = 0; k < J; ++k) sum[i].at[j] += x[i].at[k] * y.at[k];
      }
    }
    for (int bit = 1; bit < sharing; bit *= 2) {
      const int lanes = bit == 2 ? 4 : bit == 4 ? 2 : bit;  // row before quad
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        sum_a[i] += __shfl_xor_sync(0xffffffffu, sum_a[i], lanes);
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[i].at[j] += __shfl_xor_sync(0xffffffffu, sum[i].at[j], lanes);
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int r = row + i * row_tiles;
      if (!owns || r >= rows) continue;
      if (column == 0) vector[r] = sum_a[i];
      store_global_pack<4>(part + i * apart, sum[i]);
    }
  }
}

// One tile's way through the chain and back. Each step recomputes its place. Addresses that all steps share would be
// kept in registers, and there are too few registers.
template <class T>
struct GateTile {
  using C = Compute<T>;
  static constexpr int J = kLanePoints<C>;
  const GatesBackward<T>& a;
  const Gates<T>& f;
  C *tile, *weights, *sums;  // sums: those of the warp, for W_out and b_out
  int64_t utterance, index;  // index of the tile within the utterance

  // The lane's points of the first channels.
  struct Place : GatePlace<C> {
    int64_t in_h;
    C* u;
    __device__ __forceinline__ explicit Place(const GateTile& t)
        : GatePlace<C>(opaque(threadIdx.x), t.index, t.f.points), in_h(t.utterance * t.f.p0_utterance + this->point),
          u(t.f.u + t.utterance * t.f.u_utterance + this->point) {}
  };

  __device__ __forceinline__ C* s(int k) const { return tile + (f.gate(k) - f.gate(0)) * f.pitch; }
  // The place of dp_{k+1}: where s_{k+1} was, or in the channels behind all s_k.
  __device__ __forceinline__ C* dp_after(int k) const { return s(k + 1); }

  __device__ __forceinline__ void forward() const {
    const Place p(*this);
    first_gate(f, f.p0 + p.in_h, p.u, s(0), p);
    for (int k = 0; k + 1 < f.stages; ++k)
      for (int first = 0; first < 2 * f.gate(k); first += kTile) {
        const int targets = 2 * f.gate(k) - first;
        GateRows<C> factor;
        factor.load(p.u + (f.factor(k + 1) + first) * f.plane, f.plane, targets, p);
        C sum[1][8][J];
        next_p(sum, f, weights, s(k), k, first, p.lane);
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          const int row = p.lane.row + 4 * i;
          Pack<C, J> value;
#pragma unroll
          for (int j = 0; j < J; ++j) value.at[j] = factor.at[i].at[j] * sum[0][i][j];
          if (row < targets) store_pack<J>(s(k + 1) + (first + row) * f.pitch + p.column, value);
        }
      }
  }

  // Computes dp_{n-1} from dy or dq.
  __device__ __forceinline__ void out() const {
    const Place p(*this);
    const int last = f.stages - 1;
    C* const dq = a.dq + utterance * f.channels * f.plane + p.point;
    Pack<C, J> dy{};
    if (a.dy) dy = load_some<C, J>(a.dy + utterance * f.points + p.point, p.count);
    C dy_sum = 0;
#pragma unroll
    for (int j = 0; j < J; ++j) dy_sum += dy.at[j];
    dy_sum = warp_sum(p.lane.row == 0 ? dy_sum : C(0));
    if (threadIdx.x % kWarp == 0) sums[f.channels] += dy_sum;
    for (int first = 0; first < f.channels; first += kTile) {
      const int targets = int(f.channels) - first;
      GateRows<C> final;
      final.load(p.u + first * f.plane, f.plane, targets, p);
      C sum[1][8][J], dw[8] = {};
      next_p(sum, f, weights, s(last), last, first, p.lane);
      const int row = p.lane.row;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int channel = first + row + 4 * i;
        const bool exists = channel < f.channels, stores = exists && p.count > 0;
        Pack<C, J> q, g{};
#pragma unroll
        for (int j = 0; j < J; ++j) q.at[j] = final.at[i].at[j] * sum[0][i][j];
        if (a.dy) {
          const C w = exists ? C(to_compute(f.w_out[channel])) : C(0);
#pragma unroll
          for (int j = 0; j < J; ++j) g.at[j] = w * dy.at[j], dw[i] += q.at[j] * dy.at[j];
        } else if (stores) {
          C* const at = dq + channel * f.plane;
          g = load_pack<J>(at);
          store_global_pack<J>(at, q);
        }
        Pack<C, J> dfinal, dp;
#pragma unroll
        for (int j = 0; j < J; ++j) {
          dfinal.at[j] = g.at[j] * sum[0][i][j];
          dp.at[j] = g.at[j] * final.at[i].at[j];
        }
        if (exists) store_pack<J>(dp_after(last) + channel * f.pitch + p.column, dp);
        if (stores) store_global_pack<J>(p.u + channel * f.plane, dfinal);
      }
      if (!a.dy) continue;
      int which;
      const C total = sum_over_quads(dw, p.lane.quad, which);
      const int channel = first + p.lane.row + 4 * which;
      if (channel < f.channels) sums[channel] += total;
    }
  }

  // Computes dp_k from dp_{k+1}.
  __device__ __forceinline__ void back(int k) const {
    const Place p(*this);
    for (int first = 0; first < f.gate(k); first += kTile) {
      const int targets = f.gate(k) - first;
      C* const gates = p.u + (f.factor(k) + first) * f.plane;
      GateRows<C> gate;
      gate.load(gates, f.plane, targets, p);
      C ds[1][8][J];
      gate_product(ds, weights, dp_after(k), f.pitch, 2 * f.gate(k), f.weight[k] + first, 1, f.gate(k),
                   static_cast<const T*>(nullptr), targets, p.lane);
      if (k > 0) {
        for_rows(targets, p, [&](int i, int row) {
          store_pack<J>(s(k) + (first + row) * f.pitch + p.column, times(ds[0][i], gate, i));
        });
        C pk[1][8][J];
        next_p(pk, f, weights, s(k - 1), k - 1, first, p.lane);
        for_rows(p.count > 0 ? targets : 0, p, [&](int i, int row) {
          Pack<C, J> dgate;
#pragma unroll
          for (int j = 0; j < J; ++j) dgate.at[j] = ds[0][i][j] * pk[0][i][j];
          store_global_pack<J>(gates + row * f.plane, dgate);
        });
      } else {
        const int64_t in_h = p.in_h + first * f.plane;
        GateRows<C> x;  // dp_0 may take the place of p_0
        x.load(f.p0 + in_h, f.plane, targets, p);
        for_rows(p.count > 0 ? targets : 0, p, [&](int i, int row) {
          store_global_pack<J>(gates + row * f.plane, times(ds[0][i], x, i));
          store_global_pack<J>(a.dp0 + in_h + row * f.plane, times(ds[0][i], gate, i));
        });
      }
    }
  }

 private:
  template <class Do>
  __device__ __forceinline__ void for_rows(int channels, const Place& p, Do&& act) const {
#pragma unroll
    for (int i = 0; i < 8; ++i)
      if (p.lane.row + 4 * i < channels) act(i, p.lane.row + 4 * i);
  }
  __device__ __forceinline__ Pack<C, J> times(const C (&x)[J], const GateRows<C>& rows, int i) const {
    Pack<C, J> product;
#pragma unroll
    for (int j = 0; j < J; ++j) product.at[j] = x[j] * rows.at[i].at[j];
    return product;
  }
};

template <class T>
__global__ void __launch_bounds__(GatesPlan::kMostWarps* kWarp, GatesPlan::blocks(sizeof(Compute<T>), true))
    gates_backward(const __grid_constant__ GatesBackward<T> a) {
  using C = Compute<T>;
  const Gates<T>& f = a.chain;
  const GateSums place{f.channels, f.stages};
  const int warps = int(blockDim.x) / kWarp, size = int(place.out_size());
  C* const tile = dynamic_shared<C>();
  C* const weights = tile + (2 * f.channels - f.gate(0)) * f.pitch;
  C* const sums = weights + GatesPlan::kWeights;
  C* const partial = a.partial + blockIdx.x * place.width();
  for (int i = threadIdx.x; i < warps * size; i += blockDim.x) sums[i] = 0;
  __syncthreads();

  for (int64_t t = blockIdx.x; t < a.all_tiles; t += gridDim.x) {
    const GateTile<T> at{a, f, tile, weights, sums + int(threadIdx.x) / kWarp * size, t / f.tiles, t % f.tiles};
    at.forward();
    at.out();
    for (int k = f.stages - 1; k >= 0; --k) {
      __syncthreads();
      gate_weight_gradient(at.dp_after(k), 2 * f.gate(k), at.s(k), f.gate(k), f.pitch, partial + place.matrix(k),
                           partial + place.bias(k), t == blockIdx.x);
      at.back(k);
    }
  }

  __syncthreads();
  for (int i = threadIdx.x; i < size; i += blockDim.x) {
    C sum = 0;
    for (int w = 0; w < warps; ++w) sum += sums[w * size + i];
    partial[place.out() + i] = sum;
  }
}

}  // namespace lite_rtse::cuda
