// Launch plan of the causal depthwise convolution.
#pragma once

#include "../common/plan.h"

namespace lite_rtse::cuda {

// A block marches over the frames of one (utterance, channel, segment of time). It keeps a ring of whole rows in shared
// memory: `rows` outputs and the left context of taps - 1 rows. Each thread has 16 bytes of neighboring bins, in the
// compute type, of 4 rows at a time. Dilations, kernel sizes other than 3 x 3 and 7 x 7, and rows too long for shared
// memory, use loops over global memory: `rows` is 0.
struct CausalDwconv2dPlan {
  static constexpr int kRows = 4, kThreads = 256;
  static constexpr int64_t kMostFrames = 512;  // of a segment: bounds the number of terms of one sum

  int64_t rows = 0, pitch = 0, segment = 0, segments = 0;
  Geometry convolve, gradient;
  int64_t partial_rows = 0, partial_width = 0;  // gradients of one (utterance, segment): taps of all channels, biases

  CausalDwconv2dPlan(const CausalDwconv2dArgs& a, const Device& device) {
    const int64_t taps = a.taps_t * a.taps_f, planes = a.batch * a.channels;
    const bool specialised = a.bins > 0 && a.dilation == 1 && a.taps_t == a.taps_f && (a.taps_t == 3 || a.taps_t == 7);
    if (specialised) choose_rows(a, device);
    choose_segments(a, planes, device);
    partial_rows = a.batch * segments;
    partial_width = a.channels * (taps + 1);
    if (rows > 0) {
      const int64_t items = strips(a) * (rows / kRows);
      const int threads = int(std::min<int64_t>(round_up(items, kWarp), kThreads));
      convolve = gradient = {planes * segments, threads, shared_bytes(a, rows)};
    } else {
      convolve = {ceil_div(planes * a.frames * a.bins, kThreads), kThreads, 0};
      gradient = {partial_rows * partial_width, kThreads, 0};
    }
  }

  // The bins of a thread, and the number of threads that form a row.
  static int64_t columns(const CausalDwconv2dArgs& a) { return 16 / compute_size(a.dtype); }
  static int64_t strips(const CausalDwconv2dArgs& a) { return ceil_div(a.bins, columns(a)); }

  // The ring of inputs. The chunk's outputs (or gradients) are stored here between registers and global memory.
  int64_t shared_bytes(const CausalDwconv2dArgs& a, int64_t n) const {
    return (n + a.taps_t - 1 + n) * pitch * compute_size(a.dtype);
  }

 private:
  void choose_rows(const CausalDwconv2dArgs& a, const Device& device) {
    // the last window of a row ends within the row's padding
    pitch = strips(a) * columns(a) + round_up(a.taps_f - 1, columns(a));
    int64_t groups = std::clamp<int64_t>(kThreads / strips(a), 1, kThreads);
    groups = std::min(groups, std::max<int64_t>(1, ceil_div(a.frames, kRows)));
    while (groups > 0 && shared_bytes(a, groups * kRows) > device.shared_per_block) --groups;
    rows = groups * kRows;
  }
  // Eight blocks for each multiprocessor, unless segments would become shorter than four chunks.
  void choose_segments(const CausalDwconv2dArgs& a, int64_t planes, const Device& device) {
    const int64_t chunk = std::max<int64_t>(rows, kRows);
    const int64_t wanted = ceil_div(8 * int64_t(device.multiprocessors), std::max<int64_t>(1, planes));
    segment = std::clamp(round_up(ceil_div(a.frames, wanted), chunk), 4 * chunk, std::max(4 * chunk, kMostFrames));
    segments = ceil_div(a.frames, segment);
  }
};

}  // namespace lite_rtse::cuda
