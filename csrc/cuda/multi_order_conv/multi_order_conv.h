// Launch plan of the Multi-Order block: what its channels go through, and how the kernels share the work out.
//
//   h = in(x)                      (utterances, 2C, frames, bins) in the workspace
//   u = cascade(h)                 each channel by itself: multi_order_conv_cascade.cuh; backward: …_gradient.cuh
//   y = out(final · gates)         multi_order_conv_gates.cuh; backward: …_gates_backward.cuh
//
// The 2C channels of h fall into groups by what becomes of them: `final` (C channels, through all n - 1 stages),
// gate_{n-2} (all stages), gate_{n-3} (one stage less), …, gate_0 (one stage), p_0 (none). Since g_k = C / 2^(n-1-k),
// gate_k begins at channel 2C - 2 g_k, and p_0 at 2C - g_0.
#pragma once

#include "../common/plan.h"

namespace lite_rtse::cuda {

inline constexpr int kMostStages = 31;

// Depthwise stages that channel c of h goes through.
LITE_RTSE_SHARED_CODE constexpr int cascade_depth(int64_t channels, int stages, int64_t c) {
  int depth = 0;
  while (depth < stages && 2 * channels - c > gate_channels(channels, stages, depth)) ++depth;
  return depth;
}

// Kernel sizes whose taps are kept in registers. Others take loops, as does double precision: it is for exact tests of
// gradients, and its taps would be most of a thread's registers.
constexpr bool is_unrolled(DType dtype, int64_t taps) { return dtype != DType::f64 && (taps == 3 || taps == 7); }
// Rows of a stage, the newest one included, that the next stage reads: with the taps in registers, sums of the rows to
// come are there as well and each row is read once.
LITE_RTSE_SHARED_CODE constexpr int rows_read(int taps, bool unrolled) { return unrolled ? 1 : taps; }

// Rings of rows in shared memory; one more than is read, for the row that is written meanwhile. The last stage is on
// its way to global memory only.
struct CascadeRings {
  int stages, taps;
  bool unrolled;
  LITE_RTSE_SHARED_CODE constexpr int before(int stage) const { return stage * (rows_read(taps, unrolled) + 1); }
  LITE_RTSE_SHARED_CODE constexpr int rows(int stage) const { return stage < stages ? before(1) : 2; }
  LITE_RTSE_SHARED_CODE constexpr int total() const { return before(stages) + 2; }
};

// The same of the gradients, for one channel of the given depth. Its stages are d_0 = h, …, d_{depth-1} and their
// gradients G_0 = dh, …, G_depth, what the gate chain gives. With frames counted from where the march begins and one
// row a step, stage s computes row t of d_{s+1} in step t + s. A row is read from the step after the one that wrote it.
// G_depth's row t is there from step t + lag(depth) on; G_s[t] needs G_{s+1}[t … t + K - 1], so that
//
//   lag(s) = lag(s + 1) + K.
//
// The weight gradient of stage s meets row t of G_{s+1} with row t - K + 1 of d_s and holds K rows of G_{s+1} in
// registers; taken by loops it reads rows t - K + 1 … t of d_s. Of d_s, which is written s steps behind the front, that
// row must be there: t - K + 1 + s <= t + lag(s + 1), or t + s <= t + lag(s + 1) by loops. Both are hardest at
// s = depth - 1, and give lag(depth). The oldest row read in step τ is τ - lag(s + 1) - K + 1, the one being written
// τ - s + 1.
struct GradientRings {
  int depth, taps;
  bool unrolled;
  LITE_RTSE_SHARED_CODE constexpr int lag(int stage) const {
    const int first = unrolled ? (depth > taps ? depth - taps : 0) : depth - 1;
    return first + (depth - stage) * taps;
  }
  LITE_RTSE_SHARED_CODE constexpr int stage_rows(int stage) const {
    const int needed = lag(stage + 1) + taps - stage + 1, least = rows_read(taps, unrolled) + 1;
    return needed > least ? needed : least;
  }
  LITE_RTSE_SHARED_CODE constexpr int before_stage(int stage) const {
    int sum = 0;
    for (int s = 0; s < stage; ++s) sum += stage_rows(s);
    return sum;
  }
  // dh only goes to global memory.
  LITE_RTSE_SHARED_CODE constexpr int gradient_rows(int stage) const {
    return stage > 0 ? rows_read(taps, unrolled) + 1 : 2;
  }
  LITE_RTSE_SHARED_CODE constexpr int before_gradient(int stage) const {
    return before_stage(depth) + (stage > 0 ? 2 + (stage - 1) * gradient_rows(1) : 0);
  }
  LITE_RTSE_SHARED_CODE constexpr int total() const { return before_gradient(depth + 1); }
};

// Where a stage's gradients stand in a row of the cascade's partial sums: taps of all its channels, then their biases.
LITE_RTSE_SHARED_CODE constexpr int64_t depthwise_sums(int64_t channels, int stages, int taps, int stage) {
  int64_t at = 0;
  for (int s = 0; s < stage; ++s) at += (2 * channels - gate_channels(channels, stages, s)) * (taps * taps + 1);
  return at;
}

// Columns of a row that a thread computes: odd, so that the threads of a warp, each a tile of columns further, read
// different banks.
template <class C>
inline constexpr int kColumns = sizeof(C) == 8 ? 3 : 9;
constexpr int columns_of(DType dtype) { return dtype == DType::f64 ? kColumns<double> : kColumns<float>; }

inline constexpr int kCascadeThreads = 384;  // at most, so that a thread may have 168 registers
inline constexpr int kGradientThreads = 384;
inline constexpr int kCascadeRegisters = 168, kGradientRegisters = 168;
inline constexpr int kMovingThreads = 128;  // of a block, that move rows between global and shared memory
inline constexpr int kGradientPeriod = 64;  // rows after which sums of a weight gradient are added up and begun anew

// The march of a block over the frames of one (utterance, channel, tile of bins, segment of time).
struct CascadeMarch {
  int64_t utterances, channels, frames, segment, segments;
  int stages, taps, bins, tiles;
  int lanes;  // threads that share a row: 8, 16 or 32
  int tile;   // bins of a tile; `halo` more on either side are computed unless there is one tile only
  int halo, pitch;
  int shared_size;          // numbers: rings, and backward the sums of weight gradients
  int convolution_threads;  // the rest of the block's, if any, are for weight gradients

