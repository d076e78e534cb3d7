// What the blocks of an LSTM's recurrence do. lstm.h says who does what.
#pragma once

#include "../common/groups.cuh"
#include "lstm.h"

namespace lite_rtse::cuda {

inline constexpr int kG = LstmPlan::kGates;

// The tensors of a layer. A row is a frame of a sequence.
template <class T>
struct LstmLayer {
  using C = Compute<T>;
  int64_t batch, frames, units;
  const T *input, *weight_hh, *bias_ih, *bias_hh, *h0, *c0;
  T *y, *h, *c, *gates, *cells;
  bool reverse;

  __device__ explicit LstmLayer(const LstmRecurrenceArgs& a)
      : batch(a.batch), frames(a.frames), units(a.units), input(static_cast<const T*>(a.input)),
        weight_hh(static_cast<const T*>(a.weight_hh)), bias_ih(static_cast<const T*>(a.bias_ih)),
        bias_hh(static_cast<const T*>(a.bias_hh)), h0(static_cast<const T*>(a.h0)), c0(static_cast<const T*>(a.c0)),
        y(static_cast<T*>(a.y)), h(static_cast<T*>(a.h)), c(static_cast<T*>(a.c)), gates(static_cast<T*>(a.gates)),
        cells(static_cast<T*>(a.cells)), reverse(a.reverse) {}

  __device__ int64_t row(int64_t sequence, int64_t step) const {
    return sequence * frames + (reverse ? frames - 1 - step : step);
  }
  // Whatever has a number for each sequence and unit: h or c before the first frame, or a gradient behind the last one.
  __device__ C state(const T* values, int64_t sequence, int unit) const {
    return values && sequence < batch && unit < units ? C(to_compute(values[sequence * units + unit])) : C(0);
  }
};

// The same of the backward pass.
template <class T>
struct LstmGradients {
  const T *dy, *dh, *dc;
  T *dz, *before, *dh0, *dc0;

  __device__ explicit LstmGradients(const LstmRecurrenceBackwardArgs& a)
      : dy(static_cast<const T*>(a.dy)), dh(static_cast<const T*>(a.dh)), dc(static_cast<const T*>(a.dc)),
        dz(static_cast<T*>(a.dz)), before(static_cast<T*>(a.before)), dh0(static_cast<T*>(a.dh0)),
        dc0(static_cast<T*>(a.dc0)) {}
};

// The place of a block, and its arrays in shared memory.
template <class T, class Meets>
struct LstmBlock : GroupPlace<Meets> {
  using C = Compute<T>;
  T *weights, *vectors;
  C *parts, *c;

