// What nvcc was told to build for; apart, since nvcc should not have to read PyTorch's headers to say it.
#pragma once

#include <vector>

namespace lite_rtse::ops {

// Ten times the compute capabilities, in rising order: 80, 90.
std::vector<int> cuda_architectures();

}  // namespace lite_rtse::ops
