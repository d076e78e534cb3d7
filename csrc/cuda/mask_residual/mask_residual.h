// Launch plan of the reconstruction: the choice of the kernel, and how the spectrograms are cut.
//
// The kernels are bound by memory bandwidth. A point has 8 numbers forward (X, the four heads, S) and 14 backward (X,
// dS, the heads, dX, their gradients). These are 32 and 56 bytes in float32, each moved once. At B = 32, T = 250, F =
// 257 the minimum traffic is 66 MB forward and 115 MB backward. This takes 20 and 34 µs at an H100's 3.35 TB/s, 43 and
// 74 µs at an A100's 1.55 TB/s, and 65 and 114 µs at an RTX 4090's 1.01 TB/s. The arithmetic, about 60 and 90
// operations, would take at most a sixth of that.
#pragma once

#include <initializer_list>

#include "../common/plan.h"

namespace lite_rtse::cuda {

// The heads are (batch, frames, bins) in memory. There are two kernels:
//
//   in order   Each spectrogram has its bins side by side, as torch.stft returns them. A thread takes 16 bytes of each
//              head. Dimensions that are dense in all tensors count as one, so ends of rows cost nothing.
//   tiles      Any other memory order; in the network it is (batch, bins, frames). A block moves a tile of 16 frames
//              and up to 160 bins of each spectrogram through shared memory. It can then access global memory in the
//              order of each tensor.
struct MaskResidualPlan {
  static constexpr int kThreads = 256;
  static constexpr int kTileFrames = 16;
  static constexpr int64_t kMostTileBins = 160, kTileBytes = 24 << 10;  // without padding: three blocks on 100 KB

  bool in_order = false;
  // In order: an utterance has `rows` rows of `length` points. A row is cut into `slots` of 16 bytes of a head. The
  // first and the last slot of a row may lie partly outside it, since rows begin at any address.
  int64_t length = 0, rows = 0, batches = 0, slots = 0;
  // Tiles: each row of a tile has `slots` slots.
  int64_t tiles_in_time = 0, tiles_in_bins = 0;
  int tile_bins = 0, slot_pitch = 0, pitch = 0;
  Geometry geometry;

  // `others`: all spectrograms but x.
  MaskResidualPlan(const MaskResidualArgs& a, std::initializer_list<Spectrogram> others) {
    const int64_t wide = 16 / element_size(a.dtype);
    const auto all = [&](auto&& holds) {
      bool result = holds(a.x);
      for (const Spectrogram& s : others) result = result && holds(s);
      return result;
    };
    in_order = all([&](const Spectrogram& s) { return s.part_stride == 1 && (s.bin_stride == 2 || a.bins == 1); });
    if (in_order) {
      length = a.bins, rows = a.frames, batches = a.batch;
      if (all([&](const Spectrogram& s) { return s.frame_stride == 2 * a.bins || a.frames == 1; })) {
        length *= rows, rows = 1;
        if (all([&](const Spectrogram& s) { return s.batch_stride == 2 * length || a.batch == 1; }))
          length *= batches, batches = 1;
      }
      slots = slots_of(length, wide);
      geometry = {ceil_div(batches * rows * slots, kThreads), kThreads, 0};
    } else {
      choose_tile(a, wide, int64_t(others.size()) > 1);
    }
    if (a.batch * a.frames * a.bins == 0) geometry.blocks = 0;
  }

  static constexpr int64_t slots_of(int64_t points, int64_t wide) { return ceil_div(points + wide - 1, wide); }

 private:
  void choose_tile(const MaskResidualArgs& a, int64_t wide, bool backward) {
    const int64_t kept = backward ? 2 : 1;  // spectrograms in shared memory; the result replaces x
    const int64_t column = kTileFrames * 2 * compute_size(a.dtype) * kept;
    const int64_t most = std::min(kMostTileBins, kTileBytes / column);
    tiles_in_bins = ceil_div(a.bins, most), tiles_in_time = ceil_div(a.frames, kTileFrames);
    tile_bins = int(ceil_div(a.bins, std::max<int64_t>(1, tiles_in_bins)));
    slots = slots_of(tile_bins, wide);
    choose_pitches(wide, compute_size(a.dtype));
    const int64_t items = kTileFrames * slots, rounds = ceil_div(items, kThreads);
    const int64_t threads = round_up(ceil_div(items, std::max<int64_t>(1, rounds)), kWarp);
    geometry = {a.batch * tiles_in_time * tiles_in_bins, int(std::max<int64_t>(threads, kWarp)),
                kept * 2 * kTileFrames * pitch * compute_size(a.dtype)};
  }

  // Bin f of frame t is at t · pitch + f % W · slot_pitch + f / W, where W bins form a slot. Lanes that read bins of
  // neighboring slots then read neighboring numbers. Lanes that move 16 bytes have V frames of a bin each, and 16 / V
  // lanes share a bin. They access V k · pitch + (f % W) · slot_pitch with k < 16 / V and V · banks / 16 values of f
  // (banks: 32, or 16 of 8 bytes). If the pitch is banks / 16 times an odd number, the first term takes all multiples
  // of V · banks / 16. An odd slot_pitch puts the second term between them.
  //
  // Lanes with neighboring slots continue from the last slot of frame t to the first slot of frame t + 1. The number of
  // bins may be odd, such as 257, one more than a multiple of W. Frame t + 1 then begins one bin further behind a
  // boundary of 16 bytes. Its lanes access (f - 1) % W where those of frame t access f % W. They therefore continue in
  // the next bank if
  //
  //   pitch = slot_pitch + slots  modulo banks.
  //
  // This equation is met as nearly as the conditions above allow.
  void choose_pitches(int64_t wide, int64_t compute) {
    const int64_t banks = 128 / compute, step = banks / kTileFrames;
    slot_pitch = int(ceil_div(tile_bins, wide) | 1);
    const int64_t wanted = step * ((slot_pitch + slots) / step | 1), least = wide * slot_pitch;
    pitch = int(wanted + round_up(std::max<int64_t>(0, least - wanted), banks));
  }
};

}  // namespace lite_rtse::cuda
