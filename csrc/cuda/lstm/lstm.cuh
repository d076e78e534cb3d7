// What the blocks of an LSTM's recurrence do. lstm.h says who does what.
#pragma once

#include "../common/groups.cuh"
#include "lstm.h"

namespace lite_rtse::cuda {

inline constexpr int kG = LstmPlan::kGates;

// The place of a block, and its arrays in shared memory.
struct LstmBlock : GroupPlace {
  float *weights, *vectors, *parts, *c;

  __device__ explicit LstmBlock(const Groups& g)
      : GroupPlace(g), weights(dynamic_shared<float>()), vectors(weights + kG * g.units * g.pitch),
        parts(vectors + kS * kG * g.pitch), c(parts + kS * kG * g.units) {}
};

// h or c before the first frame, of one of the block's units in each sequence.
__device__ __forceinline__ float lstm_state(const float* state, int64_t sequence, int unit,
                                            const LstmRecurrenceArgs& a) {
  return state && sequence < a.batch && unit < a.units ? state[sequence * a.units + unit] : 0.0f;
}

// One frame of the block's units: a warp takes a unit in all sequences.
__device__ __forceinline__ void lstm_frame(const LstmRecurrenceArgs& a, const Groups& g, const LstmBlock& b,
                                           int64_t sequence0, int64_t step) {
  const int lane = int(threadIdx.x) % kWarp, gate = lane / 2 % kG, s = lane / 8, base = lane / 8 * 8;
  const int64_t sequence = sequence0 + s, frame = sequence * a.frames + a.time(step);
  for (int j = int(threadIdx.x) / kWarp; j < g.units; j += int(blockDim.x) / kWarp) {
    const int unit = b.first + j;
    if (unit >= a.units) break;  // the whole warp
    const bool there = sequence < a.batch;
    const int64_t row = gate * a.units + unit;
    float z = there ? a.input[frame * kG * a.units + row] : 0.0f;
    if (a.bias_ih) z += a.bias_ih[row];
    if (a.bias_hh) z += a.bias_hh[row];
    z += row_products<kG>(b.weights + j * g.pitch, g.units * g.pitch, b.vectors, g.pitch, g.length);
    const float active = gate == 2 ? tanhf(z) : sigmoid_of(z);
    const float in = __shfl_sync(0xffffffffu, active, base), forget = __shfl_sync(0xffffffffu, active, base + 2);
    const float cell = __shfl_sync(0xffffffffu, active, base + 4), out = __shfl_sync(0xffffffffu, active, base + 6);
    const float c = forget * b.c[j * kS + s] + in * cell, h = out * tanhf(c);
    __syncwarp();  // all lanes have read c
    if (lane % 8 == 0) b.c[j * kS + s] = c;
    if (!there) continue;
    if (a.gates && lane % 2 == 0) a.gates[frame * kG * a.units + row] = active;
    if (lane % 8 == 0) a.y[frame * a.units + unit] = h;
    if (lane % 8 != 1) continue;
    if (a.cells) a.cells[frame * a.units + unit] = c;
    if (step + 1 == a.frames) a.h[sequence * a.units + unit] = h, a.c[sequence * a.units + unit] = c;
  }
}

__global__ void __launch_bounds__(kWarp* GroupsPlan::kMostWarps, 1)
    lstm_forward(const __grid_constant__ LstmRecurrenceArgs a, const __grid_constant__ Groups g) {
  LstmBlock b(g);
  load_rows_of<kG>(b.weights, a.weight_hh, a.units, g, b.first);
  for (int64_t chunk = b.place; chunk < g.chunks; chunk += g.groups) {
    const int64_t sequence0 = chunk * kS, sequences = a.batch - sequence0;
    __syncthreads();  // the chunk before is complete
    fill_zeros(b.vectors, kS * g.pitch);
    __syncthreads();
    for (int i = int(threadIdx.x); i < kS * g.units; i += int(blockDim.x))
      b.c[i] = lstm_state(a.c0, sequence0 + i % kS, b.first + i / kS, a);
    if (a.h0) collect_vectors(b.vectors, g.pitch, a.h0 + sequence0 * a.units, a.units, sequences, a.units);
    __syncthreads();
    for (int64_t step = 0; step < a.frames; ++step) {
      lstm_frame(a, g, b, sequence0, step);
      if (step + 1 == a.frames) break;
      b.meet(g);
      const float* const y = a.y + (sequence0 * a.frames + a.time(step)) * a.units;
      collect_vectors(b.vectors, g.pitch, y, a.frames * a.units, sequences, a.units);
      __syncthreads();
    }
  }
}

__device__ __forceinline__ float lstm_part_sum(const float* parts) {
  return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

// dz of one frame for one unit in one sequence; `c` becomes the gradient of the c before.
__device__ __forceinline__ void lstm_back_cell(const LstmRecurrenceBackwardArgs& a, int64_t sequence, int64_t step,
                                               int unit, float by_h, float& c) {
  const LstmRecurrenceArgs& f = a.forward;
  const int64_t frame = sequence * f.frames + f.time(step), n = f.units;
  const int64_t before = sequence * f.frames + f.time(step - 1);
  const float* const gates = f.gates + frame * kG * n + unit;
  const float in = gates[0], forget = gates[n], cell = gates[2 * n], out = gates[3 * n];
  const float c_before = step > 0 ? f.cells[before * n + unit] : lstm_state(f.c0, sequence, unit, f);
  a.before[frame * n + unit] = step > 0 ? f.y[before * n + unit] : lstm_state(f.h0, sequence, unit, f);
  if (a.dy) by_h += a.dy[frame * n + unit];
  const float tanh_c = tanhf(f.cells[frame * n + unit]), by_c = c + by_h * out * (1 - tanh_c * tanh_c);
  float* const dz = a.dz + frame * kG * n + unit;
  dz[0] = by_c * cell * in * (1 - in);
  dz[n] = by_c * c_before * forget * (1 - forget);
  dz[2 * n] = by_c * in * (1 - cell * cell);
  dz[3 * n] = by_h * tanh_c * out * (1 - out);
  c = by_c * forget;
}

__global__ void __launch_bounds__(kWarp* GroupsPlan::kMostWarps, 1)
    lstm_backward(const __grid_constant__ LstmRecurrenceBackwardArgs a, const __grid_constant__ Groups g) {
  const LstmRecurrenceArgs& f = a.forward;
  LstmBlock b(g);
  load_columns_of<kG>(b.weights, f.weight_hh, f.units, g, b.first);
  for (int64_t chunk = b.place; chunk < g.chunks; chunk += g.groups) {
    const int64_t sequence0 = chunk * kS, sequences = f.batch - sequence0;
    __syncthreads();  // the chunk before is complete
    fill_zeros(b.vectors, kS * kG * g.pitch);
    fill_zeros(b.parts, kS * kG * g.units);
    __syncthreads();
    for (int i = int(threadIdx.x); i < kS * g.units; i += int(blockDim.x)) {
      b.c[i] = lstm_state(a.dc, sequence0 + i % kS, b.first + i / kS, f);
      b.parts[i * kG] = lstm_state(a.dh, sequence0 + i % kS, b.first + i / kS, f);
    }
    __syncthreads();
    for (int64_t step = f.frames - 1; step >= 0; --step) {
      for (int i = int(threadIdx.x); i < kS * g.units; i += int(blockDim.x)) {
        const int64_t sequence = sequence0 + i % kS;
        const int unit = b.first + i / kS;
        if (sequence < f.batch && unit < f.units)
          lstm_back_cell(a, sequence, step, unit, lstm_part_sum(b.parts + i * kG), b.c[i]);
      }
      if (step == 0 && !a.dh0) break;
      b.meet(g);
      const float* const dz = a.dz + (sequence0 * f.frames + f.time(step)) * kG * f.units;
      for (int gate = 0; gate < kG; ++gate)
        collect_vectors(b.vectors + gate * g.pitch, kG * g.pitch, dz + gate * f.units, f.frames * kG * f.units,
                        sequences, f.units);
      __syncthreads();
      back_products<kG>(g, b.weights, b.vectors, b.parts);
    }
    for (int i = int(threadIdx.x); i < kS * g.units; i += int(blockDim.x)) {
      const int64_t sequence = sequence0 + i % kS, unit = b.first + i / kS;
      if (sequence >= f.batch || unit >= f.units) continue;
      if (a.dh0) a.dh0[sequence * f.units + unit] = lstm_part_sum(b.parts + i * kG);
      if (a.dc0) a.dc0[sequence * f.units + unit] = b.c[i];
    }
  }
}

}  // namespace lite_rtse::cuda
