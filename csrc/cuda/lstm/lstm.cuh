// What the blocks of an LSTM's recurrence do. lstm.h says who does what.
#pragma once

#include "../common/together.cuh"
#include "../common/types.cuh"
#include "lstm.h"

namespace lite_rtse::cuda {

// What a kernel needs of its plan. `arrived` has one counter for each group, zero at the start.
struct LstmGroups {
  int units, blocks, groups, pitch;
  int64_t chunks;
  Arrivals* arrived;
};

inline constexpr int kS = LstmPlan::kSequences, kG = LstmPlan::kGates, kQ = LstmPlan::kQuad;

__device__ __forceinline__ float sigmoid_of(float x) { return 1.0f / (1.0f + expf(-x)); }

// The place of a block: its group, its units [first, first + units) and its arrays in shared memory.
struct LstmBlock {
  int group, first;
  float *weights, *vectors, *parts, *c;
  Arrivals wanted = 0;

  __device__ explicit LstmBlock(const LstmGroups& g)
      : group(int(blockIdx.x) / g.blocks), first(int(blockIdx.x) % g.blocks * g.units),
        weights(dynamic_shared<float>()), vectors(weights + kG * g.units * g.pitch), parts(vectors + kS * kG * g.pitch),
        c(parts + kS * kG * g.units) {}

