// Launch plan of an LSTM's recurrence: the groups of blocks of ../common/groups.h.
//
// Half types are stored as such everywhere: in global memory, W_hh, and the vectors that it is multiplied with. Sums,
// the cell's formulas, and c from frame to frame are in float32.
#pragma once

#include "../common/groups.h"

namespace lite_rtse::cuda {

struct LstmPlan : GroupsPlan {
  static constexpr int kGates = 4;

  LstmPlan(DType dtype, int64_t batch, int64_t all_units, const Device& d)
      : GroupsPlan({kGates, batch, all_units, 1, element_size(dtype), element_size(dtype), compute_size(dtype)}, d) {}
};

}  // namespace lite_rtse::cuda
