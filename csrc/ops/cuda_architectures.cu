#include "cuda_architectures.h"

namespace lite_rtse::ops {

std::vector<int> cuda_architectures() {
  std::vector<int> found{__CUDA_ARCH_LIST__};  // nvcc's macro, such as 800,900
  for (int& architecture : found) architecture /= 10;
  return found;
}

}  // namespace lite_rtse::ops
