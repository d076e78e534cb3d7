// The depthwise stages of the Multi-Order block as one pipeline. It computes u, the last stage of each channel, from h.
//
// A block has one channel of an utterance, a tile of bins and a segment of time. It marches over its frames in steps of
// one or two rows. Each stage has its own 8, 16 or 32 threads with 9 neighboring columns each. At 257 bins these are 32
// threads: one warp per stage. In half types with 7 x 7 taps it is always a warp (multi_order_conv_band.cuh). Stage s
// is s steps behind the front: it computes the rows that stage s - 1 wrote in the step before. One barrier per step is
// therefore enough. Shared memory holds only the rows of two steps of each stage. Every stage's taps stay in registers
// for the whole march. The first threads together load the rows of h a step and a row ahead, and store the last stage's
// rows. Each warp accesses neighboring elements, because rows of 257 bins are not aligned to anything wider.
//
// A segment begins depth · (K - 1) rows early. There, stage s needs rows that the stage before has not computed
// completely. The output of stage s is complete again K - 1 rows later. The last stage's output is complete from the
// segment's first row on. Bins are cut in the same way. Outside the plane a stage is zero, never its bias: those
// columns are never written.
#pragma once

#include "multi_order_conv_band.cuh"

namespace lite_rtse::cuda {

// The place of one block's march.
struct MarchPlace {
  int64_t channel, utterance, segment, tile;
  int depth;
  int first, last;                    // frames of the segment
  int start;                          // the first frame that the segment's frames depend on
  int bin;                            // the bin of the tile's column 0
  int plane_end, own_begin, own_end;  // columns up to the plane's end, and the columns that the block must output
  int64_t row;                        // the row of partial sums
};

__device__ __forceinline__ MarchPlace march_place(const CascadeMarch& m) {
  MarchPlace p;
  int64_t block = blockIdx.x;
  p.tile = block % m.tiles, block /= m.tiles;
  p.segment = block % m.segments, block /= m.segments;
  p.utterance = block % m.utterances;
  p.channel = block / m.utterances;  // the deepest channels first
  p.depth = cascade_depth(m.channels, m.stages, p.channel);
  p.first = int(p.segment * m.segment);
  p.last = int(min(p.segment * m.segment + m.segment, m.frames));
  p.start = max(0, p.first - p.depth * (m.taps - 1));
  p.bin = max(0, int(p.tile * m.tile) - m.halo);
  p.own_begin = int(p.tile * m.tile) - p.bin;
  p.own_end = min(p.own_begin + m.tile, m.bins - p.bin);
  p.plane_end = min(m.pitch - m.taps + 1, m.bins - p.bin);
  p.row = (p.utterance * m.segments + p.segment) * m.tiles + p.tile;
  return p;
}

// The columns of a row that a thread moves between global and shared memory: every 128th, at most three. Pointers are
// those of the thread's first column.
template <class C>
class RowMover {
 public:
  // Moves columns [begin, end) of the tile.
  __device__ __forceinline__ RowMover(int begin, int end) {
#pragma unroll
    for (int m = 0; m < kMost; ++m) {
      const int column = int(threadIdx.x) + m * kMovingThreads;
      moves_[m] = threadIdx.x < kMovingThreads && column >= begin && column < end;
    }
  }
  __device__ __forceinline__ void fetch(const C* row) {
#pragma unroll
    for (int m = 0; m < kMost; ++m)
      if (moves_[m]) value_[m] = row[m * kMovingThreads];
  }
  template <class Stage>
  __device__ __forceinline__ void put(typename Stage::Number* row) const {
#pragma unroll
    for (int m = 0; m < kMost; ++m)
      if (moves_[m]) Stage::put(row + m * kMovingThreads, value_[m]);
  }
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int m = 0; m < kMost; ++m) value_[m] = 0;
  }
  template <class Stage>
  __device__ __forceinline__ void store(C* row, const typename Stage::Number* from) const {
#pragma unroll
    for (int m = 0; m < kMost; ++m)
      if (moves_[m]) row[m * kMovingThreads] = Stage::get(from + m * kMovingThreads);
  }

 private:
  static constexpr int kMost = (kWarp * kColumns<float> + kMovingThreads - 1) / kMovingThreads;
  bool moves_[kMost];
  C value_[kMost];
};

template <class T>
struct DepthwiseStages {
  const T *weight[kMostStages], *bias[kMostStages];
};

// The planes have `plane` elements and belong to one channel each.
template <class T>
struct Cascade {
  CascadeMarch march;
  DepthwiseStages<T> stage;
  const Compute<T>* h;
  Compute<T>* u;  // may be h if one block does a whole plane: it reads each row before it stores it
  int64_t h_utterance, u_utterance, plane;
  Compute<T>* rings;  // in global memory if shared memory does not suffice; only read if K is 0
};

// The memory of the block's rings. With unrolled taps this is always shared memory, and the compiler knows it.
template <int K, class C>
__device__ __forceinline__ C* ring_memory(C* in_global, const CascadeMarch& m) {
  if constexpr (K == 0)
    if (in_global) return in_global + int64_t(blockIdx.x) * m.shared_size;
  return dynamic_shared<C>();
}

template <class C>
__device__ __forceinline__ void clear_shared(C* shared, int size) {
  for (int i = threadIdx.x; i < size; i += blockDim.x) shared[i] = 0;
}

