// What the blocks of a recurrent layer have in common. groups.h says who does what.
#pragma once

#include "groups.h"
#include "launch.cuh"
#include "together.cuh"

namespace lite_rtse::cuda {

// What a kernel needs of its plan. `arrived` has one counter for each group, zero at the start; `scratch` is the
// workspace behind the counters.
struct Groups {
  int units, blocks, groups, length, pitch;
  int64_t chunks;
  Arrivals* arrived;
  void* scratch;

  __device__ bool meets() const { return blocks > 1; }
};

inline constexpr int kS = GroupsPlan::kSequences, kQ = GroupsPlan::kQuad;
inline constexpr int kSets = kWarp / (kS * kQ);  // of rows that a warp multiplies at a time

// How the blocks of a group hand over h, or its gradients, from one frame to the next.
//
// By a counter: through global memory. After the meeting each block reads what all have written. A group of one block
// meets nobody.
struct MeetsByCounter {
  static constexpr bool kDirect = false;
  static constexpr int kTurns = 1;  // sets of vectors
  Arrivals wanted = 0;

  // Before the first frame of a chunk.
  __device__ void begin() { __syncthreads(); }
  // All blocks of the group have written what they have of this frame.
  __device__ void meet(const Groups& g, int group) {
    if (!g.meets()) return __syncthreads();
    wanted += Arrivals(g.blocks);
    arrive_and_wait(g.arrived + group, wanted);
  }
};

// By a cluster: a block writes straight to the vectors of each block. Of two sets of vectors it reads one, while others
// may write the other already. They write the first one again only behind the next barrier, at which the block arrives
// when it has read it. So one barrier a frame is enough.
//
// The barrier at the beginning of a chunk: no block writes before the others have begun and cleared their vectors. No
// block writes in the last frame, so none writes to one that has ended.
struct MeetsByCluster {
  static constexpr bool kDirect = true;
  static constexpr int kTurns = 2;

  __device__ void begin() { cluster_barrier(); }
  __device__ void meet(const Groups&, int) { cluster_barrier(); }
};

// The place of a block: its direction, its group among all, its group's place in the direction, and its units [first,
// first + units).
template <class Meets>
struct GroupPlace : Meets {
  int direction, group, place, first;

  __device__ explicit GroupPlace(const Groups& g)
      : direction(int(blockIdx.x) / (g.blocks * g.groups)), group(int(blockIdx.x) / g.blocks), place(group % g.groups),
        first(int(blockIdx.x) % g.blocks * g.units) {}

