// Gradients of the depthwise stages of the Multi-Order block: from that of u to dh, and the sums for each stage's taps
// and bias.
//
// Blocks and their march are those of the forward cascade. Besides the depth - 1 stages of the forward pass, computed
// anew, there are depth stages of the gradient's way back, convolutions with the taps reversed, and depth weight
// gradients, each with threads of its own (at 257 bins and depth 4 a warp each, eleven of them). Row t of G_s needs
// rows up to t + K - 1 of G_{s+1}: the march being forward in time, each follows the one above by K - 1 rows, and the
// rings of the forward stages keep what they will meet. GradientRings (multi_order_conv.h) derives lags and rings.
//
// At the end of the utterance gradients are zero; at the end of a segment the march goes on into the next one's frames,
// and weight gradients leave those out.
#pragma once

#include <climits>

#include "multi_order_conv_cascade.cuh"

namespace lite_rtse::cuda {

template <class T>
struct CascadeGradient {
  CascadeMarch march;
  DepthwiseStages<T> stage;
  const T *h, *gu;
  T* dh;  // may be h, where one block does a whole plane: it reads each row before it stores it
  int64_t h_utterance, u_utterance, plane;  // dh has the strides of h
  Compute<T>* partial;
  int64_t partial_width;
};

// What a group of `lanes` threads does: one stage's convolution, forward or with the taps reversed, or one stage's
// weight gradient; a row a step. Rows are counted from where the march begins.
struct GradientRole {
  bool sums, reversed = false;
  int stage = 0;
  int row = 0, first = INT_MAX, last = INT_MAX;  // the next step's row; only those in [first, last) are done

