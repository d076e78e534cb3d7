// Launch plan of the Multi-Order block: the path of its channels, and how the kernels divide the work.
//
//   h = in(x)                      (utterances, 2C, frames, bins) in the workspace
//   u = cascade(h)                 for each channel: multi_order_conv_cascade.cuh; backward: …_gradient.cuh
//   y = out(final · gates)         multi_order_conv_gates.cuh; backward: …_gates_backward.cuh
//
// The 2C channels of h form groups by their path through the block: `final` (C channels, through all n - 1 stages),
// gate_{n-2} (all stages), gate_{n-3} (one stage less), …, gate_0 (one stage), p_0 (none). Since g_k = C / 2^(n-1-k),
// gate_k begins at channel 2C - 2 g_k, and p_0 at 2C - g_0.
#pragma once

#include "../common/plan.h"

namespace lite_rtse::cuda {

inline constexpr int kMostStages = 31;

// The number of depthwise stages that channel c of h goes through.
LITE_RTSE_SHARED_CODE constexpr int cascade_depth(int64_t channels, int stages, int64_t c) {
  int depth = 0;
  while (depth < stages && 2 * channels - c > gate_channels(channels, stages, depth)) ++depth;
  return depth;
}

// Whether the taps of this kernel size are kept in registers. Other sizes use loops. Double precision uses loops too:
// it serves exact tests of gradients, and its taps would fill most of a thread's registers.
constexpr bool is_unrolled(DType dtype, int64_t taps) { return dtype != DType::f64 && (taps == 3 || taps == 7); }
// Stages that run on tensor cores in half types (multi_order_conv_band.cuh): their kernel size, the windows of eight
// bins that four lanes have, and the elements of each of a row's two parts: the bins of a tile, with zeros around them.
inline constexpr int kBandTaps = 7, kBandWindows = 5, kBandBins = 36 * 8, kBandPart = kBandBins + 16;
// A band takes 5.7 times as many multiply-adds at 257 bins. Tensor cores do 15 times as many as the CUDA cores on the
// devices of data centers, whose compute capabilities are 8.0, 9.0 and 10.x. On other devices they do twice as many.
constexpr bool may_band(DType dtype, int64_t taps, const Device& device) {
  const bool fast = device.sm == 80 || device.sm == 90 || device.sm / 10 == 10;
  return element_size(dtype) == 2 && taps == kBandTaps && fast;
}

// The number of rows of a stage, including the newest, that the next stage reads. With the taps in registers, the sums
// of the rows to come are there as well. Each row is then read once.
LITE_RTSE_SHARED_CODE constexpr int rows_read(int taps, bool unrolled) { return unrolled ? 1 : taps; }

// The most rows of a step. A kernel size is odd, so a stage's delay of K - 1 rows is a whole number of steps of two.
inline constexpr int kMostStepRows = 2;

// The number of rows of a ring. During a step of R rows, one stage writes R rows, and the next stage reads the R rows
// of the step before, with the rows that these depend on.
LITE_RTSE_SHARED_CODE constexpr int least_ring(int read, int step_rows) { return read - 1 + 2 * step_rows; }

// Rings of rows in shared memory. The ring of the last stage only carries rows to global memory.
struct CascadeRings {
  int stages, taps;
  bool unrolled;
  int step_rows;
  LITE_RTSE_SHARED_CODE constexpr int before(int stage) const {
    return stage * least_ring(rows_read(taps, unrolled), step_rows);
  }
  LITE_RTSE_SHARED_CODE constexpr int rows(int stage) const {
    return stage < stages ? before(1) : least_ring(1, step_rows);
  }
  LITE_RTSE_SHARED_CODE constexpr int total() const { return before(stages) + rows(stages); }
};

// The rings of the gradients, for one channel of the given depth. The channel's stages are d_0 = h, …, d_{depth-1}.
// Their gradients are G_0 = dh, …, G_depth; the gate chain gives G_depth. Time is counted in rows from the start of the
// march. Stage s computes row t of d_{s+1} at time t + R s, where R is the number of rows of a step. A row is read from
// the step after the one that wrote it, R rows later. Row t of G_depth is read at time t + lag(depth). G_s[t] needs
// G_{s+1}[t … t + K - 1], so that
//
//   lag(s) = lag(s + 1) + K - 1 + R.
//
// All lags are multiples of R. The weight gradient of stage s multiplies row t of G_{s+1} and row t - K + 1 of d_s. It
// holds K rows of G_{s+1} in registers. The version with loops reads rows t - K + 1 … t of d_s. d_s is written R s rows
// behind the front, and the row must be there: t - K + 1 + R s <= t + lag(s + 1), or with loops t + R s <= t +
// lag(s + 1). Both conditions are strictest at s = depth - 1 and give lag(depth). In the step that begins at time τ the
// oldest row that is read is τ - lag(s + 1) - K + 1; the newest that is written is τ - R s + 2 R - 1.
struct GradientRings {
  int depth, taps;
  bool unrolled;
  int step_rows;
  LITE_RTSE_SHARED_CODE constexpr int lag(int stage) const {
    const int behind = step_rows * (depth - 1) - (unrolled ? taps - 1 : 0);
    return (behind > 0 ? behind : 0) + (depth - stage) * (taps - 1 + step_rows);
  }
  LITE_RTSE_SHARED_CODE constexpr int stage_rows(int stage) const {
    const int needed = lag(stage + 1) + taps - step_rows * stage + 2 * step_rows - 1;
    const int least = least_ring(rows_read(taps, unrolled), step_rows);
    return needed > least ? needed : least;
  }
  LITE_RTSE_SHARED_CODE constexpr int before_stage(int stage) const {
    int sum = 0;
    for (int s = 0; s < stage; ++s) sum += stage_rows(s);
    return sum;
  }
  // dh only goes to global memory.
  LITE_RTSE_SHARED_CODE constexpr int gradient_rows(int stage) const {
    return least_ring(stage > 0 ? rows_read(taps, unrolled) : 1, step_rows);
  }
  LITE_RTSE_SHARED_CODE constexpr int before_gradient(int stage) const {
    return before_stage(depth) + (stage > 0 ? gradient_rows(0) + (stage - 1) * gradient_rows(1) : 0);
  }
  LITE_RTSE_SHARED_CODE constexpr int total() const { return before_gradient(depth + 1); }
};

// The place of a stage's gradients in a row of the cascade's partial sums: the taps of all its channels, then their
// biases.
LITE_RTSE_SHARED_CODE constexpr int64_t depthwise_sums(int64_t channels, int stages, int taps, int stage) {
  int64_t at = 0;
  for (int s = 0; s < stage; ++s) at += (2 * channels - gate_channels(channels, stages, s)) * (taps * taps + 1);
  return at;
}

// The number of columns of a row that a thread computes. It is odd: the threads of a warp are one tile of columns apart
// each, and an odd distance makes them read different banks.
template <class C>
inline constexpr int kColumns = sizeof(C) == 8 ? 3 : 9;
constexpr int columns_of(DType dtype) { return dtype == DType::f64 ? kColumns<double> : kColumns<float>; }

inline constexpr int kCascadeThreads = 384;  // at most, so that a thread may have 168 registers
inline constexpr int kGradientThreads = 384;
inline constexpr int kCascadeRegisters = 168, kGradientRegisters = 168;
inline constexpr int kMovingThreads = 128;  // threads of a block that move rows between global and shared memory
inline constexpr int kGradientPeriod = 64;  // rows after which a weight gradient's sums are added up and reset

// The march of a block over the frames of one (utterance, channel, tile of bins, segment of time).
struct CascadeMarch {
  int64_t utterances, channels, frames, segment, segments;
  int stages, taps, bins, tiles;
  int step_rows;  // rows of a step, 1 or 2: those between two barriers
  int lanes;      // threads that share a row: 8, 16 or 32
  int tile;       // bins of a tile; if there are several tiles, `halo` more bins on either side are computed
  int halo, pitch;
  int shared_size;          // numbers: rings, and in the backward pass the sums of weight gradients
  int convolution_threads;  // any other threads of the block compute weight gradients

