// The devices that plans are tested on, for callers that are no C++.
#include <algorithm>
#include <iterator>

#include "../../csrc/cuda/common/plan.h"

// Returns how many there are; writes them to `found` unless it is null.
extern "C" int simt_devices(lite_rtse::cuda::Device* found) {
  using lite_rtse::cuda::kDevices;
  if (found) std::copy(std::begin(kDevices), std::end(kDevices), found);
  return int(std::size(kDevices));
}
