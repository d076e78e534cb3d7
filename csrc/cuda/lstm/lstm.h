// Launch plan of an LSTM's recurrence: one kernel takes all sequences through all frames.
//
// A group of blocks keeps W_hh in shared memory, each block the four rows of its units. It takes a few sequences
// through all frames, and then the next ones. After a frame each block needs the h of all units, so the blocks of a
// group meet once a frame. Groups share nothing.
//
// A frame's time is that of the meeting, 1 to 2 µs on data sheets, plus that of reading W_hh from shared memory: at 128
// bytes a cycle 0.3 µs for 16 of 257 units. So a block takes about as many units as it has warps. It takes more only
// if more groups can then run at the same time.
#pragma once

#include "../common/plan.h"

namespace lite_rtse::cuda {

struct LstmPlan {
  static constexpr int kSequences = 4;  // that a group takes through the frames together
  static constexpr int kGates = 4, kQuad = 4;
  static constexpr int kMostWarps = 16;
  static constexpr int kRegisters = 128;     // of a thread, at most
  static constexpr int64_t kMostUnits = 64;  // of a block
  // The time of a meeting, in units of the time in which a block's warps take one unit each.
  static constexpr int64_t kMeeting = 4;

  int64_t units = 0;   // of a block: a multiple of four; 0 if no launch fits
  int64_t blocks = 0;  // of a group
  int64_t groups = 0;
  int64_t chunks = 0;  // of kSequences sequences
  int64_t pitch = 0;   // of a vector of all units in shared memory
  Geometry geometry;

  // One plan serves both passes.
  LstmPlan(int64_t batch, int64_t all_units, const Device& d)
      : chunks(ceil_div(batch, kSequences)), pitch(round_up(all_units, kWarp)) {
    int64_t least = 0;
    for (int64_t u = kQuad; u <= kMostUnits; u += kQuad) {
      const int64_t count = ceil_div(all_units, u), at_once = d.multiprocessors / count;
      if (at_once == 0 || blocks_per_multiprocessor(d, threads_of(u), shared_bytes(u), kRegisters) == 0) continue;
      const int64_t running = std::max<int64_t>(1, std::min(at_once, chunks));
      const int64_t cost = ceil_div(chunks, running) * (kMeeting + ceil_div(u, kMostWarps));
      if (units && cost > least) continue;
      least = cost, units = u, blocks = count, groups = running;
    }
    if (units && batch > 0) geometry = {groups * blocks, threads_of(units), shared_bytes(units)};
  }

  bool fits() const { return units > 0; }

  static constexpr int threads_of(int64_t units) { return int(kWarp * std::min<int64_t>(units, kMostWarps)); }
  // The weights, dz of all units, and for each of the block's units the parts of a sum and c.
  int64_t shared_bytes(int64_t of) const {
    return 4 * (kGates * of * pitch + kSequences * kGates * pitch + kSequences * (kGates + 1) * of);
  }
};

}  // namespace lite_rtse::cuda