  LITE_RTSE_SHARED_CODE constexpr int64_t deep() const { return 2 * channels - gate_channels(channels, stages, 0); }
};

struct CascadePlan {
  CascadeMarch march{};
  Geometry geometry{};
  bool fits = false;

  bool unrolled, in_global = false;  // in_global: rings are in the workspace

  // Of `utterances` of them; backward or not.
  CascadePlan(const MultiOrderConvArgs& a, int64_t utterances, const Device& device, bool backward)
      : unrolled(is_unrolled(a.dtype, a.taps)) {
    const int stages = int(a.stages());
    march = {.utterances = utterances,
             .channels = a.channels,
             .frames = a.frames,
             .stages = stages,
             .taps = int(a.taps),
             .bins = int(a.bins)};
    choose_lanes(a, device, backward);
    if (!fits) {  // loops, with rings of any size
      unrolled = false, in_global = true;
      choose_lanes(a, device, backward);
    }
    if (fits) choose_segments(a, device, backward);
  }

  int resident = 0;  // blocks of a multiprocessor

  int64_t rows_of_utterance() const { return march.segments * march.tiles; }  // of partial sums
  // Numbers of the rings of all blocks for so many utterances.
  int64_t ring_numbers(int64_t utterances) const {
    return in_global ? utterances * march.deep() * rows_of_utterance() * march.shared_size : 0;
  }

 private:
  // Few lanes a row leave none idle at the end of short rows; the most that fit make the fewest tiles of long ones.
  void choose_lanes(const MultiOrderConvArgs& a, const Device& device, bool backward) {
    const int columns = columns_of(a.dtype), halo = int(a.taps / 2) * march.stages;
    for (const int lanes : {8, 16, 32}) {
      const bool whole = lanes * columns >= a.bins;
      const int tile = whole ? int(a.bins) : lanes * columns - 2 * halo;
      if ((tile < 1 && !whole) || !fit(a, device, lanes, backward)) continue;
      fits = true;
      march.lanes = lanes, march.tile = tile, march.halo = whole ? 0 : halo;
      march.tiles = int(ceil_div(a.bins, std::max(1, tile)));
      if (whole) break;
    }
  }

