// Gradients of the depthwise stages of the Multi-Order block. The kernel computes dh and the sums for each stage's taps
// and bias from the gradient of u.
//
// Blocks and their march are those of the forward cascade. The kernel recomputes the depth - 1 stages of the forward
// pass. It also has depth stages that propagate the gradient back, convolutions with the taps reversed, and depth
// weight gradients. Each has its own threads: at 257 bins and depth 4 one warp each, eleven in total. Row t of G_s
// needs rows up to t + K - 1 of G_{s+1}. The march is forward in time, so each stage follows the one above by K - 1
// rows and a step. The rings of the forward stages keep the rows that the later gradients need. GradientRings
// (multi_order_conv.h) derives lags and rings.
//
// In half types with 7 x 7 taps the convolutions run on tensor cores (multi_order_conv_band.cuh), beside the weight
// gradients on the CUDA cores.
//
// At the end of the utterance, gradients are zero. At the end of a segment, the march continues into the next segment's
// frames, and weight gradients leave those frames out.
#pragma once

#include <climits>

#include "multi_order_conv_cascade.cuh"

namespace lite_rtse::cuda {

template <class T>
struct CascadeGradient {
  CascadeMarch march;
  DepthwiseStages<T> stage;
  const Compute<T>*h, *gu;
  Compute<T>* dh;  // may be h if one block does a whole plane: it reads each row before it stores it
  int64_t h_utterance, u_utterance, plane;  // dh has the strides of h
  Compute<T>* rings;                        // the same as in Cascade
  Compute<T>* partial;
  int64_t partial_width;
};

// The work of a group of `lanes` threads, row by row: one stage's convolution, forward or with the taps reversed, or
// one stage's weight gradient. Rows and time are counted from the start of the march.
struct GradientRole {
  bool sums, reversed = false;
  int stage = 0;
  int delay = 0;                        // row t is computed at time t + delay
  int first = INT_MAX, last = INT_MAX;  // only at times in [first, last) is there a row to compute

  // `own`: the segment's first row; `rows`: the number of rows up to its end.
  __device__ __forceinline__ GradientRole(const CascadeMarch& m, const GradientRings& rings, int own, int rows)
      : sums(int(threadIdx.x) >= m.convolution_threads) {
    const int depth = rings.depth;
    const int group = (int(threadIdx.x) - (sums ? m.convolution_threads : 0)) / m.lanes;
    if (group >= (sums ? depth : 2 * depth - 1)) return;  // nothing to do
    reversed = !sums && group >= depth - 1;
    stage = reversed ? 2 * depth - 2 - group : group;
    delay = sums || reversed ? rings.lag(stage + 1) : stage * rings.step_rows;
    first = delay + (sums || reversed ? own : 0);
    if (sums) last = delay + rows + rings.taps - 1;  // the last row of d_s waits for rows of g that no longer count
    if (!sums && !reversed) last = delay + rows;
  }
  __device__ __forceinline__ bool idle() const { return first == INT_MAX; }
  __device__ __forceinline__ bool acts(int time) const { return time >= first && time < last; }
};

// All threads of the block end each step here, in either of the loops. They wait at barrier 1, since __syncthreads must
// not be reached at different places of a program. All lanes of a warp are in the same loop. (The intrinsic
// __barrier_sync_count allows the lanes of a warp to diverge. It needs two registers more than there are.)
__device__ __forceinline__ void end_step() {
#ifdef __CUDA_ARCH__
  asm volatile("bar.sync 1, %0;" ::"r"(blockDim.x) : "memory");
#else
  __barrier_sync_count(1, blockDim.x);
#endif
}

// One block's march, from the points of view of the threads that convolve and of those that sum weight gradients. Each
// kind has its own loop, so that the compiler allocates registers for each kind separately.
template <class T, int K, bool Band>
struct GradientMarch {
  using C = Compute<T>;
  using Stage = CascadeStage<T, K, Band>;
  using N = typename Stage::Number;
  const CascadeGradient<T>& a;
  const MarchPlace& p;
  GradientRings rings;
  N* shared;
  C* totals;            // those of each stage
  int rows, own, left;  // rows up to the segment's end, before its first row, and up to the utterance's end
  int taps, pitch, lane;

  // The column of a row's first bin.
  __device__ __forceinline__ int first() const { return Stage::first(taps); }
  __device__ __forceinline__ int end() const { return rows + rings.lag(0); }
  __device__ __forceinline__ RowCursor<N> in_stage(int s, int row, int column) const {
    return {shared, rings.before_stage(s), rings.stage_rows(s), pitch, row, column};
  }
  __device__ __forceinline__ RowCursor<N> in_gradient(int s, int row, int column) const {
    return {shared, rings.before_gradient(s), rings.gradient_rows(s), pitch, row, column};
  }

