// The work of one thread of the Multi-Order block's cascade: kColumns neighboring columns of each row of one stage.
//
// With the taps in registers, a row is read once, when it arrives. It contributes to the K outputs that depend on it:
//
//   out[t + i] += Σ_j w[K - 1 - i][j] x[t][c + j],  i = 0 … K - 1      out[t] is complete then
//
// A thread thus holds the sums of K - 1 rows to come, and shared memory keeps no rows for the convolution in time. With
// each row an output moves one place on: its first multiply-add reads the sum in the old place and writes to the new
// place. At K = 7 and 9 columns, 15 loads of 32 bits feed 441 multiply-adds.
//
// For other kernel sizes the classes with K = 0 do the same with loops over rows that the rings keep.
//
// Rows in shared memory have K / 2 columns of zeros on either side. The window of output column c therefore begins at
// column c.
#pragma once

#include "../common/types.cuh"
#include "multi_order_conv.h"

namespace lite_rtse::cuda {

// A thread's place in one row of a ring.
template <class C>
struct RowCursor {
  C *at = nullptr, *end = nullptr;
  int size = 0;
  RowCursor() = default;
  // The ring's rows begin at row `before` of shared memory; row r of the tensor is kept at r modulo `rows`.
  __device__ __forceinline__ RowCursor(C* shared, int before, int rows, int pitch, int row, int column)
      : at(shared + (before + (row % rows + rows) % rows) * pitch + column),
        end(shared + (before + rows) * pitch + column), size(rows * pitch) {}
  __device__ __forceinline__ void advance(int pitch) {
    at += pitch;
    if (at == end) at -= size;
  }
  // The same place `rows` rows later, or earlier if `rows` is negative. |rows| must be less than the ring's size.
  __device__ __forceinline__ C* row(int rows, int pitch) const {
    C* const there = at + rows * pitch;
    return there >= end ? there - size : end - there > size ? there + size : there;
  }
};

// Bit c is set if column + c, with c < columns, lies in [begin, end).
__device__ __forceinline__ unsigned columns_within(int column, int columns, int begin, int end) {
  unsigned mask = 0;
  for (int c = 0; c < columns; ++c) mask |= unsigned(column + c >= begin && column + c < end) << c;
  return mask;
}

// The numbers that a thread keeps from row to row. Convolution: taps and bias, and the sums of rows to come. Weight
// gradient: the sums of taps and bias, and rows of g.
template <class C, int K>
struct StageRegisters {
  C tap[K * K + 1], row[K][kColumns<C>];
};
template <class C>
struct StageRegisters<C, 0> {};

// One stage: bias + the convolution with `weight`, or with its taps reversed for the gradient of the input.
template <class T, int K>
class Convolution {
 public:
  using C = Compute<T>;
  using Registers = StageRegisters<C, K>;
  static constexpr int W = kColumns<C>;

  __device__ __forceinline__ void load(Registers& r, const T* __restrict__ weight, int, bool reversed, C bias) {
    r.tap[K * K] = bias;
#pragma unroll
    for (int k = 0; k < K * K; ++k) r.tap[k] = to_compute(weight[reversed ? K * K - 1 - k : k]);
    // The first outputs also depend on the rows of zeros before the first row. A tap that is not finite turns these
    // zeros into NaN.
    C sum = bias;
#pragma unroll
    for (int i = K - 1; i >= 0; --i) {
#pragma unroll
      for (int c = 0; c < W; ++c) r.row[i][c] = sum;
#pragma unroll
      for (int j = 0; j < K; ++j) sum += r.tap[(K - 1 - i) * K + j] * C(0);
    }
  }

  // out: the row of outputs that is complete with the row at `in`.
  __device__ __forceinline__ void step(Registers& r, const RowCursor<C>& in, int, C (&out)[W]) const {
    C x[W + K - 1];
#pragma unroll
    for (int j = 0; j < W + K - 1; ++j) x[j] = in.at[j];
#pragma unroll
    for (int i = 0; i < K; ++i)
#pragma unroll
      for (int c = 0; c < W; ++c) {
        C sum = i < K - 1 ? r.row[i][c] : r.tap[K * K];
#pragma unroll
        for (int j = 0; j < K; ++j) sum += r.tap[(K - 1 - i) * K + j] * x[c + j];
        (i > 0 ? r.row[i > 0 ? i - 1 : 0][c] : out[c]) = sum;
      }
  }
};

// For any kernel size. The ring has zeros for the rows before the first one.
template <class T>
class Convolution<T, 0> {
 public:
  using C = Compute<T>;
  using Registers = StageRegisters<C, 0>;
  static constexpr int W = kColumns<C>;

  __device__ __forceinline__ void load(Registers&, const T* __restrict__ weight, int taps, bool reversed, C bias) {
    weight_ = reversed ? weight + taps * taps - 1 : weight;
    stride_ = reversed ? -1 : 1;
    taps_ = taps, bias_ = bias;
  }

  __device__ __forceinline__ void step(Registers&, const RowCursor<C>& in, int pitch, C (&out)[W]) const {
#pragma unroll
    for (int c = 0; c < W; ++c) out[c] = bias_;
    for (int i = 0; i < taps_; ++i) {
      const C* const x = in.row(i - taps_ + 1, pitch);
      for (int j = 0; j < taps_; ++j) {
        const C w = to_compute(weight_[(i * taps_ + j) * stride_]);
#pragma unroll
        for (int c = 0; c < W; ++c) out[c] += w * x[c + j];
      }
    }
  }