  __device__ void meet(const LstmGroups& g) {
    wanted += Arrivals(g.blocks);
    arrive_and_wait(g.arrived + group, wanted);
  }
};

// Half of the numbers go to the other lane, and half of the other lane's come here.
template <int Half>
__device__ __forceinline__ void add_halves(float (&v)[2 * Half], float (&sum)[Half], int offset) {
  const bool upper = threadIdx.x & unsigned(offset);
#pragma unroll
  for (int i = 0; i < Half; ++i) {
    const float given = upper ? v[i] : v[Half + i], kept = upper ? v[Half + i] : v[i];
    sum[i] = kept + __shfl_xor_sync(0xffffffffu, given, offset);
  }
}

// The products of four rows with the vectors of all sequences, each over `pitch` numbers. A lane returns the product
// of row lane / 2 % 4 with vector lane / 8. The sum's order is the same for each.
__device__ __forceinline__ float four_products(const float* rows, int row_stride, const float* vectors,
                                               int vector_stride, int pitch) {
  static_assert(kS * kQ == kWarp / 2);
  float v[kS * kQ] = {}, eight[8], four[4], two[2], one[1];
  for (int k = int(threadIdx.x) % kWarp; k < pitch; k += kWarp) {
    float w[kQ], x[kS];
#pragma unroll
    for (int q = 0; q < kQ; ++q) w[q] = rows[q * row_stride + k];
#pragma unroll
    for (int s = 0; s < kS; ++s) x[s] = vectors[s * vector_stride + k];
#pragma unroll
    for (int s = 0; s < kS; ++s)
#pragma unroll
      for (int q = 0; q < kQ; ++q) v[s * kQ + q] += w[q] * x[s];
  }
  add_halves<8>(v, eight, 16);
  add_halves<4>(eight, four, 8);
  add_halves<2>(four, two, 4);
  add_halves<1>(two, one, 2);
  return one[0] + __shfl_xor_sync(0xffffffffu, one[0], 1);
}

__device__ __forceinline__ void lstm_zero(float* p, int count) {
  for (int i = int(threadIdx.x); i < count; i += int(blockDim.x)) p[i] = 0;
}

// h or c before the first frame, of one of the block's units in each sequence.
__device__ __forceinline__ float lstm_state(const float* state, int64_t sequence, int unit,
                                            const LstmRecurrenceArgs& a) {
  return state && sequence < a.batch && unit < a.units ? state[sequence * a.units + unit] : 0.0f;
}

// Rows of W_hh: (gate, unit of the block, unit before).
__device__ __forceinline__ void lstm_load_rows(const LstmRecurrenceArgs& a, const LstmGroups& g, const LstmBlock& b) {
  for (int i = int(threadIdx.x); i < kG * g.units * g.pitch; i += int(blockDim.x)) {
    const int k = i % g.pitch, unit = b.first + i / g.pitch % g.units, gate = i / g.pitch / g.units;
    const bool there = k < a.units && unit < a.units;
    b.weights[i] = there ? a.weight_hh[(gate * a.units + unit) * a.units + k] : 0.0f;
  }
}

// Columns of W_hh: (gate, unit of the block, unit behind).
__device__ __forceinline__ void lstm_load_columns(const LstmRecurrenceArgs& a, const LstmGroups& g,
                                                  const LstmBlock& b) {
  for (int i = int(threadIdx.x); i < kG * g.units * g.pitch; i += int(blockDim.x)) {
    const int j = i % g.units, k = i / g.units % g.pitch, gate = i / g.units / g.pitch, unit = b.first + j;
    const bool there = k < a.units && unit < a.units;
    b.weights[(gate * g.units + j) * g.pitch + k] = there ? a.weight_hh[(gate * a.units + k) * a.units + unit] : 0.0f;
  }
}

// One frame of the block's units: a warp takes a unit in all sequences.
__device__ __forceinline__ void lstm_frame(const LstmRecurrenceArgs& a, const LstmGroups& g, const LstmBlock& b,
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
    z += four_products(b.weights + j * g.pitch, g.units * g.pitch, b.vectors, g.pitch, g.pitch);
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

// The vectors of all sequences from global memory, where other blocks have written them.
__device__ __forceinline__ void lstm_collect(float* to, int to_stride, const float* from, int64_t from_stride,
                                             int64_t sequences, int64_t count) {
  for (int s = 0; s < kS && s < sequences; ++s)
    for (int k = int(threadIdx.x); k < count; k += int(blockDim.x))
      to[s * to_stride + k] = __ldcg(from + s * from_stride + k);
}

__global__ void __launch_bounds__(kWarp* LstmPlan::kMostWarps, 1)
    lstm_forward(const __grid_constant__ LstmRecurrenceArgs a, const __grid_constant__ LstmGroups g) {
  LstmBlock b(g);
  lstm_load_rows(a, g, b);
  for (int64_t chunk = b.group; chunk < g.chunks; chunk += g.groups) {
    const int64_t sequence0 = chunk * kS, sequences = a.batch - sequence0;
    __syncthreads();  // the chunk before is complete
    lstm_zero(b.vectors, kS * g.pitch);
    __syncthreads();
    for (int i = int(threadIdx.x); i < kS * g.units; i += int(blockDim.x))
      b.c[i] = lstm_state(a.c0, sequence0 + i % kS, b.first + i / kS, a);
    if (a.h0) lstm_collect(b.vectors, g.pitch, a.h0 + sequence0 * a.units, a.units, sequences, a.units);
    __syncthreads();
    for (int64_t step = 0; step < a.frames; ++step) {
      lstm_frame(a, g, b, sequence0, step);
      if (step + 1 == a.frames) break;
      b.meet(g);
      const float* const y = a.y + (sequence0 * a.frames + a.time(step)) * a.units;
      lstm_collect(b.vectors, g.pitch, y, a.frames * a.units, sequences, a.units);
      __syncthreads();
    }
  }
}

// W_hhᵀ dz of the block's units, in parts by gate. A warp takes four units and one gate.
__device__ __forceinline__ void lstm_back_products(const LstmGroups& g, const LstmBlock& b) {
  const int lane = int(threadIdx.x) % kWarp;
  for (int i = int(threadIdx.x) / kWarp; i < g.units; i += int(blockDim.x) / kWarp) {
    const int quad = i / kG, gate = i % kG;
    const float sum = four_products(b.weights + (gate * g.units + quad * kQ) * g.pitch, g.pitch,
                                    b.vectors + gate * g.pitch, kG * g.pitch, g.pitch);
    if (lane % 2 == 0) b.parts[((quad * kQ + lane / 2 % kQ) * kS + lane / 8) * kG + gate] = sum;
  }
  __syncthreads();
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

__global__ void __launch_bounds__(kWarp* LstmPlan::kMostWarps, 1)
    lstm_backward(const __grid_constant__ LstmRecurrenceBackwardArgs a, const __grid_constant__ LstmGroups g) {
  const LstmRecurrenceArgs& f = a.forward;
  LstmBlock b(g);
  lstm_load_columns(f, g, b);
  for (int64_t chunk = b.group; chunk < g.chunks; chunk += g.groups) {
    const int64_t sequence0 = chunk * kS, sequences = f.batch - sequence0;
    __syncthreads();  // the chunk before is complete
    lstm_zero(b.vectors, kS * kG * g.pitch);
    lstm_zero(b.parts, kS * kG * g.units);
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
        lstm_collect(b.vectors + gate * g.pitch, kG * g.pitch, dz + gate * f.units, f.frames * kG * f.units, sequences,
                     f.units);
      __syncthreads();
      lstm_back_products(g, b);
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
