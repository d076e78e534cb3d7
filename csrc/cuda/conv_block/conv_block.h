// Launch plan of the Conv-Block, y = out(dw(in(x))) · skip(x), and of its gradients.
//
// The minimum cost of a point, in float32. N = 30/32 of the columns of a strip are its own:
//
//                        forward                 backward
//              bytes     multiply-adds   bytes   multiply-adds (with the forward pass again)
//   1 → 32     132       1376            404     4128
//   32 → 32    256       3360            1024    10080
//
// At B = 32, T = 250, F = 257 (2.06 million points) the minimum times of 32 → 32 are, from bytes / from multiply-adds,
// in ms:
//
//              forward          backward
//   H100       0.16 / 0.21      0.63 / 0.62      3.35 TB/s, 67 TFLOP/s
//   A100       0.34 / 0.71      1.36 / 2.13      1.55 TB/s, 19.5 TFLOP/s
//   RTX 4090   0.52 / 0.17      2.09 / 0.50      1.01 TB/s, 83 TFLOP/s
//
// The forward pass is therefore one kernel, which reads x once and writes y once; its cost is the arithmetic. The
// backward pass is two kernels. Between them, du = dL/d(dw) and skip's share of dx are in memory. One kernel would move
// only 384 of the 1024 bytes. But dh[t] needs du[t … t + 2], so it would need rings of x, du and ds besides that of h.
// One block of four warps would fill an H100's multiprocessor; no block would fit the devices with 99 KB.
//
// There are no tensor cores. float32 must agree with float64 to 2e-6, and TF32 has 11 bits. For the half types a
// product is 32 x 32 x 32 per row of a strip. This is too small for tensor cores unless several rows' fragments stay in
// registers. It would also be another kernel than the one that is verified with float32.
#pragma once

#include "../common/plan.h"