  LITE_RTSE_SHARED_CODE constexpr int64_t deep() const { return 2 * channels - gate_channels(channels, stages, 0); }
  // Whether a step ends with the row at this time.
  LITE_RTSE_SHARED_CODE constexpr bool ends_step(int time) const { return (time & (step_rows - 1)) == step_rows - 1; }
};

struct CascadePlan {
  CascadeMarch march{};
  Geometry geometry{};
  bool fits = false;

  // band: stages run on tensor cores, one warp each; in_global: the rings are in the workspace
  bool unrolled, band, in_global = false;

  // A plan for `utterances` utterances, for the forward or the backward pass.
  CascadePlan(const MultiOrderConvArgs& a, int64_t utterances, const Device& device, bool backward)
      : unrolled(is_unrolled(a.dtype, a.taps)), band(may_band(a.dtype, a.taps, device)) {
    const int stages = int(a.stages());
    march = {.utterances = utterances,
             .channels = a.channels,
             .frames = a.frames,
             .stages = stages,
             .taps = int(a.taps),
             .bins = int(a.bins)};
    choose_lanes(a, device, backward);
    if (!fits && band) {
      band = false;
      choose_lanes(a, device, backward);
    }
    if (!fits) {  // loops, with rings of any size
      unrolled = false, in_global = true;
      choose_lanes(a, device, backward);
    }
    if (fits) choose_segments(a, device, backward);
  }

