// Launch plans of the 1x1 convolutions of whole feature maps, and of their weight gradients.
#pragma once

#include "tile.h"

namespace lite_rtse::cuda {

inline constexpr int kPointwiseThreads = 128;
inline constexpr int kPointwisePoints = kPointwiseThreads;  // of a tile: 32 for each warp

// How the blocks go over the tiles of all utterances: block i has the tiles i, i + blocks, and so on. With `kept`, all
// weights stay in shared memory from tile to tile.
struct PointwiseMarch {
  unsigned tiles = 0, all_tiles = 0;  // tiles: of one utterance
  bool kept = false;
};

// All blocks are on the device at the same time, and their numbers of tiles differ by one at most. The weights are kept
// if a multiprocessor then holds half as many blocks at least. Otherwise a block waits for weights before each product.
struct PointwisePlan {
  PointwiseMarch march;
  Geometry geometry;
  bool fits = false;

  PointwisePlan(int64_t batch, int64_t sources, int64_t targets, int64_t points, int64_t compute_bytes,
                const Device& device) {
    const int64_t tiles = ceil_div(points, kPointwisePoints), all = batch * tiles;
    const auto bytes = [&](int64_t weight_blocks) {
      return (kTile * channel_pitch(kPointwisePoints) + weight_blocks * kWeightBlock) * compute_bytes;
    };
    const auto held = [&](int64_t shared) {
      return blocks_per_multiprocessor(device, kPointwiseThreads, shared, registers(compute_bytes));
    };
    const int64_t weight_blocks = ceil_div(targets, kTile) * std::max<int64_t>(1, ceil_div(sources, kTile));
    fits = all <= kMaxBlocks;
    march = {unsigned(tiles), unsigned(all), 2 * held(bytes(weight_blocks)) >= held(bytes(1))};
    const int64_t shared = bytes(march.kept ? weight_blocks : 1);
    geometry = {std::min(all, int64_t(held(shared)) * device.multiprocessors), kPointwiseThreads, shared};
  }

  static constexpr int registers(int64_t compute_bytes) { return compute_bytes == 8 ? 255 : 128; }
};

inline constexpr int kGradientPoints = 64;  // points of one tile

// How the points of an utterance are cut. Each multiprocessor gets eight blocks if spans of 1024 to 8192 points allow
// it. A span produces one row of partial sums: dw as (targets, sources), then db.
struct PointwiseGradientPlan {
  int64_t spans, span_points, rows, width, pairs;

  PointwiseGradientPlan(int64_t batch, int64_t sources, int64_t targets, int64_t points, const Device& device) {
    pairs = ceil_div(targets, kTile) * std::max<int64_t>(1, ceil_div(sources, kTile));
    const int64_t wanted = ceil_div(8 * int64_t(device.multiprocessors), std::max<int64_t>(1, batch * pairs));
    span_points = std::clamp<int64_t>(round_up(ceil_div(points, wanted), 128), 1024, 8192);
    spans = ceil_div(points, span_points);
    rows = batch * spans;
    width = targets * sources + targets;
  }
};

}  // namespace lite_rtse::cuda