  __device__ void meet(const Groups& g) { Meets::meet(g, group); }
};

__device__ __forceinline__ float sigmoid_of(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ __forceinline__ double sigmoid_of(double x) { return 1.0 / (1.0 + exp(-x)); }
__device__ __forceinline__ float tanh_of(float x) { return tanhf(x); }
__device__ __forceinline__ double tanh_of(double x) { return tanh(x); }

// Half of the numbers go to the other lane, and half of the other lane's come here.
template <int Half, class C>
__device__ __forceinline__ void add_halves(C (&v)[2 * Half], C (&sum)[Half], int offset) {
  const bool upper = threadIdx.x & unsigned(offset);
#pragma unroll
  for (int i = 0; i < Half; ++i) {
    const C given = upper ? v[i] : v[Half + i], kept = upper ? v[Half + i] : v[i];
    sum[i] = kept + __shfl_xor_sync(0xffffffffu, given, offset);
  }
}

// How many numbers of a row and of a vector a lane reads at a time: of half types as many as a bank of shared memory is
// wide.
template <class W, class X>
inline constexpr int kNeighbors = sizeof(W) == 2 && sizeof(X) == 2 ? 2 : 1;

// The products of one or two sets of up to four rows with the vectors of all sequences, each over `length` numbers. A
// lane returns the product of row lane / 2 % 4 of set lane % 2 with vector lane / 8, which is zero for a row that is
// not there. Two sets read each vector once for both. The sum's order is the same for each.
template <int Rows, class W, class X>
__device__ __forceinline__ Compute<X> row_products(const W* rows, int row_stride, int set_stride, int sets,
                                                   const X* vectors, int vector_stride, int length) {
  static_assert(kS * kQ * kSets == kWarp && Rows <= kQ);
  using C = Compute<X>;
  constexpr int N = kNeighbors<W, X>;
  C v[kWarp] = {}, sixteen[16], eight[8], four[4], two[2], one[1];
  for (int k = int(threadIdx.x) % kWarp * N; k < length; k += kWarp * N) {
    Pack<X, N> x[kS];
#pragma unroll
    for (int s = 0; s < kS; ++s) x[s] = load_pack<N>(vectors + s * vector_stride + k);
#pragma unroll
    for (int set = 0; set < kSets; ++set) {
      if (set >= sets) break;
      Pack<W, N> w[Rows];
#pragma unroll
      for (int q = 0; q < Rows; ++q) w[q] = load_pack<N>(rows + set * set_stride + q * row_stride + k);
#pragma unroll
      for (int i = 0; i < N; ++i)
#pragma unroll
        for (int s = 0; s < kS; ++s)
#pragma unroll
          for (int q = 0; q < Rows; ++q)
            v[(s * kQ + q) * kSets + set] += to_compute(w[q].at[i]) * to_compute(x[s].at[i]);
    }
  }
  add_halves<16>(v, sixteen, 16);
  add_halves<8>(sixteen, eight, 8);
  add_halves<4>(eight, four, 4);
  add_halves<2>(four, two, 2);
  add_halves<1>(two, one, 1);
  return one[0];
}

template <class X>
__device__ __forceinline__ void fill_zeros(X* p, int count) {
  for (int i = int(threadIdx.x); i < count; i += int(blockDim.x)) p[i] = from_compute<X>(0.0f);
}

// The vectors of all sequences from global memory, where other blocks have written them.
template <class X>
__device__ __forceinline__ void collect_vectors(X* to, int to_stride, const X* from, int64_t from_stride,
                                                int64_t sequences, int64_t count) {
  for (int s = 0; s < kS && s < sequences; ++s)
    for (int k = int(threadIdx.x); k < count; k += int(blockDim.x))
      to[s * to_stride + k] = __ldcg(from + s * from_stride + k);
}

// One number of each gate to the vectors of each block of a cluster.
template <int Gates, class X>
__device__ __forceinline__ void give_gates(const Groups& g, X* to, const X (&values)[Gates]) {
  for (int rank = 0; rank < g.blocks; ++rank) {
    X* const there = of_cluster_block(to, rank);
#pragma unroll
    for (int gate = 0; gate < Gates; ++gate) there[gate * g.pitch] = values[gate];
  }
}

// W_hh of the block's units, in shared memory. Rows: (gate, unit of the block, unit before). Columns: (gate, unit of
// the block, unit behind).
template <int Gates, class W>
__device__ __forceinline__ void load_rows_of(W* to, const W* weight_hh, int64_t units, const Groups& g, int first) {
  for (int i = int(threadIdx.x); i < Gates * g.units * g.pitch; i += int(blockDim.x)) {
    const int k = i % g.pitch, unit = first + i / g.pitch % g.units, gate = i / g.pitch / g.units;
    to[i] = k < units && unit < units ? weight_hh[(gate * units + unit) * units + k] : from_compute<W>(0.0f);
  }
}
template <int Gates, class W>
__device__ __forceinline__ void load_columns_of(W* to, const W* weight_hh, int64_t units, const Groups& g, int first) {
  for (int i = int(threadIdx.x); i < Gates * g.units * g.pitch; i += int(blockDim.x)) {
    const int j = i % g.units, k = i / g.units % g.pitch, gate = i / g.units / g.pitch, unit = first + j;
    const bool there = k < units && unit < units;
    to[(gate * g.units + j) * g.pitch + k] =
        there ? weight_hh[(gate * units + k) * units + unit] : from_compute<W>(0.0f);
  }
}

// W_hhᵀ times the gates' gradients in `vectors`, of the block's units, in parts by gate: parts[(unit · kS + sequence) ·
// Gates + gate]. A warp takes eight units, or the last four, and one gate.
template <int Gates, class W, class X>
__device__ __forceinline__ void back_products(const Groups& g, const W* weights, const X* vectors, Compute<X>* parts) {
  constexpr int kUnits = kSets * kQ;
  const int lane = int(threadIdx.x) % kWarp, tasks = int(ceil_div(g.units, kUnits)) * Gates;
  for (int i = int(threadIdx.x) / kWarp; i < tasks; i += int(blockDim.x) / kWarp) {
    const int first = i / Gates * kUnits, gate = i % Gates, sets = min(kSets, (g.units - first) / kQ);
    const Compute<X> sum = row_products<kQ>(weights + (gate * g.units + first) * g.pitch, g.pitch, kQ * g.pitch, sets,
                                            vectors + gate * g.pitch, Gates * g.pitch, g.length);
    const int unit = first + lane % kSets * kQ + lane / kSets % kQ;
    if (unit < g.units) parts[(unit * kS + lane / 8) * Gates + gate] = sum;
  }
  __syncthreads();
}

// Enqueues the kernel of this plan: one or the other by how its blocks meet.
template <class Kernel, class Arguments>
cudaError_t enqueue_groups(const GroupsPlan& plan, Kernel by_counter, Kernel by_cluster, const Arguments& a,
                           void* workspace, cudaStream_t stream) {
  if (!plan.fits()) return cudaErrorInvalidConfiguration;
  if (plan.geometry.blocks == 0) return cudaSuccess;
  const Groups groups{int(plan.units),
                      int(plan.blocks),
                      int(plan.groups),
                      int(plan.length),
                      int(plan.pitch),
                      plan.chunks,
                      static_cast<Arrivals*>(workspace),
                      static_cast<char*>(workspace) + plan.counter_bytes()};
  const auto reset = [&] { return cudaMemsetAsync(workspace, 0, size_t(plan.counter_bytes()), stream); };
  const bool counts = plan.meets_by_counter();
  const Kernel kernel = plan.clusters ? by_cluster : by_counter;
  return in_order([&] { return counts ? reset() : cudaSuccess; },
                  [&] { return enqueue_blocks(counts, plan.geometry, stream, kernel, a, groups); });
}

}  // namespace lite_rtse::cuda