  int resident = 0;  // blocks per multiprocessor

  int64_t rows_of_utterance() const { return march.segments * march.tiles; }  // rows of partial sums per utterance
  // The number of elements in the rings of all blocks for `utterances` utterances.
  int64_t ring_numbers(int64_t utterances) const {
    return in_global ? utterances * march.deep() * rows_of_utterance() * march.shared_size : 0;
  }

 private:
  // For short rows, the fewest lanes that hold a whole row leave the fewest lanes idle. For long rows, the most lanes
  // that fit make the fewest tiles.
  void choose_lanes(const MultiOrderConvArgs& a, const Device& device, bool backward) {
    const int columns = columns_of(a.dtype), halo = int(a.taps / 2) * march.stages;
    for (const int lanes : {8, 16, 32}) {
      if (band && lanes < kWarp) continue;
      const bool whole = lanes * columns >= a.bins;
      const int tile = whole ? int(a.bins) : lanes * columns - 2 * halo;
      if ((tile < 1 && !whole) || !fit(a, device, lanes, backward)) continue;
      fits = true;
      march.lanes = lanes, march.tile = tile, march.halo = whole ? 0 : halo;
      march.tiles = int(ceil_div(a.bins, std::max(1, tile)));
      if (whole) break;
    }
  }

  // Sets block and shared memory for `lanes` lanes per row. Returns false if the device has too little of them. A step
  // has several rows if their rings in shared memory leave a multiprocessor as many blocks.
  bool fit(const MultiOrderConvArgs& a, const Device& device, int lanes, bool backward) {
    const int pitch = lanes * columns_of(a.dtype) + int(a.taps) - 1, n = march.stages;
    const int64_t convolving = std::max<int64_t>(round_up((backward ? 2 * n - 1 : n) * lanes, kWarp), kMovingThreads);
    const int64_t threads = convolving + (backward ? round_up(n * lanes, kWarp) : 0);
    if (threads > (backward ? kGradientThreads : kCascadeThreads)) return false;
    int most = 0;
    for (int step_rows = 1; step_rows <= (in_global ? 1 : kMostStepRows); ++step_rows) {
      const int rows = backward ? GradientRings{n, march.taps, unrolled, step_rows}.total()
                                : CascadeRings{n, march.taps, unrolled, step_rows}.total();
      const int row = band ? kBandPart : pitch;  // two parts of a half type take as much as one of floats
      const int64_t numbers = int64_t(rows) * row + (backward ? n * (a.taps * a.taps + 1) : 0);
      const int64_t bytes = in_global ? 0 : numbers * compute_size(a.dtype);
      const int held =
          blocks_per_multiprocessor(device, int(threads), bytes, backward ? kGradientRegisters : kCascadeRegisters);
      if (held == 0 || held < most) break;
      most = resident = held;
      march.step_rows = step_rows, march.pitch = pitch, march.shared_size = int(numbers);
      march.convolution_threads = int(convolving);
      geometry = {0, int(threads), bytes};
    }
    return most > 0;
  }