  __device__ explicit LstmBlock(const Groups& g)
      : GroupPlace<Meets>(g), weights(dynamic_shared<T>()), vectors(weights + kG * g.units * g.pitch),
        parts(reinterpret_cast<C*>(vectors + Meets::kTurns * kS * kG * g.pitch)), c(parts + kS * kG * g.units) {}
};

// One frame of the block's units: a warp takes two units in all sequences. h goes from the vectors `from` to the
// vectors `to` of each block, four lanes to all blocks, or else to y alone.
template <class T, class Meets>
__device__ __forceinline__ void lstm_frame(const LstmLayer<T>& a, const Groups& g, const LstmBlock<T, Meets>& b,
                                           int64_t sequence0, int64_t step, const T* from, T* to) {
  using C = Compute<T>;
  const int lane = int(threadIdx.x) % kWarp, side = lane % kSets, gate = lane / kSets % kG, s = lane / 8;
  const int base = lane / 8 * 8 + side;
  const int64_t sequence = sequence0 + s, frame = a.row(sequence, step);
  for (int j = int(threadIdx.x) / kWarp * kSets; j < g.units; j += int(blockDim.x) / kWarp * kSets) {
    const int unit = b.first + j + side;
    if (unit - side >= a.units) break;  // the whole warp
    const bool there = sequence < a.batch && unit < a.units;
    const int64_t row = gate * a.units + unit;
    C z = there ? C(to_compute(a.input[frame * kG * a.units + row])) : C(0);
    if (a.bias_ih && there) z += to_compute(a.bias_ih[row]);
    if (a.bias_hh && there) z += to_compute(a.bias_hh[row]);
    z += row_products<kG>(b.weights + j * g.pitch, g.units * g.pitch, g.pitch, kSets, from, g.pitch, g.length);
    const C active = gate == 2 ? tanh_of(z) : sigmoid_of(z);
    const C in = __shfl_sync(0xffffffffu, active, base), forget = __shfl_sync(0xffffffffu, active, base + 2);
    const C cell = __shfl_sync(0xffffffffu, active, base + 4), out = __shfl_sync(0xffffffffu, active, base + 6);
    C* const kept = b.c + (j + side) * kS + s;
    const C c = forget * *kept + in * cell, h = out * tanh_of(c);
    __syncwarp();  // all lanes have read c
    if (gate == 0) *kept = c;
    if (!there) continue;
    if constexpr (Meets::kDirect)
      for (int rank = gate; rank < g.blocks && step + 1 < a.frames; rank += kG)
        *of_cluster_block(to + s * g.pitch + unit, rank) = from_compute<T>(h);
    if (a.gates) a.gates[frame * kG * a.units + row] = from_compute<T>(active);
    if (gate == 0) a.y[frame * a.units + unit] = from_compute<T>(h);
    if (gate != 1) continue;
    if (a.cells) a.cells[frame * a.units + unit] = from_compute<T>(c);
    if (step + 1 < a.frames) continue;
    a.h[sequence * a.units + unit] = from_compute<T>(h), a.c[sequence * a.units + unit] = from_compute<T>(c);
  }
}

template <class T, class Meets>
__global__ void __launch_bounds__(kWarp* GroupsPlan::kMostWarps, 1)
    lstm_forward(const __grid_constant__ LstmRecurrenceArgs arguments, const __grid_constant__ Groups g) {
  const LstmLayer<T> a(arguments);
  LstmBlock<T, Meets> b(g);
  load_rows_of<kG>(b.weights, a.weight_hh, a.units, g, b.first);
  for (int64_t chunk = b.place; chunk < g.chunks; chunk += g.groups) {
    const int64_t sequence0 = chunk * kS, sequences = a.batch - sequence0;
    __syncthreads();  // the chunk before is complete
    fill_zeros(b.vectors, Meets::kTurns * kS * g.pitch);
    __syncthreads();
    for (int i = int(threadIdx.x); i < kS * g.units; i += int(blockDim.x))
      b.c[i] = a.state(a.c0, sequence0 + i % kS, b.first + i / kS);
    if (a.h0) collect_vectors(b.vectors, g.pitch, a.h0 + sequence0 * a.units, a.units, sequences, a.units);
    b.begin();
    for (int64_t step = 0; step < a.frames; ++step) {
      T* const from = b.vectors + step % Meets::kTurns * kS * g.pitch;
      T* const to = b.vectors + (step + 1) % Meets::kTurns * kS * g.pitch;
      lstm_frame(a, g, b, sequence0, step, from, to);
      if (step + 1 == a.frames) break;
      b.meet(g);
      if constexpr (Meets::kDirect) continue;
      collect_vectors(to, g.pitch, a.y + a.row(sequence0, step) * a.units, a.frames * a.units, sequences, a.units);
      __syncthreads();
    }
  }
}

template <class C>
__device__ __forceinline__ C lstm_part_sum(const C* parts) {
  return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

// dz of one frame for one unit in one sequence; `c` becomes the gradient of the c before.
template <class T, class C>
__device__ __forceinline__ Pack<T, kG> lstm_back_cell(const LstmLayer<T>& f, const LstmGradients<T>& by,
                                                      int64_t sequence, int64_t step, int unit, C by_h, C& c) {
  const int64_t n = f.units, frame = f.row(sequence, step), before = f.row(sequence, step - 1);
  const T* const gates = f.gates + frame * kG * n + unit;
  const C in = to_compute(gates[0]), forget = to_compute(gates[n]);
  const C cell = to_compute(gates[2 * n]), out = to_compute(gates[3 * n]);
  const C c_before = step > 0 ? C(to_compute(f.cells[before * n + unit])) : f.state(f.c0, sequence, unit);
  const C h_before = step > 0 ? C(to_compute(f.y[before * n + unit])) : f.state(f.h0, sequence, unit);
  by.before[frame * n + unit] = from_compute<T>(h_before);
  if (by.dy) by_h += to_compute(by.dy[frame * n + unit]);
  const C tanh_c = tanh_of(C(to_compute(f.cells[frame * n + unit]))), by_c = c + by_h * out * (1 - tanh_c * tanh_c);
  const Pack<T, kG> dz{
      from_compute<T>(by_c * cell * in * (1 - in)), from_compute<T>(by_c * c_before * forget * (1 - forget)),
      from_compute<T>(by_c * in * (1 - cell * cell)), from_compute<T>(by_h * tanh_c * out * (1 - out))};
#pragma unroll
  for (int gate = 0; gate < kG; ++gate) by.dz[(frame * kG + gate) * n + unit] = dz.at[gate];
  c = by_c * forget;
  return dz;
}

template <class T, class Meets>
__global__ void __launch_bounds__(kWarp* GroupsPlan::kMostWarps, 1)
    lstm_backward(const __grid_constant__ LstmRecurrenceBackwardArgs arguments, const __grid_constant__ Groups g) {
  const LstmLayer<T> f(arguments.forward);
  const LstmGradients<T> by(arguments);
  LstmBlock<T, Meets> b(g);
  load_columns_of<kG>(b.weights, f.weight_hh, f.units, g, b.first);
  for (int64_t chunk = b.place; chunk < g.chunks; chunk += g.groups) {
    const int64_t sequence0 = chunk * kS, sequences = f.batch - sequence0;
    __syncthreads();  // the chunk before is complete
    fill_zeros(b.vectors, Meets::kTurns * kS * kG * g.pitch);
    fill_zeros(b.parts, kS * kG * g.units);
    __syncthreads();
    for (int i = int(threadIdx.x); i < kS * g.units; i += int(blockDim.x)) {
      b.c[i] = f.state(by.dc, sequence0 + i % kS, b.first + i / kS);
      b.parts[i * kG] = f.state(by.dh, sequence0 + i % kS, b.first + i / kS);
    }
    b.begin();
    for (int64_t step = f.frames - 1; step >= 0; --step) {
      T* const vectors = b.vectors + step % Meets::kTurns * kS * kG * g.pitch;
      const bool is_last = step == 0 && !by.dh0;
      for (int i = int(threadIdx.x); i < kS * g.units; i += int(blockDim.x)) {
        const int64_t sequence = sequence0 + i % kS;
        const int unit = b.first + i / kS;
        if (sequence >= f.batch || unit >= f.units) continue;
        const Pack<T, kG> dz = lstm_back_cell(f, by, sequence, step, unit, lstm_part_sum(b.parts + i * kG), b.c[i]);
        if constexpr (Meets::kDirect)
          if (!is_last) give_gates<kG>(g, vectors + i % kS * kG * g.pitch + unit, dz.at);
      }
      if (is_last) break;
      b.meet(g);
      if constexpr (!Meets::kDirect) {
        const T* const dz = by.dz + f.row(sequence0, step) * kG * f.units;
        for (int gate = 0; gate < kG; ++gate)
          collect_vectors(vectors + gate * g.pitch, kG * g.pitch, dz + gate * f.units, f.frames * kG * f.units,
                          sequences, f.units);
        __syncthreads();
      }
      back_products<kG>(g, b.weights, vectors, b.parts);
    }
    for (int i = int(threadIdx.x); i < kS * g.units; i += int(blockDim.x)) {
      const int64_t sequence = sequence0 + i % kS, unit = b.first + i / kS;
      if (sequence >= f.batch || unit >= f.units) continue;
      if (by.dh0) by.dh0[sequence * f.units + unit] = from_compute<T>(lstm_part_sum(b.parts + i * kG));
      if (by.dc0) by.dc0[sequence * f.units + unit] = from_compute<T>(b.c[i]);
    }
  }
}

}  // namespace lite_rtse::cuda
