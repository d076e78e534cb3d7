// Launch plan of batch norm and PReLU: sums over each channel in two passes, then one pass over all numbers.
//
//   sums     a block has a part of a channel, and leaves its sums
//   finish   a warp adds up a channel's parts in a fixed order, and leaves what the last pass needs of the channel
//   apply    a block has neighboring numbers of the whole tensor, whatever their channels
//
// With given statistics the first pass is left out. All passes are bound by memory bandwidth. With statistics of the
// batch, x is read twice and y written once; the backward pass reads x and dy twice and writes dx once. In float32
// these are 12 and 20 bytes a number. 16 x 16 channels of 125 x 33 numbers are 12.7 and 21.1 MB: 3.8 and 6.3 µs at an
// H100's 3.35 TB/s, 8.1 and 13.6 µs at an A100's 1.55 TB/s. The second read may come from the second-level cache.
#pragma once

#include "../common/plan.h"

namespace lite_rtse::cuda {

struct NormPreluPlan {
  static constexpr int kThreads = 256;
  static constexpr int64_t kPart = 8192;    // numbers of a block's part of a channel
  static constexpr int kChunk = 4096;       // numbers of a block of the last pass
  static constexpr int kFinishWarps = 4;    // channels of a block
  static constexpr int64_t kConstants = 8;  // numbers that the last pass needs of a channel

  int64_t utterances = 0;  // of a part: several if they are short
  int64_t pieces = 0;      // that an utterance is cut into, if it is long
  int64_t parts = 0;       // of a channel
  Geometry sums, finish, apply;

  explicit NormPreluPlan(const NormPreluArgs& a) {
    const int64_t points = std::max<int64_t>(a.points, 1);
    utterances = std::max<int64_t>(1, kPart / points), pieces = ceil_div(points, kPart);
    parts = ceil_div(a.batch, utterances) * pieces;
    sums = {a.points > 0 ? a.channels * parts : 0, kThreads, 0};
    finish = {ceil_div(a.channels, kFinishWarps), kFinishWarps * kWarp, 0};
    apply = {ceil_div(a.batch * a.channels * a.points, kChunk), kThreads, 0};
  }

  // Of the workspace: the constants of each channel, a sum of each channel, and so many sums of each part.
  int64_t workspace(const NormPreluArgs& a, int64_t sums_of_part) const {
    return compute_size(a.dtype) * a.channels * (kConstants + 1 + sums_of_part * parts);
  }
};

}  // namespace lite_rtse::cuda