  // A segment begins with the rows that its first row depends on. It ends when the pipeline of stages is empty. A
  // multiprocessor's time grows with the number of its blocks and their steps. With few blocks to hide one another's
  // latency, a step takes longer; how much longer is an estimate.
  void choose_segments(const MultiOrderConvArgs& a, const Device& device, bool backward) {
    constexpr double kAloneSlower = 0.4;
    const int look_back = march.taps - 1, n = march.stages;
    const int pipeline =
        backward ? GradientRings{n, march.taps, unrolled, march.step_rows}.lag(0) : n * march.step_rows;
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

// The place of each parameter gradient in a row of the gate chain's partial sums: A_0 …, with rows of interleaved
// columns (reduce.cuh), a_0 …, W_out, b_out.
struct GateSums {
  int64_t channels;
  int stages;
  LITE_RTSE_SHARED_CODE constexpr int64_t gate(int k) const { return gate_channels(channels, stages, k); }
  LITE_RTSE_SHARED_CODE constexpr int64_t matrix(int k) const {
    int64_t at = 0;
    for (int i = 0; i < k; ++i) at += 2 * gate(i) * round_up(gate(i), 4);
    return at;
  }
  // The sizes of the gates double from one to the next, so 2 (g_0 + … + g_{k-1}) = 2 (g_k - g_0).
  LITE_RTSE_SHARED_CODE constexpr int64_t bias(int k) const { return matrix(stages) + 2 * (gate(k) - gate(0)); }
  LITE_RTSE_SHARED_CODE constexpr int64_t out() const { return bias(stages); }
  LITE_RTSE_SHARED_CODE constexpr int64_t out_size() const { return channels + 1; }
  LITE_RTSE_SHARED_CODE constexpr int64_t width() const { return round_up(out() + out_size(), 4); }
};

// The gate chain works on tiles of points. Each warp of a block has 8 x 16 bytes of points in the compute type. A block
// has as many warps as the device can hold.
struct GatesPlan {
  static constexpr int kMostWarps = 4;
  static constexpr int64_t kWarpBytes = 128, kPaddingBytes = 32;  // of a channel of a tile, as tile.cuh needs them
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

  // Forward: s_k and s_{k+1}. Backward: all s_k and then dp_{n-1}.
  static int64_t tile_channels(const MultiOrderConvArgs& a, bool backward) {
    if (backward) return 2 * a.channels - a.gate(0);
    return a.gate(a.stages() - 1) + (a.stages() > 1 ? a.gate(a.stages() - 2) : 0);
  }
  // The number of blocks for which the registers of a multiprocessor must suffice.
  static constexpr int blocks(int64_t compute_bytes, bool backward) {
    return !backward ? 4 : compute_bytes == 8 ? 2 : 3;
  }
  static constexpr int registers(DType dtype, bool backward) {
    return std::min(255, 65536 / (kMostWarps * kWarp * blocks(compute_size(dtype), backward)) / 8 * 8);
  }
};

// The whole block, forward or backward. It processes a slice of the utterances at a time, large enough to fill the
// device a few times over. The workspace thus does not grow with the batch. In the compute type, a slice has
//
//   h      2C planes; dh replaces it if one block has the whole of a plane, otherwise dh has 2C more planes
//   u      2C - g_0 planes; likewise in the place of h in the forward pass, where only p_0 of h is needed
//   dq     C planes, only backward and for more than one output channel
//
// Half types use the compute type too. Rounded to half types, each of these arrays would have the error of an
// intermediate of eager mode. All of them together had errors that exceeded eager mode's in some gradients.
struct MultiOrderPlan {
  static constexpr int64_t kPlaneUnit = 4;  // elements, 16 bytes of a float
  static constexpr int64_t kFill = 4;       // blocks of the cascade for each block that the device holds at a time

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
