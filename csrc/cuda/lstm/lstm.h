// Launch plan of an LSTM's recurrence: the groups of blocks of ../common/groups.h.
#pragma once

#include "../common/groups.h"

namespace lite_rtse::cuda {

struct LstmPlan : GroupsPlan {
  static constexpr int kGates = 4;

  LstmPlan(int64_t batch, int64_t all_units, const Device& d)
      : GroupsPlan({kGates, batch, all_units, 1, sizeof(float), sizeof(float)}, d) {}
};

}  // namespace lite_rtse::cuda