  // `own`: the segment's first row, of `rows` up to its end.
  __device__ __forceinline__ GradientRole(const CascadeMarch& m, const GradientRings& rings, int own, int rows)
      : sums(int(threadIdx.x) >= m.convolution_threads) {
    const int depth = rings.depth;
    const int group = (int(threadIdx.x) - (sums ? m.convolution_threads : 0)) / m.lanes;
    if (group >= (sums ? depth : 2 * depth - 1)) return;  // nothing to do
    reversed = !sums && group >= depth - 1;
    stage = reversed ? 2 * depth - 2 - group : group;
    if (sums || reversed) {
      first = own;
      row = -rings.lag(stage + 1);
      if (sums) last = rows + rings.taps - 1;  // the last row of d_s waits for rows of g that count no more
    } else {
      first = 0, last = rows;
      row = -stage;
    }
    row -= 1;  // steps are counted from -1
  }
  __device__ __forceinline__ bool idle() const { return first == INT_MAX; }
  __device__ __forceinline__ bool acts() const { return row >= first && row < last; }
};

template <class T, int K>
__global__ void __launch_bounds__(kGradientThreads) cascade_gradient(const __grid_constant__ CascadeGradient<T> a) {
  using C = Compute<T>;
  constexpr int W = kColumns<C>;
  const CascadeMarch& m = a.march;
  const int taps = K > 0 ? K : m.taps, half = taps / 2, pitch = m.pitch, sums_size = taps * taps + 1;
  const MarchPlace p = march_place(m);
  const int rows = p.last - p.start, own = p.first - p.start, left = int(m.frames) - p.start;
  const GradientRings rings{p.depth, taps};
  C* const shared = dynamic_shared<C>();
  C* const totals = shared + GradientRings{m.stages, taps}.total() * pitch;

  GradientRole role(m, rings, own, rows);
  const int lane = threadIdx.x % m.lanes, stage = role.stage, above = stage + 1;
  C* const own_totals = totals + stage * sums_size;
  StageRegisters<C, K> registers;
  Convolution<T, K> convolution;
  WeightGradient<T, K> gradient;
  RowCursor<C> from, other;  // convolution: in and out; weight gradient: g and x
  if (role.sums) {
    const int column = gradient.column(lane);
    gradient.begin(registers, lane, m.lanes, taps, p.own_begin, p.own_end);
    from = RowCursor<C>(shared, rings.before_gradient(above), rings.gradient_rows(above), pitch, own, column + half);
    other = RowCursor<C>(shared, rings.before_stage(stage), rings.stage_rows(stage), pitch, own - taps + 1, column);
  } else if (!role.idle()) {
    convolution.load(registers, a.stage.weight[stage] + p.channel * taps * taps, taps, role.reversed,
                     role.reversed ? C(0) : C(to_compute(a.stage.bias[stage][p.channel])));
    if (role.reversed) {
      from = RowCursor<C>(shared, rings.before_gradient(above), rings.gradient_rows(above), pitch, own, lane * W);
      other = RowCursor<C>(shared, rings.before_gradient(stage), rings.gradient_rows(stage), pitch, own - taps + 1,
                           lane * W + half);
    } else {
      from = RowCursor<C>(shared, rings.before_stage(stage), rings.stage_rows(stage), pitch, 0, lane * W);
      other = RowCursor<C>(shared, rings.before_stage(above), rings.stage_rows(above), pitch, 0, lane * W + half);
    }
  }

  const int moved = threadIdx.x + half;
  RowMover<T> load_h(0, p.plane_end), load_gu = load_h, store(p.own_begin, p.own_end);
  RowCursor<C> h_row(shared, rings.before_stage(0), rings.stage_rows(0), pitch, 0, moved);
  RowCursor<C> gu_row(shared, rings.before_gradient(p.depth), rings.gradient_rows(p.depth), pitch, own, moved);
  RowCursor<C> dh_row(shared, rings.before_gradient(0), rings.gradient_rows(0), pitch, own, moved);
  const int64_t in_plane = p.channel * a.plane + p.bin + threadIdx.x, first = int64_t(p.first) * m.bins;
  const T* h = a.h + p.utterance * a.h_utterance + in_plane + int64_t(p.start) * m.bins;
  T* dh = a.dh + p.utterance * a.h_utterance + in_plane + first;
  const T* gu = a.gu + p.utterance * a.u_utterance + in_plane + first;
  int gu_next = -rings.lag(p.depth);  // row that the next step puts into its ring
  clear_shared(shared, int(totals - shared) + m.stages * sums_size);
  load_h.fetch(h);
  if (gu_next == own) load_gu.fetch(gu);
  __syncthreads();

  const int steps = rows + rings.lag(0);
  for (int step = -1; step < steps; ++step) {
    if (step + 1 < rows) {
      load_h.put(h_row.at);
      h_row.advance(pitch);
      if (step + 2 < rows) load_h.fetch(h += m.bins);
    }
    if (gu_next >= own) {
      if (gu_next < left)
        load_gu.put(gu_row.at);
      else
        load_gu.put_zeros(gu_row.at);
      gu_row.advance(pitch);
      gu += m.bins;
    }
    ++gu_next;
    if (gu_next >= own && gu_next < left) load_gu.fetch(gu);

    if (role.acts()) {
      if (role.sums) {
        gradient.step(registers, from, role.row < rows, other, role.row - taps + 1, pitch, own_totals);
      } else {
        C sum[W];
        convolution.step(registers, from, pitch, role.row - role.first + 1, sum);
#pragma unroll
        for (int c = 0; c < W; ++c)
          if (lane * W + c < p.plane_end) other.at[c] = sum[c];
      }
      from.advance(pitch), other.advance(pitch);
    }
    ++role.row;
    if (role.sums && (step % kGradientPeriod == kGradientPeriod - 1 || step + 1 == steps))
      gradient.flush(registers, own_totals, !role.idle());

    if (step - rings.lag(0) >= own) {
      store.store(dh, dh_row.at);
      dh_row.advance(pitch);
      dh += m.bins;
    }
    __syncthreads();
  }

  C* const partial = a.partial + p.row * a.partial_width;
  for (int i = threadIdx.x; i < p.depth * sums_size; i += blockDim.x) {
    const int s = i / sums_size, k = i % sums_size;
    const int64_t channels = 2 * m.channels - gate_channels(m.channels, m.stages, s);
    const int64_t column = k < taps * taps ? p.channel * taps * taps + k : channels * taps * taps + p.channel;
    partial[depthwise_sums(m.channels, m.stages, taps, s) + column] = totals[i];
  }
}

}  // namespace lite_rtse::cuda