namespace lite_rtse::cuda {

// How the fused kernels cut the plane. A strip is 32 columns, one per lane: 30 bins of its own, and one more on either
// side for dw. A block marches over the frames of one strip, in one segment of time. It takes chunks of `rows` rows,
// one row per warp. Channels are rows of shared memory, `conv_pitch` apart.
inline constexpr int kConvColumns = 32, kConvOwn = kConvColumns - 2;
inline constexpr int kConvChannels = 32;  // the most channels of x and of y
inline constexpr int kConvMostRows = 8;
inline constexpr int kConvLookBack = 2;  // rows of left context for dw
inline constexpr int kConvTaps = 9;
inline constexpr int kConvNarrow = 4;        // the most channels of x whose gradients are computed one at a time
inline constexpr int kConvWeightPitch = 36;  // the same as in tile.cuh

// 4 times an odd number. Lanes that read 16 bytes of neighboring channels then use different banks. So do lanes that
// write 16 bytes of every other channel at two neighboring quads.
LITE_RTSE_SHARED_CODE constexpr int conv_pitch(int rows) { return rows * kConvColumns + 4; }

// The layout of shared memory, in elements of the compute type; all places are multiples of 16 bytes. Matrices are
// (sources, 36), tiles (channels, conv_pitch(rows)), rings (channels, conv_pitch(rows + 2)).
struct ConvBlockForwardShared {
  int in, skip, out, vectors, taps, tile, ring, size;
  LITE_RTSE_SHARED_CODE constexpr int b_in() const { return vectors; }
  LITE_RTSE_SHARED_CODE constexpr int b_out() const { return vectors + kConvChannels; }
  LITE_RTSE_SHARED_CODE constexpr int b_skip() const { return vectors + 2 * kConvChannels; }
  LITE_RTSE_SHARED_CODE constexpr ConvBlockForwardShared(int sources, int channels, int rows)
      : in(0), skip(in + sources * kConvWeightPitch), out(skip + sources * kConvWeightPitch),
        vectors(out + channels * kConvWeightPitch), taps(vectors + 3 * kConvChannels),
        tile(taps + (kConvTaps + 1) * kConvChannels),
        ring(tile + (sources > channels ? sources : channels) * conv_pitch(rows)),
        size(ring + channels * conv_pitch(rows + kConvLookBack)) {}
};

// The place of column i of a block's sums in shared memory. Rows of 32 sources are 36 apart, so that the lanes of an
// outer product use different banks.
LITE_RTSE_SHARED_CODE constexpr int totals_slot(int i) { return i + int(unsigned(i) / kConvChannels * 4); }

// Tiles for outer products have all 32 channels. The numbers behind the last channel are arbitrary.
LITE_RTSE_SHARED_CODE constexpr int conv_tile_channels(int sources) {
  return sources > kConvNarrow ? kConvChannels : sources;
}

// The first kernel of the backward pass computes du, the gradients of dw, out and skip, and skip's share of dx.
struct ConvBlockOutShared {
  int in, skip, out, out_back, skip_back, vectors, taps, x, u, g, ring, totals, size;
  LITE_RTSE_SHARED_CODE constexpr int b_in() const { return vectors; }
  LITE_RTSE_SHARED_CODE constexpr int b_out() const { return vectors + kConvChannels; }
  LITE_RTSE_SHARED_CODE constexpr int b_skip() const { return vectors + 2 * kConvChannels; }
  LITE_RTSE_SHARED_CODE constexpr ConvBlockOutShared(int sources, int channels, int rows)
      : in(0), skip(in + sources * kConvWeightPitch), out(skip + sources * kConvWeightPitch),
        out_back(out + channels * kConvWeightPitch), skip_back(out_back + channels * kConvWeightPitch),
        vectors(skip_back + (sources > kConvNarrow ? channels * kConvWeightPitch : sources * kConvChannels)),
        taps(vectors + 3 * kConvChannels), x(taps + (kConvTaps + 1) * kConvChannels),
        u(x + conv_tile_channels(sources) * conv_pitch(rows)), g(u + kConvChannels * conv_pitch(rows)),
        ring(g + kConvChannels * conv_pitch(rows)), totals(x),
        size(ring + channels * conv_pitch(rows + kConvLookBack)) {}
};

// The second kernel computes dh, the gradients of `in`, and in's share of dx.
struct ConvBlockInShared {
  int in_back, taps, x, dh, ring, totals, size;
  LITE_RTSE_SHARED_CODE constexpr ConvBlockInShared(int sources, int channels, int rows)
      : in_back(0), taps(in_back + (sources > kConvNarrow ? channels * kConvWeightPitch : sources * kConvChannels)),
        x(taps + (kConvTaps + 1) * kConvChannels), dh(x + conv_tile_channels(sources) * conv_pitch(rows)),
        ring(dh + kConvChannels * conv_pitch(rows)), totals(x),
        size(ring + channels * conv_pitch(rows + kConvLookBack)) {}
};

// The place of each gradient in a row of partial sums.
struct ConvBlockOutSums {
  int64_t out, skip, dw, dw_bias, out_bias, skip_bias, width;
  LITE_RTSE_SHARED_CODE constexpr ConvBlockOutSums(int64_t sources, int64_t channels)
      : out(0), skip(out + channels * channels), dw(skip + channels * sources), dw_bias(dw + channels * kConvTaps),
        out_bias(dw_bias + channels), skip_bias(out_bias + channels), width(skip_bias + channels) {}
};
struct ConvBlockInSums {
  int64_t in, in_bias, width;
  LITE_RTSE_SHARED_CODE constexpr ConvBlockInSums(int64_t sources, int64_t channels)
      : in(0), in_bias(in + channels * sources), width(in_bias + channels) {}
};

// The march of the blocks of one fused kernel.
struct ConvBlockMarch {
  int64_t frames = 0, strips = 0, segment = 0, segments = 0;
  int bins = 0, sources = 0, channels = 0, rows = 0;
};

// The fused kernels. Their launch bounds determine their registers.
enum class ConvBlockPass { forward, out, in };

struct ConvBlockKernelPlan {
  static constexpr int64_t kMostFrames = 128;  // of a segment: bounds the number of terms of one sum

  bool fits = false;
  ConvBlockMarch march;
  Geometry geometry;
  int resident = 0;  // blocks per multiprocessor

  ConvBlockKernelPlan(const ConvBlockArgs& a, ConvBlockPass pass, const Device& device) {
    // In double precision a warp's sums alone would take all registers. float64 exists for exact checks only.
    if (a.dtype == DType::f64 || a.channels > kConvChannels || a.in_channels > kConvChannels) return;
    if (a.bins > INT32_MAX - kConvColumns) return;
    march.frames = a.frames, march.bins = int(a.bins);
    march.sources = int(a.in_channels), march.channels = int(a.channels);
    march.strips = ceil_div(a.bins, kConvOwn);
    choose_rows(a, pass, device);
    if (fits) choose_segments(a, device);
  }

