// Launch plan of the reconstruction: which kernel, how the spectrograms are cut.
//
// Bytes bound it. A point is 8 numbers forward (X, the four heads, S) and 14 backward (X, dS, the heads, dX, their
// gradients): 32 and 56 bytes in float32, each moved once. The floor at B = 32, T = 250, F = 257 is 66 MB forward and
// 115 MB backward: 20 and 34 µs at an H100's 3.35 TB/s, 43 and 74 µs at an A100's 1.55 TB/s, 65 and 114 µs at an
// RTX 4090's 1.01 TB/s. The arithmetic, about 60 and 90 operations, would take a sixth of that or less.
#pragma once

#include <initializer_list>

#include "../common/plan.h"

namespace lite_rtse::cuda {

// The heads are (batch, frames, bins) in memory. There are two kernels:
//
//   in order   Each spectrogram has its bins side by side, as torch.stft gives them. A thread takes 16 bytes of each
//              head. Dimensions that are dense in all tensors count as one, so that ends of rows cost nothing.
//   tiles      Any other memory order, in the network (batch, bins, frames). A block carries a tile of 16 frames and
//              up to 160 bins of each spectrogram through shared memory, so that global memory is read and written in
//              its own order on either side.
struct MaskResidualPlan {
  static constexpr int kThreads = 256;
  static constexpr int kTileFrames = 16;
  static constexpr int64_t kMostTileBins = 160, kTileBytes = 24 << 10;  // without padding: three blocks on 100 KB

  bool in_order = false;
  // In order: rows of `length` points, `rows` of them in an utterance, cut into `slots` of 16 bytes of a head. The
  // first and the last slot of a row may lie partly beyond it, since rows begin at any address.
  int64_t length = 0, rows = 0, batches = 0, slots = 0;
  // Tiles, with `slots` to each row.
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
    const int64_t kept = backward ? 2 : 1;  // spectrograms in shared memory; the result takes the place of x
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

  // Bin f of frame t stands at t · pitch + f % W · slot_pitch + f / W, where W bins make a slot: lanes that read bins
  // of neighbouring slots then read neighbouring numbers. Lanes that move 16 bytes have V frames of a bin each, 16 / V
  // lanes a bin, so they meet V k · pitch + (f % W) · slot_pitch with k < 16 / V and V · banks / 16 values of f (banks:
  // 32, or 16 of 8 bytes). With a pitch of banks / 16 times an odd number the first term takes all multiples of V ·
  // banks / 16 there are, and an odd slot_pitch puts the second one between them.
  //
  // Lanes with neighbouring slots go on from the last slot of frame t to the first of frame t + 1. Of an odd number of
  // bins such as 257, one more than a multiple of W, frame t + 1 begins one bin further behind a boundary of 16 bytes,
  // and its lanes meet (f - 1) % W where those of frame t meet f % W. So they go on in the next bank if
  //
  //   pitch = slot_pitch + slots  modulo banks
  //
  // which is met as nearly as the above allows.
  void choose_pitches(int64_t wide, int64_t compute) {
    const int64_t banks = 128 / compute, step = banks / kTileFrames;
    slot_pitch = int(ceil_div(tile_bins, wide) | 1);
    const int64_t wanted = step * ((slot_pitch + slots) / step | 1), least = wide * slot_pitch;
    pitch = int(wanted + round_up(std::max<int64_t>(0, least - wanted), banks));
  }
};

}  // namespace lite_rtse::cuda
