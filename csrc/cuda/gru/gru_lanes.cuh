// A GRU of few units: a lane has a unit of one sequence. gru.h says why.
#pragma once

#include "gru.cuh"

namespace lite_rtse::cuda {

// The place of a lane. `P` lanes have a sequence; those behind the last unit compute with zeros.
template <int P>
struct GruLane {
  int direction, unit, begin;  // begin: the first lane of the sequence
  int64_t sequence;
  bool there;

  __device__ explicit GruLane(const GruRecurrenceArgs& a) {
    const int64_t blocks = int64_t(gridDim.x) / a.directions, lane = threadIdx.x;
    direction = int(blockIdx.x / blocks), unit = int(lane % P), begin = int(lane - unit);
    sequence = blockIdx.x % blocks * (kWarp / P) + lane / P;
    there = sequence < a.batch && unit < a.units;
  }
};

// The lane's part of W_hh, from row `unit` of each gate, or with `transposed` from column `unit`.
template <int P, class T, class C>
__device__ __forceinline__ void load_lane_weights(C (&w)[kGruGates][P], const GruDirection<T>& a, int unit,
                                                  bool transposed) {
#pragma unroll
  for (int gate = 0; gate < kGruGates; ++gate)
#pragma unroll
    for (int k = 0; k < P; ++k) {
      const int64_t row = gate * a.units + (transposed ? k : unit), column = transposed ? unit : k;
      w[gate][k] = k < a.units && unit < a.units ? C(to_compute(a.weight_hh[row * a.units + column])) : C(0);
    }
}

// Σ_k w[k] x[k] for the P numbers of the lane's sequence.
template <int P, class C>
__device__ __forceinline__ void add_product(C& sum, const C (&w)[P], const C* x) {
  constexpr int W = kWidest<C>;
#pragma unroll
  for (int k = 0; k < P; k += W) {
    const Pack<C, W> pack = load_pack<W>(x + k);
#pragma unroll
    for (int i = 0; i < W; ++i) sum += w[k + i] * pack.at[i];
  }
}

// Frames are read this long before they are needed, since a step takes less time than a read of global memory.
inline constexpr int kGruAhead = 4;

template <class T, int P>
__global__ void __launch_bounds__(kWarp, 8) gru_lanes_forward(const __grid_constant__ GruRecurrenceArgs arguments) {
  using C = Compute<T>;
  __shared__ __align__(16) C h[2][kWarp];
  const GruLane<P> at(arguments);
  const GruDirection<T> a(arguments, at.direction);
  const int lane = int(threadIdx.x);
  C w[kGruGates][P], fixed[kGruGates] = {}, read[kGruAhead][kGruGates] = {}, bias = 0;
  load_lane_weights(w, a, at.unit, false);
  if (at.there) {
#pragma unroll
    for (int gate = 0; gate < kGruGates; ++gate) fixed[gate] = a.bias(a.bias_ih, gate * a.units + at.unit);
    fixed[kReset] += a.bias(a.bias_hh, at.unit), fixed[kUpdate] += a.bias(a.bias_hh, a.units + at.unit);
    bias = a.bias(a.bias_hh, 2 * a.units + at.unit);
  }
  const auto read_frame = [&](C(&to)[kGruGates], int64_t step) {
    if (!at.there || step >= a.frames) return;
    const C* const from = a.input + a.row(at.sequence, step) * kGruGates * a.units + at.unit;
#pragma unroll
    for (int gate = 0; gate < kGruGates; ++gate) to[gate] = from[gate * a.units];
  };
#pragma unroll
  for (int i = 0; i < kGruAhead; ++i) read_frame(read[i], i);
  C mine = a.state(at.sequence, at.unit);
  h[0][lane] = mine;
  __syncwarp();
  for (int64_t first = 0; first < a.frames; first += kGruAhead) {
#pragma unroll
    for (int i = 0; i < kGruAhead; ++i) {
      const int64_t step = first + i;
      if (step >= a.frames) break;
      static_assert(kGruAhead % 2 == 0);
      const C* const before = h[i % 2] + at.begin;
      C sum[kGruGates] = {fixed[kReset] + read[i][kReset], fixed[kUpdate] + read[i][kUpdate], bias};
#pragma unroll
      for (int gate = 0; gate < kGruGates; ++gate) add_product(sum[gate], w[gate], before);
      const C r = sigmoid_of(sum[kReset]), z = sigmoid_of(sum[kUpdate]);
      const C n = tanh_of(fixed[kNew] + read[i][kNew] + r * sum[kNew]);
      mine = n + z * (mine - n);
      h[(i + 1) % 2][lane] = mine;
      __syncwarp();
      read_frame(read[i], step + kGruAhead);
      if (!at.there) continue;
      const int64_t row = a.row(at.sequence, step);
      a.y[row * a.outputs + at.unit] = from_compute<T>(mine);
      if (!a.kept) continue;
      C* const kept = a.kept + row * RecurrentArgs::kKeptValues * a.units + at.unit;
      kept[kReset * a.units] = r, kept[kUpdate * a.units] = z, kept[kNew * a.units] = n;
      kept[kNewState * a.units] = sum[kNew];
    }
  }
}

template <class T, int P>
__global__ void __launch_bounds__(kWarp, 8)
    gru_lanes_backward(const __grid_constant__ GruRecurrenceBackwardArgs arguments) {
  using C = Compute<T>;
  __shared__ __align__(16) C gradients[2][kGruGates][kWarp];
  const GruLane<P> at(arguments.forward);
  const GruDirection<T> a(arguments.forward, at.direction);
  const GruGradients<T> g(arguments, at.direction);
  const int lane = int(threadIdx.x);
  C w[kGruGates][P];
  load_lane_weights(w, a, at.unit, true);
  GruKept<C> kept[kGruAhead] = {};
  const auto read_frame = [&](GruKept<C>& to, int64_t back) {
    if (at.there && back < a.frames) to.read(a, g, at.sequence, a.frames - 1 - back, at.unit);
  };
#pragma unroll
  for (int i = 0; i < kGruAhead; ++i) read_frame(kept[i], i);
  C carry = 0;
  for (int64_t first = 0; first < a.frames; first += kGruAhead) {
#pragma unroll
    for (int i = 0; i < kGruAhead; ++i) {
      const int64_t back = first + i;
      if (back >= a.frames) break;
      const GruCell<C> cell(kept[i], carry + kept[i].dy);
      C(&shared)[kGruGates][kWarp] = gradients[i % 2];
#pragma unroll
      for (int gate = 0; gate < kGruGates; ++gate) shared[gate][lane] = cell.dstate[gate];
      __syncwarp();
      if (at.there) cell.write(a, g, a.row(at.sequence, a.frames - 1 - back), at.unit, kept[i].before);
      read_frame(kept[i], back + kGruAhead);
      carry = cell.direct;
#pragma unroll
      for (int gate = 0; gate < kGruGates; ++gate) add_product(carry, w[gate], shared[gate] + at.begin);
    }
  }
  if (g.dh0 && at.there) g.dh0[at.sequence * a.units + at.unit] = from_compute<T>(carry);
}

}  // namespace lite_rtse::cuda