  static constexpr int registers(ConvBlockPass pass) { return pass == ConvBlockPass::out ? 255 : 128; }
  static constexpr int64_t shared_bytes(ConvBlockPass pass, int sources, int channels, int rows) {
    const int size = pass == ConvBlockPass::forward ? ConvBlockForwardShared(sources, channels, rows).size
                     : pass == ConvBlockPass::out   ? ConvBlockOutShared(sources, channels, rows).size
                                                    : ConvBlockInShared(sources, channels, rows).size;
    // The sums of a block take the place of the tiles.
    const int64_t totals = pass == ConvBlockPass::out  ? ConvBlockOutShared(sources, channels, rows).totals +
                                                             totals_slot(int(ConvBlockOutSums(sources, channels).width))
                           : pass == ConvBlockPass::in ? ConvBlockInShared(sources, channels, rows).totals +
                                                             totals_slot(int(ConvBlockInSums(sources, channels).width))
                                                       : 0;
    return std::max<int64_t>(size, totals) * int64_t(sizeof(float));
  }

 private:
  // Puts as many warps as possible on a multiprocessor. A block that is alone there waits for its loads and at its
  // barriers, and no other block hides this latency. How much slower it is, is an estimate.
  void choose_rows(const ConvBlockArgs& a, ConvBlockPass pass, const Device& device) {
    constexpr double kAloneSlower = 0.3;
    double best = 0;
    for (int rows = kConvMostRows; rows >= 2; --rows) {
      if (rows > std::max<int64_t>(2, a.frames)) continue;
      const int64_t bytes = shared_bytes(pass, march.sources, march.channels, rows);
      const int held = blocks_per_multiprocessor(device, rows * kWarp, bytes, registers(pass));
      if (held == 0 || held * rows * (1 - kAloneSlower / held) <= best) continue;
      best = held * rows * (1 - kAloneSlower / held);
      fits = true, resident = held;
      march.rows = rows;
      geometry = {0, rows * kWarp, bytes};
    }
  }

  // A segment recomputes the rows of left context of its first row. The time is that of the multiprocessor with the
  // most work.
  void choose_segments(const ConvBlockArgs& a, const Device& device) {
    constexpr double kExtraRows = 2;  // the cost of the start of a segment
    const int64_t strips = a.batch * march.strips, chunks = ceil_div(a.frames, march.rows);
    const int64_t at_once = int64_t(resident) * device.multiprocessors;
    double best = 0;
    for (int64_t s = ceil_div(a.frames, kMostFrames); s <= chunks; ++s) {
      const int64_t segment = round_up(ceil_div(a.frames, std::max<int64_t>(1, s)), march.rows);
      const int64_t segments = ceil_div(a.frames, std::max<int64_t>(1, segment));
      const double time = double(ceil_div(strips * segments, at_once)) * (double(segment) + kExtraRows);
      if (march.segments > 0 && time >= best) continue;
      best = time;
      march.segment = segment, march.segments = segments;
    }
    geometry.blocks = strips * march.segments;
  }
};

// For more channels, for float64, and if shared memory is too small: the 1x1 convolutions and dw run one after another,
// through the workspace. They take a few utterances at a time, so that the workspace does not grow with the batch.
struct ConvBlockLoopsPlan {
  static constexpr int kThreads = 256;
  static constexpr int64_t kFill = 8, kMostFrames = 512;

  int64_t points, slice, slices, segments, segment;

  ConvBlockLoopsPlan(const ConvBlockArgs& a, const Device& device) : points(a.frames * a.bins) {
    const int64_t blocks = std::max<int64_t>(1, ceil_div(points, kThreads));
    slice = std::min(a.batch, ceil_div(kFill * device.multiprocessors, blocks));
    slices = slice > 0 ? ceil_div(a.batch, slice) : 0;
    segments = ceil_div(a.frames, kMostFrames);
    segment = ceil_div(a.frames, std::max<int64_t>(1, segments));
  }
  int64_t utterances(int64_t batch, int64_t s) const { return std::min(slice, batch - s * slice); }
};

struct ConvBlockPlan {
  ConvBlockKernelPlan forward;
  ConvBlockLoopsPlan loops;
  ConvBlockPlan(const ConvBlockArgs& a, const Device& device)
      : forward(a, ConvBlockPass::forward, device), loops(a, device) {}
};

struct ConvBlockBackwardPlan {
  ConvBlockKernelPlan out, in;
  ConvBlockLoopsPlan loops;
  ConvBlockBackwardPlan(const ConvBlockArgs& a, const Device& device)
      : out(a, ConvBlockPass::out, device), in(a, ConvBlockPass::in, device), loops(a, device) {}
  bool fits() const { return out.fits && in.fits; }
};

}  // namespace lite_rtse::cuda
