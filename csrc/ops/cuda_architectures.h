// The architectures that nvcc was told to build for. They have their own file, so that nvcc need not read PyTorch's
// headers for them.
#pragma once

#include <vector>

namespace lite_rtse::ops {

// Ten times each compute capability, in rising order, such as 80, 90.
std::vector<int> cuda_architectures();

// That of these which the current device's code was compiled for. It is an older one than the device's own where the
// driver compiled it from PTX. 0 if the device can run no code of this build.
int cuda_code_architecture();

}  // namespace lite_rtse::ops
