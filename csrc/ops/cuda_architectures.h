// The architectures that nvcc was told to build for. They have their own file, so that nvcc need not read PyTorch's
// headers for them.
#pragma once

#include <vector>

namespace lite_rtse::ops {

// Ten times each compute capability, in rising order, such as 80, 90.
std::vector<int> cuda_architectures();

}  // namespace lite_rtse::ops