 private:
  const T* weight_ = nullptr;
  int stride_ = 0, taps_ = 0;
  C bias_ = 0;
};

// The weight gradient of one stage: dw[i][j] = Σ g[t][c] x[t - K + 1 + i][c + j], followed by db = Σ g, over the
// columns [begin, end) of the tile.
//
// When row t of g arrives, row t - K + 1 of x is multiplied by the K rows of g that it contributes to, which are in
// registers: dw[i] takes g[t - i]. The sums of the lanes that share a row are added up at intervals, which keeps each
// sum short.
//
// Stage: how its rows are kept.
template <class T, int K, class Stage>
class WeightGradient {
 public:
  using C = Compute<T>;
  using Registers = StageRegisters<C, K>;
  static constexpr int W = kColumns<C>;
  using Cursor = RowCursor<typename Stage::Number>;

  // The start of a thread's part within a row.
  static __device__ __forceinline__ int column(int lane) { return lane * W; }

  __device__ __forceinline__ void begin(Registers& r, int lane, int lanes, int, int begin, int end) {
    lane_ = lane, lanes_ = lanes;
    own_ = columns_within(column(lane), W, begin, end);
#pragma unroll
    for (int k = 0; k <= K * K; ++k) r.tap[k] = 0;
#pragma unroll
    for (int i = 0; i < K; ++i)
#pragma unroll
      for (int c = 0; c < W; ++c) r.row[i][c] = 0;
  }

  // Adds the row at `g` (zeros if `counts` is false) times the row at `x`. The latter is row `row`, which exists from 0
  // on.
  __device__ __forceinline__ void step(Registers& r, const Cursor& g, bool counts, const Cursor& x, int row, int,
                                       C*) const {
#pragma unroll
    for (int i = K - 1; i > 0; --i)
#pragma unroll
      for (int c = 0; c < W; ++c) r.row[i][c] = r.row[i - 1][c];
    const unsigned own = counts ? own_ : 0;
    Stage::read(r.row[0], g.at);
#pragma unroll
    for (int c = 0; c < W; ++c) {
      if (!(own >> c & 1)) r.row[0][c] = 0;
      r.tap[K * K] += r.row[0][c];
    }
    if (row < 0) return;
    C xs[W + K - 1];
    Stage::read(xs, x.at + Stage::kSkip);
#pragma unroll
    for (int i = 0; i < K; ++i)
#pragma unroll
      for (int j = 0; j < K; ++j)
#pragma unroll
        for (int c = 0; c < W; ++c) r.tap[i * K + j] += r.row[i][c] * xs[c + j];
  }

  // Adds the sums to `totals` if `writes`, and resets them. All threads of a warp call it together.
  //
  // In each round a lane gives half of its sums to the lane `offset` away and takes that lane's other half.
  __device__ __forceinline__ void flush(Registers& r, C* totals, bool writes) const {
    C sum[kPadded] = {};
#pragma unroll
    for (int k = 0; k < kSums; ++k) sum[k] = r.tap[k], r.tap[k] = 0;
    int first = 0;
    halve<kPadded / 2>(sum, lanes_ / 2, first);
#pragma unroll
    for (int i = 0; i < kPadded / kFewestLanes; ++i)
      if (writes && i < kPadded / lanes_ && first + i < kSums) totals[first + i] += sum[i];
  }

 private:
  static constexpr int kSums = K * K + 1, kPadded = kSums > 32 ? 64 : 32, kFewestLanes = 8, kMostLanes = 32;
  static_assert(kSums <= kPadded);

  // One round and the rounds after it. The recursion guarantees that they are unrolled: the sums must be in registers.
  template <int Half>
  __device__ __forceinline__ void halve(C (&sum)[kPadded], int offset, int& first) const {
    if (offset == 0) return;
    const bool upper = lane_ & offset;
#pragma unroll
    for (int i = 0; i < Half; ++i) {
      const C given = upper ? sum[i] : sum[Half + i], kept = upper ? sum[Half + i] : sum[i];
      sum[i] = kept + __shfl_xor_sync(0xffffffffu, given, offset);
    }
    first += upper ? Half : 0;
    if constexpr (Half > kPadded / kMostLanes) halve<Half / 2>(sum, offset / 2, first);
  }

  int lane_ = 0, lanes_ = 0;
  unsigned own_ = 0;
};

// For any kernel size: a thread sums some of the taps over whole rows.
template <class T, class Stage>
class WeightGradient<T, 0, Stage> {
 public:
  using C = Compute<T>;
  using Registers = StageRegisters<C, 0>;

  static __device__ __forceinline__ int column(int) { return 0; }

  __device__ __forceinline__ void begin(Registers&, int lane, int lanes, int taps, int begin, int end) {
    lane_ = lane, lanes_ = lanes, taps_ = taps, begin_ = begin, end_ = end;
  }

  // x: the first of the rows that the row at `g` depends on.
  __device__ __forceinline__ void step(Registers&, const RowCursor<C>& g, bool counts, const RowCursor<C>& x, int row,
                                       int pitch, C* totals) const {
    if (!counts) return;
    for (int k = lane_; k <= taps_ * taps_; k += lanes_) {
      const int i = k / taps_, j = k % taps_;
      const bool is_bias = k == taps_ * taps_;
      if (!is_bias && row + i < 0) continue;
      const C* const xs = is_bias ? g.at : x.row(i, pitch) + j;
      C sum = 0;
      for (int c = begin_; c < end_; ++c) sum += is_bias ? g.at[c] : g.at[c] * xs[c];
      totals[k] += sum;
    }
  }

  __device__ __forceinline__ void flush(Registers&, C*, bool) const {}

 private:
  int lane_ = 0, lanes_ = 0, taps_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace lite_rtse::cuda