// Clears the padding of one plane, so that code that reads the plane in larger pieces finds numbers.
template <class T>
__device__ __forceinline__ void clear_padding(Compute<T>* u, const Cascade<T>& a) {
  const int64_t points = a.march.frames * a.march.bins;
  if (int64_t(threadIdx.x) < a.plane - points) u[points + threadIdx.x] = 0;
}

// A stage on the CUDA cores. Each of its lanes has some neighboring columns of a row.
template <class T, int K>
class CoreStage {
 public:
  using Number = Compute<T>;

  static __device__ __forceinline__ int pitch(const CascadeMarch& m) { return m.pitch; }
  static __device__ __forceinline__ int first(int taps) { return taps / 2; }
  static __device__ __forceinline__ int column(const CascadeMarch& m) { return threadIdx.x % m.lanes * W; }
  static __device__ __forceinline__ void put(Number* at, Number value) { *at = value; }
  static __device__ __forceinline__ Number get(const Number* at) { return *at; }

  static constexpr int kSkip = 0;
  template <int N>
  static __device__ __forceinline__ void read(Number (&to)[N], const Number* from) {
#pragma unroll
    for (int j = 0; j < N; ++j) to[j] = from[j];
  }

  __device__ __forceinline__ void load(const T* __restrict__ weight, int taps, bool reversed, Number bias) {
    convolution_.load(registers_, weight, taps, reversed, bias);
  }

  __device__ __forceinline__ void step(const RowCursor<Number>& in, const RowCursor<Number>& out, int pitch, int column,
                                       int end) {
    Number sum[W];
    convolution_.step(registers_, in, pitch, sum);
#pragma unroll
    for (int c = 0; c < W; ++c)
      if (column + c < end) out.at[c] = sum[c];
  }

 private:
  static constexpr int W = kColumns<Number>;
  Convolution<T, K> convolution_;
  StageRegisters<Number, K> registers_;
};

// Code for devices without tensor cores has the launches of those that have them.
template <class T, int K, bool Band>
using CascadeStage = std::conditional_t<kTensorCores && Band, BandStage<T>, CoreStage<T, K>>;

template <class T, int K, bool Band>
__global__ void __launch_bounds__(kCascadeThreads, 1) cascade_forward(const __grid_constant__ Cascade<T> a) {
  using C = Compute<T>;
  using Stage = CascadeStage<T, K, Band>;
  using N = typename Stage::Number;
  const CascadeMarch& m = a.march;
  const int taps = K > 0 ? K : m.taps, pitch = Stage::pitch(m), first = Stage::first(taps);
  const MarchPlace p = march_place(m);
  const CascadeRings rings{m.stages, taps, K > 0, m.step_rows};
  C* const memory = ring_memory<K>(a.rings, m);
  N* const shared = reinterpret_cast<N*>(memory);

  const int stage = threadIdx.x / m.lanes, column = Stage::column(m);
  Stage convolution;
  RowCursor<N> in, out;
  if (stage < p.depth) {
    const int target = stage + 1 < p.depth ? stage + 1 : m.stages;
    convolution.load(a.stage.weight[stage] + p.channel * taps * taps, taps, false,
                     to_compute(a.stage.bias[stage][p.channel]));
    in = RowCursor<N>(shared, rings.before(stage), rings.rows(stage), pitch, 0, column);
    out = RowCursor<N>(shared, rings.before(target), rings.rows(target), pitch, 0, column + first);
  }

  const int rows = p.last - p.start, own = p.first - p.start;  // these and later rows are counted from `start`
  const int moved = threadIdx.x + first;
  RowMover<C> load(0, p.plane_end), store(p.own_begin, p.own_end);
  RowCursor<N> loaded(shared, rings.before(0), rings.rows(0), pitch, 0, moved);
  RowCursor<N> stored(shared, rings.before(m.stages), rings.rows(m.stages), pitch, own, moved);
  const int64_t in_plane = p.channel * a.plane + p.bin + threadIdx.x;
  const C* h = a.h + p.utterance * a.h_utterance + in_plane + int64_t(p.start) * m.bins;
  C* u = a.u + p.utterance * a.u_utterance + in_plane + int64_t(p.first) * m.bins;
  if (p.last == m.frames && p.tile == 0) clear_padding(a.u + p.utterance * a.u_utterance + p.channel * a.plane, a);
  clear_shared(memory, m.shared_size);
  load.fetch(h);
  // The times at which the stage computes its first row and the row behind its last one, and the first row is stored.
  const int begin = stage * m.step_rows, end = stage < p.depth ? begin + rows : begin;
  const int stored_from = own + p.depth * m.step_rows;
  __syncthreads();

  for (int time = -m.step_rows; time < rows + p.depth * m.step_rows; ++time) {
    if (time + m.step_rows < rows) {
      load.template put<Stage>(loaded.at);
      loaded.advance(pitch);
      if (time + m.step_rows + 1 < rows) load.fetch(h += m.bins);
    }
    if (time >= begin && time < end) {
      convolution.step(in, out, pitch, column, p.plane_end);
      in.advance(pitch), out.advance(pitch);
    }
    if (time >= stored_from) {
      store.template store<Stage>(u, stored.at);
      stored.advance(pitch);
      u += m.bins;
    }
    if (m.ends_step(time)) __syncthreads();
  }
}

}  // namespace lite_rtse::cuda