  // Sets block and shared memory for so many lanes a row; false where the device has too little.
  bool fit(const MultiOrderConvArgs& a, const Device& device, int lanes, bool backward) {
    const int pitch = lanes * columns_of(a.dtype) + int(a.taps) - 1, n = march.stages;
    const int64_t convolving = std::max<int64_t>(round_up((backward ? 2 * n - 1 : n) * lanes, kWarp), kMovingThreads);
    const int64_t threads = convolving + (backward ? round_up(n * lanes, kWarp) : 0);
    const int rows =
        backward ? GradientRings{n, march.taps, unrolled}.total() : CascadeRings{n, march.taps, unrolled}.total();
    const int64_t numbers = int64_t(rows) * pitch + (backward ? n * (a.taps * a.taps + 1) : 0);
    const int64_t bytes = in_global ? 0 : numbers * compute_size(a.dtype);
    if (threads > (backward ? kGradientThreads : kCascadeThreads)) return false;
    const int held =
        blocks_per_multiprocessor(device, int(threads), bytes, backward ? kGradientRegisters : kCascadeRegisters);
    if (held == 0) return false;
    resident = held;
    march.pitch = pitch, march.shared_size = int(numbers), march.convolution_threads = int(convolving);
    geometry = {0, int(threads), bytes};
    return true;
  }

  // A segment begins with the rows that its first one depends on, and ends when the pipeline of stages has run empty. A
  // multiprocessor's time grows with the blocks it gets and their steps, and where few blocks are there to cover one
  // another's latency, a step takes longer; by how much is an estimate.
  void choose_segments(const MultiOrderConvArgs& a, const Device& device, bool backward) {
    constexpr double kAloneSlower = 0.4;
    const int look_back = march.taps - 1, n = march.stages;
    const int pipeline = backward ? GradientRings{n, march.taps, unrolled}.lag(0) : n;
    const int extra = n * look_back + pipeline;
    const int64_t blocks = march.utterances * march.deep() * march.tiles;
    const int64_t most = std::max<int64_t>(1, a.frames / std::max(16, 2 * extra));
    double best = 0;
    march.segments = 0;
    for (int64_t s = 1; s <= std::min<int64_t>(most, 64); ++s) {
      const int64_t segment = ceil_div(a.frames, s), each = ceil_div(blocks * s, device.multiprocessors);
      const double alone = kAloneSlower / double(std::max<int64_t>(1, std::min<int64_t>(each, resident)));
      const double time = double(each * (segment + (s > 1 ? extra : 0))) * (1 + alone);
      if (march.segments > 0 && time >= best) continue;
      best = time;
      march.segment = segment;
      march.segments = ceil_div(a.frames, std::max<int64_t>(1, segment));
    }
    geometry.blocks = blocks * march.segments;
  }
};

// Where parameter gradients stand in a row of the gate chain's partial sums: A_0 …, with rows of interleaved columns
// (reduce.cuh), a_0 …, W_out, b_out.
struct GateSums {
  int64_t channels;
  int stages;
  LITE_RTSE_SHARED_CODE constexpr int64_t gate(int k) const { return gate_channels(channels, stages, k); }
  LITE_RTSE_SHARED_CODE constexpr int64_t matrix(int k) const {
    int64_t at = 0;
    for (int i = 0; i < k; ++i) at += 2 * gate(i) * round_up(gate(i), 4);
    return at;
  }
  // Gates double, so that 2 (g_0 + … + g_{k-1}) = 2 (g_k - g_0).
  LITE_RTSE_SHARED_CODE constexpr int64_t bias(int k) const { return matrix(stages) + 2 * (gate(k) - gate(0)); }
  LITE_RTSE_SHARED_CODE constexpr int64_t out() const { return bias(stages); }
  LITE_RTSE_SHARED_CODE constexpr int64_t out_size() const { return channels + 1; }
  LITE_RTSE_SHARED_CODE constexpr int64_t width() const { return round_up(out() + out_size(), 4); }
};

// The gate chain works on tiles of points, 8 x 16 bytes in the compute type for each warp of a block: as many warps as
// the device can hold.
struct GatesPlan {
  static constexpr int kMostWarps = 4;
  static constexpr int64_t kWarpBytes = 128, kPaddingBytes = 32;  // of a channel of a tile, as tile.cuh wants them
  static constexpr int64_t kWeights = 33 * 36;                    // a block of 32 x 32, and biases