  // A stage's convolution. The first threads also move rows between global and shared memory.
  __device__ __forceinline__ void convolve(GradientRole role) const {
    const CascadeMarch& m = a.march;
    const int above = role.stage + 1, column = Stage::column(m);
    Stage convolution;
    RowCursor<N> from, to;
    if (!role.idle()) {
      const C bias = role.reversed ? C(0) : C(to_compute(a.stage.bias[role.stage][p.channel]));
      convolution.load(a.stage.weight[role.stage] + p.channel * taps * taps, taps, role.reversed, bias);
      from = role.reversed ? in_gradient(above, own, column) : in_stage(role.stage, 0, column);
      to = role.reversed ? in_gradient(role.stage, own - taps + 1, column + first())
                         : in_stage(above, 0, column + first());
    }

    const int moved = threadIdx.x + first();
    RowMover<C> load_h(0, p.plane_end), load_gu = load_h, store(p.own_begin, p.own_end);
    RowCursor<N> h_row = in_stage(0, 0, moved), dh_row = in_gradient(0, own, moved);
    RowCursor<N> gu_row = in_gradient(rings.depth, own, moved);
    const int64_t in_plane = p.channel * a.plane + p.bin + threadIdx.x, begin = int64_t(p.first) * m.bins;
    const C* h = a.h + p.utterance * a.h_utterance + in_plane + int64_t(p.start) * m.bins;
    C* dh = a.dh + p.utterance * a.h_utterance + in_plane + begin;
    const C* gu = a.gu + p.utterance * a.u_utterance + in_plane + begin;
    // The times at which the first row of gu goes into its ring, and the first row that is zero.
    const int gu_first = own + rings.lag(rings.depth) - m.step_rows, gu_last = gu_first - own + left;
    const int stored = own + rings.lag(0);  // the time at which the first row of dh is stored
    load_h.fetch(h);
    if (gu_first == -m.step_rows) load_gu.fetch(gu);
    end_step();

    for (int time = -m.step_rows; time < end(); ++time) {
      if (time + m.step_rows < rows) {
        load_h.template put<Stage>(h_row.at);
        h_row.advance(pitch);
        if (time + m.step_rows + 1 < rows) load_h.fetch(h += m.bins);
      }
      if (time >= gu_first) {
        load_gu.template put<Stage>(gu_row.at);
        gu_row.advance(pitch);
        gu += m.bins;
      }
      if (time + 1 >= gu_last)
        load_gu.clear();
      else if (time + 1 >= gu_first)
        load_gu.fetch(gu);

      if (role.acts(time)) {
        convolution.step(from, to, pitch, column, p.plane_end);
        from.advance(pitch), to.advance(pitch);
      }

      if (time >= stored) {
        store.template store<Stage>(dh, dh_row.at);
        dh_row.advance(pitch);
        dh += m.bins;
      }
      if (m.ends_step(time)) end_step();
    }
  }

  __device__ __forceinline__ void sum(GradientRole role) const {
    using Gradient = WeightGradient<T, K, Stage>;
    typename Gradient::Registers registers;
    Gradient gradient;
    C* const own_totals = totals + role.stage * (taps * taps + 1);
    RowCursor<N> g, x;
    gradient.begin(registers, lane, a.march.lanes, taps, p.own_begin, p.own_end);
    if (!role.idle()) {
      g = in_gradient(role.stage + 1, own, gradient.column(lane) + first());
      x = in_stage(role.stage, own - taps + 1, gradient.column(lane));
    }
    end_step();

    for (int time = -a.march.step_rows, pause = kGradientPeriod; time < end(); pause += kGradientPeriod) {
      for (; time < min(pause, end()); ++time) {
        if (role.acts(time)) {
          const int row = time - role.delay;
          gradient.step(registers, g, row < rows, x, row - taps + 1, pitch, own_totals);
          g.advance(pitch), x.advance(pitch);
        }
        if (a.march.ends_step(time)) end_step();
      }
      gradient.flush(registers, own_totals, !role.idle());
    }
  }
};

template <class T, int K, bool Band>
__global__ void __launch_bounds__(kGradientThreads, 1) cascade_gradient(const __grid_constant__ CascadeGradient<T> a) {
  using C = Compute<T>;
  using Stage = CascadeStage<T, K, Band>;
  const CascadeMarch& m = a.march;
  const int taps = K > 0 ? K : m.taps, sums_size = taps * taps + 1;
  const MarchPlace p = march_place(m);
  const GradientRings rings{p.depth, taps, K > 0, m.step_rows}, deepest{m.stages, taps, K > 0, m.step_rows};
  const int pitch = Stage::pitch(m);
  C* const memory = ring_memory<K>(a.rings, m);
  auto* const shared = reinterpret_cast<typename Stage::Number*>(memory);
  C* const totals = reinterpret_cast<C*>(shared + deepest.total() * pitch);
  const int own = p.first - p.start, rows = p.last - p.start;
  clear_shared(memory, m.shared_size);

  const GradientMarch<T, K, Band> march{
      a, p, rings, shared, totals, rows, own, int(m.frames) - p.start, taps, pitch, int(threadIdx.x) % m.lanes};
  const GradientRole role(m, rings, own, rows);
  if (role.sums)
    march.sum(role);
  else
    march.convolve(role);
  __syncthreads();

  C* const partial = a.partial + p.row * a.partial_width;
  for (int i = threadIdx.x; i < p.depth * sums_size; i += blockDim.x) {
    const int s = i / sums_size, k = i % sums_size;
    const int64_t channels = 2 * m.channels - gate_channels(m.channels, m.stages, s);
    const int64_t column = k < taps * taps ? p.channel * taps * taps + k : channels * taps * taps + p.channel;
    partial[depthwise_sums(m.channels, m.stages, taps, s) + column] = totals[i];
  }
}

}  // namespace lite_rtse::cuda
