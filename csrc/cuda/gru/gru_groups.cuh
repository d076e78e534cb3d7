// A GRU of more units: groups of blocks, as ../common/groups.h describes.
#pragma once

#include "gru.cuh"

namespace lite_rtse::cuda {

// The place of a block, and its arrays in shared memory. A vector has a number for each unit; the next one is `pitch`
// further.
template <class T, class Meets>
struct GruBlock : GroupPlace<Meets> {
  using C = Compute<T>;
  C *vectors, *parts, *carry;
  T* weights;

  __device__ explicit GruBlock(const Groups& g)
      : GroupPlace<Meets>(g), vectors(dynamic_shared<C>()), parts(vectors + Meets::kTurns * kS * kGruGates * g.pitch),
        carry(parts + kS * kGruGates * g.units), weights(reinterpret_cast<T*>(carry + kS * g.units)) {}
};

// One frame of the block's units: a warp takes two units in all sequences. h goes from the vectors `from` to the
// vectors `to`, of which the next sequence is `to_stride` further. In a cluster four lanes write to all blocks.
template <class T, class Meets, class C>
__device__ __forceinline__ void gru_frame(const GruDirection<T>& a, const Groups& g, const GruBlock<T, Meets>& b,
                                          int64_t sequence0, int64_t step, const C* from, C* to, int64_t to_stride) {
  const int lane = int(threadIdx.x) % kWarp, side = lane % kSets, place = lane / kSets % kQ, s = lane / 8;
  const int base = lane / 8 * 8 + side;
  const int gate = place < kGruGates ? place : kNew;
  const int64_t sequence = sequence0 + s, frame = a.row(sequence, step);
  for (int j = int(threadIdx.x) / kWarp * kSets; j < g.units; j += int(blockDim.x) / kWarp * kSets) {
    const int unit = b.first + j + side;
    if (unit - side >= a.units) break;  // the whole warp
    const bool there = sequence < a.batch && unit < a.units;
    const int64_t row = gate * a.units + unit;
    C fixed = there ? a.bias(a.bias_ih, row) : C(0), sum = there ? a.bias(a.bias_hh, row) : C(0);
    if (there) fixed += a.input[frame * kGruGates * a.units + row];
    sum += row_products<kGruGates>(b.weights + j * g.pitch, g.units * g.pitch, g.pitch, kSets, from, g.pitch, g.length);
    const C active = sigmoid_of(fixed + sum);
    const C r = __shfl_sync(0xffffffffu, active, base), z = __shfl_sync(0xffffffffu, active, base + 2);
    const C state = __shfl_sync(0xffffffffu, sum, base + 4), by_input = __shfl_sync(0xffffffffu, fixed, base + 4);
    const C n = tanh_of(by_input + r * state), h = n + z * (from[s * g.pitch + unit] - n);
    if (!there) continue;
    if (a.kept) {
      const C kept = place == kReset ? r : place == kUpdate ? z : place == kNew ? n : state;
      a.kept[(frame * RecurrentArgs::kKeptValues + place) * a.units + unit] = kept;
    }
    if (place == 0) a.y[frame * a.outputs + unit] = from_compute<T>(h);
    C* const handed = to + s * to_stride + unit;
    if constexpr (!Meets::kDirect) {
      if (place == 1) *handed = h;
    } else {
      for (int rank = place; rank < g.blocks && step + 1 < a.frames; rank += kQ) *of_cluster_block(handed, rank) = h;
    }
  }
}

template <class T, class Meets>
__global__ void __launch_bounds__(kWarp* GroupsPlan::kMostWarps, 1)
    gru_groups_forward(const __grid_constant__ GruRecurrenceArgs arguments, const __grid_constant__ Groups g) {
  using C = Compute<T>;
  GruBlock<T, Meets> b(g);
  const GruDirection<T> a(arguments, b.direction);
  load_rows_of<kGruGates>(b.weights, a.weight_hh, a.units, g, b.first);
  // Of two vectors one is read while the other is written, and so it is where blocks hand over h.
  C* const exchange = static_cast<C*>(g.scratch) + 2 * b.group * kS * a.units;
  int turn = 0;
  for (int64_t chunk = b.place; chunk < g.chunks; chunk += g.groups) {
    const int64_t sequence0 = chunk * kS, sequences = a.batch - sequence0;
    __syncthreads();  // the chunk before is complete
    fill_zeros(b.vectors, 2 * kS * g.pitch);
    __syncthreads();
    for (int i = int(threadIdx.x); i < kS * g.pitch; i += int(blockDim.x))
      b.vectors[i] = a.state(sequence0 + i / g.pitch, i % g.pitch);
    b.begin();
    for (int64_t step = 0; step < a.frames; ++step) {
      C *const from = b.vectors + step % 2 * kS * g.pitch, *const next = b.vectors + (step + 1) % 2 * kS * g.pitch;
      C* const handed = exchange + turn * kS * a.units;
      const bool through_memory = !Meets::kDirect && g.meets();
      if (through_memory)
        gru_frame(a, g, b, sequence0, step, from, handed, a.units);
      else
        gru_frame(a, g, b, sequence0, step, from, next, g.pitch);
      if (step + 1 == a.frames) break;
      b.meet(g);
      if (!through_memory) continue;
      collect_vectors(next, g.pitch, handed, a.units, sequences, a.units);
      turn = 1 - turn;
      __syncthreads();
    }
  }
}

template <class C>
__device__ __forceinline__ C gru_part_sum(const C* parts) {
  return parts[0] + parts[1] + parts[2];
}

template <class T, class Meets>
__global__ void __launch_bounds__(kWarp* GroupsPlan::kMostWarps, 1)
    gru_groups_backward(const __grid_constant__ GruRecurrenceBackwardArgs arguments, const __grid_constant__ Groups g) {
  using C = Compute<T>;
  GruBlock<T, Meets> b(g);
  const GruDirection<T> a(arguments.forward, b.direction);
  const GruGradients<T> by(arguments, b.direction);
  load_columns_of<kGruGates>(b.weights, a.weight_hh, a.units, g, b.first);
  // f(i, sequence, unit) for each of the block's units in each sequence
  const auto for_each_state = [&](int64_t sequence0, auto f) {
    for (int i = int(threadIdx.x); i < kS * g.units; i += int(blockDim.x)) {
      const int64_t sequence = sequence0 + i % kS;
      const int unit = b.first + i / kS;
      if (sequence < a.batch && unit < a.units) f(i, sequence, unit);
    }
  };
  for (int64_t chunk = b.place; chunk < g.chunks; chunk += g.groups) {
    const int64_t sequence0 = chunk * kS, sequences = a.batch - sequence0;
    __syncthreads();  // the chunk before is complete
    fill_zeros(b.vectors, Meets::kTurns * kS * kGruGates * g.pitch + kS * (kGruGates + 1) * g.units);
    b.begin();
    for (int64_t step = a.frames - 1; step >= 0; --step) {
      C* const vectors = b.vectors + step % Meets::kTurns * kS * kGruGates * g.pitch;
      const bool is_last = step == 0 && !by.dh0;
      for_each_state(sequence0, [&](int i, int64_t sequence, int unit) {
        GruKept<C> kept;
        kept.read(a, by, sequence, step, unit);
        const GruCell<C> cell(kept, kept.dy + b.carry[i] + gru_part_sum(b.parts + i * kGruGates));
        cell.write(a, by, a.row(sequence, step), unit, kept.before);
        b.carry[i] = cell.direct;
        C* const own = vectors + i % kS * kGruGates * g.pitch + unit;
        if constexpr (Meets::kDirect) {
          if (!is_last) give_gates<kGruGates>(g, own, cell.dstate);
        } else if (!g.meets()) {
          for (int gate = 0; gate < kGruGates; ++gate) own[gate * g.pitch] = cell.dstate[gate];
        }
      });
      if (is_last) break;
      b.meet(g);
      if (!Meets::kDirect && g.meets()) {
        for (int gate = 0; gate < kGruGates; ++gate)
          collect_vectors(vectors + gate * g.pitch, kGruGates * g.pitch,
                          by.dstate + a.row(sequence0, step) * kGruGates * a.units + gate * a.units,
                          a.frames * kGruGates * a.units, sequences, a.units);
        __syncthreads();
      }
      back_products<kGruGates>(g, b.weights, vectors, b.parts);
    }
    for_each_state(sequence0, [&](int i, int64_t sequence, int unit) {
      const C dh = b.carry[i] + gru_part_sum(b.parts + i * kGruGates);
      if (by.dh0) by.dh0[sequence * a.units + unit] = from_compute<T>(dh);
    });
  }
}

}  // namespace lite_rtse::cuda