  bool fits = false;
  int64_t tiles = 0;  // of one utterance
  int pitch = 0;
  Geometry geometry{};

  GatesPlan(const MultiOrderConvArgs& a, int64_t utterances, const Device& device, bool backward) {
    const int64_t compute = compute_size(a.dtype);
    int most = 0;
    for (int warps = kMostWarps; warps > 0; --warps) {
      const int64_t padded = (warps * kWarpBytes + kPaddingBytes) / compute;
      const int64_t sums = backward ? warps * GateSums{a.channels, int(a.stages())}.out_size() : 0;
      const int64_t bytes = (tile_channels(a, backward) * padded + kWeights + sums) * compute;
      const int held = blocks_per_multiprocessor(device, warps * kWarp, bytes, registers(a.dtype, backward));
      if (held * warps <= most) continue;
      most = held * warps;
      fits = true;
      pitch = int(padded);
      tiles = ceil_div(a.frames * a.bins, warps * kWarpBytes / compute);
      const int64_t blocks = utterances * tiles;
      geometry = {backward ? std::min<int64_t>(blocks, int64_t(held) * device.multiprocessors) : blocks, warps * kWarp,
                  bytes};
    }
  }

  // Forward, s_k and s_{k+1}; backward, all s_k and then dp_{n-1}.
  static int64_t tile_channels(const MultiOrderConvArgs& a, bool backward) {
    if (backward) return 2 * a.channels - a.gate(0);
    return a.gate(a.stages() - 1) + (a.stages() > 1 ? a.gate(a.stages() - 2) : 0);
  }
  // Blocks that the registers of a multiprocessor shall suffice for.
  static constexpr int blocks(int64_t compute_bytes, bool backward) {
    return !backward ? 4 : compute_bytes == 8 ? 2 : 3;
  }
  static constexpr int registers(DType dtype, bool backward) {
    return std::min(255, 65536 / (kMostWarps * kWarp * blocks(compute_size(dtype), backward)) / 8 * 8);
  }
};

// The whole block, forward or backward: utterances are taken a slice at a time, enough of them to fill the device a few
// times over, so that the workspace does not grow with the batch. In the compute type, a slice has
//
//   h      2C planes; dh takes its place where one block has the whole of a plane, else it has as many again
//   u      2C - g_0 planes, likewise in the place of h in the forward pass, where p_0 alone is needed of h
//   dq     C planes, backward and for more than one output channel
//
// Of half types too: rounded to them, each of these would err as much as an intermediate of eager mode does. It costs
// little time, since the kernel that reads and writes most of them is bound by its multiply-adds.
struct MultiOrderPlan {
  static constexpr int64_t kPlaneUnit = 4;  // elements, 16 bytes of a float
  static constexpr int64_t kFill = 4;       // blocks of the cascade for each that the device holds at a time

  int64_t points, plane, deep, slice, slices;
  CascadePlan cascade;
  GatesPlan gates;
  bool in_place;

  MultiOrderPlan(const MultiOrderConvArgs& a, const Device& device, bool backward)
      : points(a.frames * a.bins), plane(round_up(points, kPlaneUnit)), deep(2 * a.channels - a.gate(0)),
        slice(utterances_at_a_time(a, device, backward)), slices(slice > 0 ? ceil_div(a.batch, slice) : 0),
        cascade(a, slice, device, backward), gates(a, slice, device, backward),
        in_place(cascade.march.segments <= 1 && cascade.march.tiles <= 1) {}

  bool fits() const { return cascade.fits && gates.fits; }
  int64_t utterances(int64_t batch, int64_t s) const { return std::min(slice, batch - s * slice); }

 private:
  static int64_t utterances_at_a_time(const MultiOrderConvArgs& a, const Device& device, bool backward) {
    const CascadePlan one(a, 1, device, backward);
    const int64_t blocks = std::max<int64_t>(1, one.march.deep() * one.march.tiles);
    const int64_t wanted = ceil_div(kFill * one.resident * device.multiprocessors, blocks);
    const int64_t slices = ceil_div(a.batch, std::max<int64_t>(1, wanted));
    return slices > 0 ? ceil_div(a.batch, slices) : 0;
  }
};

}  // namespace lite_rtse::cuda
