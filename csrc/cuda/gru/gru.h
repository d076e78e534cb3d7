// Launch plan of a GRU's recurrence.
//
// A few units: a lane has a unit of one sequence, and its rows of W_hh in registers. A warp has whole sequences, which
// need nothing of other warps. A block is one warp, so that few sequences are spread over the device too.
//
// More units: the groups of blocks of ../common/groups.h. As long as W_hh fits in the shared memory of one block, a
// group is one block, and there is no meeting.
#pragma once

#include "../common/groups.h"

namespace lite_rtse::cuda {

struct GruPlan {
  static constexpr int kGates = 3;

  int lanes = 0;  // of a sequence: 8, 16 or 32; 0: groups of blocks
  GroupsPlan groups;
  Geometry geometry;

  GruPlan(DType dtype, int64_t batch, int64_t units, int64_t directions, const Device& d)
      : groups({kGates, batch, units, directions, element_size(dtype), compute_size(dtype), compute_size(dtype)}, d) {
    const int64_t most = most_units_in_registers(dtype);
    for (lanes = 8; lanes < units && lanes <= most;) lanes *= 2;
    if (lanes > most) lanes = 0;
    geometry = lanes ? Geometry{directions * ceil_div(batch * lanes, kWarp), kWarp, 0} : groups.geometry;
  }
  GruPlan(const GruRecurrenceArgs& a, const Device& d) : GruPlan(a.dtype, a.batch, a.units, a.directions, d) {}

  // W_hh of a lane takes at most 96 registers.
  static constexpr int64_t most_units_in_registers(DType dtype) { return dtype == DType::f64 ? 16 : 32; }
  bool fits() const { return lanes || groups.fits(); }

  // Behind the counters: h of all units, for the frame that is read and for the one that is written.
  int64_t exchange_bytes(const GruRecurrenceArgs& a) const {
    return 2 * a.directions * groups.groups * GroupsPlan::kSequences * a.units * compute_size(a.dtype);
  }
  int64_t workspace(const GruRecurrenceArgs& a) const {
    return !lanes && groups.meets_by_counter() ? groups.counter_bytes() + exchange_bytes(a) : 0;
  }
};

}  // namespace lite_rtse::cuda
